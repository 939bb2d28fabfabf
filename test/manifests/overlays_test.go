package manifests_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// kustomization is what these tests ask of kustomize's file.
type kustomization struct {
	Kind       string
	Resources  []string
	Components []string
	Patches    []struct{ Path string }
}

// kustomizations are those of the repository by folder, config/ and eventing/ among them.
func kustomizations(t *testing.T) map[string]kustomization {
	t.Helper()
	all := map[string]kustomization{}
	for _, pattern := range []string{"config/Kustomization", "eventing/Kustomization", "config/overlays/*/Kustomization"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir, _ := filepath.Rel(root, filepath.Dir(file))
			k := kustomization{}
			if err := yaml.Unmarshal(data, &k); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all[dir] = k
		}
	}
	return all
}

// TestKustomizationsListTheirFolders: ko applies whatever is in a folder, kustomize what its file lists; both must be
// the same. A patch's name ends in .patch, so that it can't be taken for a manifest.
func TestKustomizationsListTheirFolders(t *testing.T) {
	for dir, k := range kustomizations(t) {
		want := "Component"
		if dir == "config" || dir == "eventing" {
			want = "Kustomization"
		}
		if k.Kind != want {
			t.Errorf("%s: kind %s, want %s", dir, k.Kind, want)
		}
		compare := func(what, pattern string, listed []string) {
			files, err := filepath.Glob(filepath.Join(root, dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			var there []string
			for _, file := range files {
				there = append(there, filepath.Base(file))
			}
			if diff := cmp.Diff(there, listed); diff != "" {
				t.Errorf("%s: %s in the folder against its Kustomization (-folder +Kustomization):\n%s", dir, what, diff)
			}
		}
		compare("manifests", "*.yaml", k.Resources)
		var patches []string
		for _, p := range k.Patches {
			if p.Path != "" {
				patches = append(patches, p.Path)
			}
		}
		compare("patches", "*.patch", patches)
	}
}

// TestOverlaysAreStrict: what an overlay adds is decoded like everything else, gives
// nobody the right to read Secrets, and its pods are as guarded as ours.
func TestOverlaysAreStrict(t *testing.T) {
	want := load(t).services["timekeeper"].Spec.Template.Spec.Containers[0].SecurityContext
	for dir, k := range kustomizations(t) {
		if len(k.Resources) == 0 || k.Kind != "Component" {
			continue
		}
		m := loadFiles(t, filepath.Join(dir, "*.yaml"))
		for name, s := range m.statefulSets {
			for _, c := range s.Spec.Template.Spec.Containers {
				if diff := cmp.Diff(want, c.SecurityContext); diff != "" {
					t.Errorf("%s: StatefulSet %s: security (-a function's +its own):\n%s", dir, name, diff)
				}
			}
		}
		for name, role := range m.clusterRoles {
			for _, rule := range role.Rules {
				if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") || slices.Contains(rule.Resources, "secrets") {
					t.Errorf("%s: %s: %+v", dir, name, rule)
				}
			}
		}
	}
}

// TestChatsOnOtherPorts: the overlay opens each address of CHATS on its port, for the two functions that talk to chats,
// and nothing without CHATS.
func TestChatsOnOtherPorts(t *testing.T) {
	base := loadFiles(t, "config/overlays/chats/*.yaml").policies["egress-chats"].Spec
	talk := []string{"approval-callback", "approval-notifier"}
	if diff := cmp.Diff(talk, base.PodSelector.MatchExpressions[0].Values); diff != "" || len(base.Egress) > 0 {
		t.Errorf("who it is for (-want +got), and what it opens by itself: %s %v", diff, base.Egress)
	}
	const where = "10.1.2.3/32:8065 mattermost:8065 fd00::1/128:8443"
	compose := exec.CommandContext(t.Context(), filepath.Join(root, "config/overlays/compose"))
	compose.Env = append(os.Environ(), "OVERLAY=github-source chats", "GITHUB_REPOSITORY=acme/shop", "CHATS="+where)
	out, err := compose.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Patches []struct {
			Target struct{ Name string }
			Patch  string
		}
	}
	if err := yaml.Unmarshal(out, &all); err != nil || len(all.Patches) != 3 {
		t.Fatalf("%d patches, %v:\n%s", len(all.Patches), err, out)
	}
	var got []string
	var steps []struct {
		Op, Path string
		Value    networkingv1.NetworkPolicyEgressRule
	}
	if err := yaml.UnmarshalStrict([]byte(all.Patches[2].Patch), &steps); err != nil || all.Patches[2].Target.Name != "egress-chats" {
		t.Fatalf("the patch of %s: %v\n%s", all.Patches[2].Target.Name, err, out)
	}
	for _, s := range steps {
		var at string
		if peer := s.Value.To[0]; peer.IPBlock != nil {
			at = peer.IPBlock.CIDR
		} else {
			at = peer.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
		}
		got = append(got, fmt.Sprintf("%s:%s", at, s.Value.Ports[0].Port))
		if s.Op != "add" || s.Path != "/spec/egress/-" || len(s.Value.To) != 1 || len(s.Value.Ports) != 1 {
			t.Errorf("%+v", s)
		}
	}
	if diff := cmp.Diff(strings.Fields(where), got); diff != "" {
		t.Errorf("what is opened (-want +got):\n%s", diff)
	}
}
