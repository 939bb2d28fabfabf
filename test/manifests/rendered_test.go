//go:build cluster

package manifests_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"knative.dev/eventing/pkg/apis/eventing"
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
		"github-source": func(t *testing.T, m tree) {
			if m.services["webhook-adapter"] != nil || m.bindings["webhook-adapter"] != nil || m.accounts["webhook-adapter"] != nil {
				t.Error("webhook-adapter is still there")
			}
			if got := m.settings["codexk8s-settings"].Data["unlogged-sources"]; got != "https://github.com/acme/" {
				t.Errorf("functions take the source's events from %q", got)
			}
		},
		"kafka full-env": class("Kafka"),
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

// render is make render in a folder of the test's own.
func render(t *testing.T, overlay string) []byte {
	t.Helper()
	compose := exec.Command(filepath.Join(root, "config/overlays/compose"))
	compose.Env = append(os.Environ(), "OVERLAY="+overlay, "GITHUB_REPOSITORY=acme/shop", "POSTGRES_IMAGE=")
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
