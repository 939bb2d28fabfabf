//go:build cluster

package manifests_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"knative.dev/eventing/pkg/apis/eventing"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube/gvr"
)

// TestRenderedOverlays: whatever kubectl makes of an overlay, Knative accepts it
// without a warning. With the tag cluster, because only those tests may ask for kubectl.
func TestRenderedOverlays(t *testing.T) {
	class := func(name string) func(*testing.T, tree) {
		return func(t *testing.T, m tree) {
			b := m.brokers["default"]
			if got := b.Annotations[eventing.BrokerClassKey]; got != name || b.Spec.Config == nil || b.Spec.Delivery.DeadLetterSink == nil {
				t.Errorf("Broker of class %s, config %v, delivery %+v", got, b.Spec.Config, b.Spec.Delivery)
			}
		}
	}
	for overlay, check := range map[string]func(*testing.T, tree){
		"":         func(*testing.T, tree) {},
		"try":      class("MTChannelBasedBroker"),
		"kafka":    class("Kafka"),
		"rabbitmq": class("RabbitMQBroker"),
		"try try-volume": func(t *testing.T, m tree) {
			s := m.statefulSets["postgres"].Spec
			if len(s.VolumeClaimTemplates) != 1 || len(s.Template.Spec.Volumes) != 2 {
				t.Errorf("claims %v, volumes %v", s.VolumeClaimTemplates, s.Template.Spec.Volumes)
			}
		},
		"full-env": func(t *testing.T, m tree) {
			if m.clusterHolders["codexk8s-agent-launcher-full-env"] != "agent-launcher" {
				t.Error("agent-launcher has no rights for full-env")
			}
		},
		"agent-sandbox": sandboxes,
		"github-source": func(t *testing.T, m tree) {
			if m.services["webhook-adapter"] != nil || m.bindings["webhook-adapter"] != nil || m.accounts["webhook-adapter"] != nil {
				t.Error("webhook-adapter is still there")
			}
			if got := m.settings["codexk8s-settings"].Data["unlogged-sources"]; got != "https://github.com/acme/" {
				t.Errorf("functions take the source's events from %q", got)
			}
		},
		"kafka full-env": class("Kafka"),
		"chats": func(t *testing.T, m tree) {
			if got := m.policies["egress-chats"].Spec.Egress; len(got) != 2 || got[0].To[0].IPBlock == nil || got[1].To[0].NamespaceSelector == nil {
				t.Errorf("chats are let out to %+v", got)
			}
		},
	} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			m := newTree()
			m.addAll(t, overlay, render(t, overlay))
			m.accepted(t)
			check(t, m)
		})
	}
}

// sandboxes: who may make and read them, who is told of the API's version, and whose pods are told of.
func sandboxes(t *testing.T, m tree) {
	holders := map[string]string{}
	for name, role := range m.clusterRoles {
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, gvr.Sandboxes("v1beta1").Resource) {
				holders[m.clusterHolders[name]] = strings.Join(rule.Verbs, " ")
			}
		}
	}
	want := map[string]string{"agent-launcher": "get create patch delete", "run-observer": "get"}
	if diff := cmp.Diff(want, holders); diff != "" {
		t.Errorf("rights on Sandboxes (-want +got):\n%s", diff)
	}
	told := map[string]string{}
	for name, s := range m.services {
		for _, e := range s.Spec.Template.Spec.Containers[0].Env {
			if e.Name == "SANDBOX_VERSION" {
				told[name] = e.Value
			}
		}
	}
	if diff := cmp.Diff(map[string]string{"agent-launcher": "v1beta1", "run-observer": "v1beta1"}, told); diff != "" {
		t.Errorf("who knows of agent-sandbox (-want +got):\n%s", diff)
	}
	source := m.apiServers["sandbox-pods"].Spec
	watched := source.Resources[0]
	if got := watched.APIVersion + " " + watched.Kind; got != "v1 Pod" || len(source.Resources) != 1 {
		t.Errorf("the source watches %+v", source.Resources)
	}
	made := map[string]string{agentpod.LabelManagedBy: agentpod.ManagedBy, agentpod.LabelSandbox: agentpod.AgentSandbox}
	if diff := cmp.Diff(made, watched.LabelSelector.MatchLabels); diff != "" {
		t.Errorf("the source selects other pods than those that agentpod asks for (-want +got):\n%s", diff)
	}
}

// render is make render in a folder of the test's own.
func render(t *testing.T, overlay string) []byte {
	t.Helper()
	compose := exec.Command(filepath.Join(root, "config/overlays/compose"))
	compose.Env = append(os.Environ(), "OVERLAY="+overlay, "GITHUB_REPOSITORY=acme/shop", "CHATS=10.1.2.3/32:8065 mattermost:8065", "POSTGRES_IMAGE=")
	composed, err := compose.Output()
	if err != nil {
		t.Fatal(err)
	}
	// kustomize wants paths that are relative and really lead there.
	dir := t.TempDir()
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	composed = bytes.ReplaceAll(composed, []byte("../../"), fmt.Append(nil, up, "/"))
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), composed, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	kubectl := exec.Command("kubectl", "kustomize", dir)
	kubectl.Stderr = &stderr
	out, err := kubectl.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s\n%s", err, stderr.String(), composed)
	}
	return out
}
