package stage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

func TestTheListOfServicesBecomesPartOfTheRequest(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	settings := project.Settings{Modes: map[string]string{"dev": FullEnv}, ServicesFile: "deploy/agent.yaml", RuntimeClass: "gvisor", Sandbox: "agent-sandbox"}
	run := Run{ID: "r-1", Project: "shop", Process: Default(), Stage: "dev", Role: "dev", State: Starting, Engine: "codex", Namespace: "codexk8s-run-1", Attempt: 1}
	ref := events.RunRef{RunID: "r-1", Project: "shop", Repository: "acme/shop", Issue: 1}
	deadline, d := Start(settings, Place{Run: run, Repository: "acme/shop", Issue: 1, BaseBranch: "trunk"}, now)
	asked := events.GitHubLookupRequested{RunRef: ref, Attempt: 1, Path: "deploy/agent.yaml", Ref: "trunk"}
	if diff := cmp.Diff(events.Now(asked), d.Emit[0]); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	run.Deadline = deadline
	item := Item{Repository: "acme/shop", Issue: 1, Run: &run, Project: &Project{ID: "shop", Settings: settings}, Process: Default()}
	found := events.GitHubLookedUp{RunRef: ref, Attempt: 1, Path: asked.Path, Ref: asked.Ref, Found: true}
	found.Content = "apiVersion: codexk8s.dev/v1\nservices:\n  - {name: prices, image: ghcr.io/acme/prices:1.4}\n"
	_, d, err := Decide(item, LookedUp{found}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Draft{events.Now(events.AgentRequested{
		RunRef: ref, Namespace: "codexk8s-run-1", Stage: "dev", Role: "dev", Engine: "codex", Deadline: now.Add(time.Hour), ExpiresAt: now.Add(25 * time.Hour),
		CPU: "1", Memory: "2Gi", Runtime: "gvisor", Sandbox: "agent-sandbox", Attempt: 1, Kubernetes: events.KubernetesRead,
		Services: []events.Service{{Name: "prices", Image: "ghcr.io/acme/prices:1.4", Port: 8080, Protocol: "http", CPU: "500m", Memory: "512Mi", MaxScale: 1}},
	}), events.At(now.Add(2*time.Minute), events.RunCheck{RunRef: ref, Namespace: "codexk8s-run-1", Attempt: 1})}
	if diff := cmp.Diff(want, d.Emit); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	found.Content = strings.Replace(found.Content, "ghcr.io/", "", 1)
	next, _, err := Decide(item, LookedUp{found}, now)
	if err != nil {
		t.Fatal(err)
	}
	const message = "`deploy/agent.yaml` on branch `trunk` is invalid: line 3: image \"acme/prices:1.4\" of prices: " +
		"want registry, path, and a tag or digest, such as ghcr.io/acme/prices:1.4. Correct it there."
	if next.Run.Message != message || !strings.Contains(Comment(Default(), next), message) {
		t.Errorf("the run says %q", next.Run.Message)
	}
}

func TestMode(t *testing.T) {
	for _, c := range []struct {
		role    string
		project map[string]string
		want    string
	}{
		{"", nil, CodeOnly}, {FullEnv, nil, FullEnv}, {FullEnv, map[string]string{"dev": CodeOnly}, CodeOnly},
		{CodeOnly, map[string]string{"dev": FullEnv}, FullEnv}, {CodeOnly, map[string]string{"qa": FullEnv}, CodeOnly},
	} {
		if got := ModeOf(project.Settings{Modes: c.project}, Role{Name: "dev", Mode: c.role}, events.KindWork); got != c.want {
			t.Errorf("role %q, project %v: %s, want %s", c.role, c.project, got, c.want)
		}
	}
}
