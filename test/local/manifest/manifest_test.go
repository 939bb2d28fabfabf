package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names is a Set reduced to what a reader can compare.
func names(s *Set) map[string][]string {
	got := map[string][]string{}
	add := func(kind, name string) { got[kind] = append(got[kind], name) }
	for _, o := range s.Services {
		add("Service", o.Name)
	}
	for _, o := range s.Brokers {
		add("Broker", o.Name)
	}
	for _, o := range s.Triggers {
		add("Trigger", o.Name)
	}
	for _, o := range s.SinkBindings {
		add("SinkBinding", o.Name)
	}
	for _, o := range s.PingSources {
		add("PingSource", o.Name)
	}
	for _, o := range s.APIServerSources {
		add("ApiServerSource", o.Name)
	}
	for _, o := range s.ConfigMaps {
		add("ConfigMap", o.Name)
	}
	for _, o := range s.Secrets {
		add("Secret", o.Name)
	}
	for _, o := range s.Jobs {
		add("Job", o.Name)
	}
	for _, o := range s.Accounts {
		add("ServiceAccount", o.Name)
	}
	for _, o := range s.Rules {
		add(o.GetKind(), o.GetName())
	}
	return got
}

func TestLoadReadsTheSample(t *testing.T) {
	set, err := Load("../testdata/config", "../testdata/eventing")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"Service":         {"echo", "sleeper"},
		"Broker":          {"default"},
		"Trigger":         {"echo", "sleeper"},
		"SinkBinding":     {"functions"},
		"PingSource":      {"tick"},
		"ApiServerSource": {"jobs"},
		"ConfigMap":       {"echo"},
		"Secret":          {"database"},
		"Job":             {"migrate"},
		"ServiceAccount":  {"nobody", "watcher"},
		"Role":            {"watcher"},
		"RoleBinding":     {"watcher"},
	}
	if diff := cmp.Diff(want, names(set)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	wantImages := []string{"codexk8s.dev/test/local/testdata/echo"}
	if diff := cmp.Diff(wantImages, set.Images()); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestLoadNamesFileAndObjectOfEachFault(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("100-ok.yaml", "# only a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok}\n---\n")
	write("200-typo.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: typo}\nspec: {tmplate: {}}\n")
	write("300-kind.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n")
	write("400-policy.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\nspec: {podSelecter: {}}\n")
	write("500-name.yaml", "apiVersion: v1\nkind: Secret\n")
	write("kustomization.yaml", "resources: [100-ok.yaml]\n")
	set, err := Load(dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"200-typo.yaml, Service typo: ", `unknown field "spec.tmplate"`,
		"300-kind.yaml, Widget w: kind Widget of example.com/v1 is neither played nor left out",
		"400-policy.yaml, NetworkPolicy deny: ", `unknown field "spec.podSelecter"`,
		"500-name.yaml, Secret : it has no metadata.name",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "kustomization") {
		t.Errorf("kustomize's own file was read: %v", err)
	}
	if len(set.ConfigMaps) != 1 {
		t.Errorf("the sound object is missing: %v", names(set))
	}
}

func TestLoadOfAnEmptyDirectoryIsAnError(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("no error")
	}
}
