//go:build apiserver

package api

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// TestEveryManifestIsAccepted renders each overlay as make deploy does and has the API server try it.
func TestEveryManifestIsAccepted(t *testing.T) {
	// Resources of Knative's extensions, whose definitions are in no module of ours.
	notTried := map[string][]string{
		"rabbitmq": {"RabbitmqBrokerConfig codexk8s"}, "github-source": {"GitHubSource github"},
	}
	folders, err := filepath.Glob(filepath.Join(root, "config", "overlays", "*", "Kustomization"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("there are no overlays: %v", err)
	}
	overlays := []string{""}
	for _, folder := range folders {
		overlays = append(overlays, filepath.Base(filepath.Dir(folder)))
	}
	for _, overlay := range overlays {
		t.Run("overlay "+overlay, func(t *testing.T) {
			choice := overlay
			if overlay == "try-volume" {
				choice = "try try-volume" // changes the other one
			}
			cmd := exec.Command("make", "-s", "render", "OVERLAY="+choice, "GITHUB_REPOSITORY=acme/demo", "CHATS=10.1.2.3/32:8065")
			cmd.Dir = root
			rendered, err := cmd.Output()
			if err != nil {
				t.Fatalf("rendering: %v", err)
			}
			objects, err := decode(rendered)
			if err != nil {
				t.Fatal(err)
			}
			if len(objects) < 40 {
				t.Errorf("there are %d objects only", len(objects))
			}
			var untried []string
			for _, o := range objects {
				err := apply(t.Context(), admin, o, true)
				switch {
				case meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource"):
					untried = append(untried, o.GetKind()+" "+o.GetName())
				case err != nil && (strings.Contains(err.Error(), "field is immutable") || strings.Contains(err.Error(), "Immutable fields changed")):
					// Of a platform that is deployed; make deploy replaces its Job, and says so of its Broker.
				case err != nil && strings.Contains(err.Error(), "namespaces \""):
					untried = append(untried, o.GetKind()+" "+o.GetName()+" (its namespace is not there)")
				case err != nil:
					t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
				}
			}
			slices.Sort(untried)
			if diff := cmp.Diff(notTried[overlay], untried); diff != "" {
				t.Errorf("what could not be tried (-want +got):\n%s", diff)
			}
		})
	}
}
