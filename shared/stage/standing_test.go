package stage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/stage"
)

// TestStandings: what is at work counts most, then what became of the pull request, then the run.
func TestStandings(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	item := stage.Item{
		Repository: "acme/shop", Issue: 12, Process: stage.Default(), Labels: []string{"profile:feature"},
		Pulls: []stage.Pull{
			{Stage: "intake", Number: 3, Merged: true, Closed: true}, {Stage: "prd", Number: 4, HeadSHA: "a", Approvals: []stage.Approval{{By: "ann", SHA: "a"}}},
			{Stage: "design", Number: 5, HeadSHA: "b"}, {Stage: "plan", Number: 6, Superseded: true}, {Stage: "qa", Number: 8, HeadSHA: "c"}, {Stage: "release", Number: 9, Closed: true},
		},
		Artefacts: []stage.Artefact{{Stage: "intake", Name: "brief"}, {Stage: "intake", Name: "scope", SupersededAt: now}},
	}
	got := map[string]string{}
	var prd stage.Standing
	for _, st := range item.Standings(map[string]stage.State{
		"intake": stage.Succeeded, "prd": stage.Succeeded, "design": stage.Succeeded, "plan": stage.Succeeded, "dev": stage.Waiting, "qa": stage.TimedOut,
		"release": stage.Succeeded, "postdeploy": stage.Running, "ops": stage.Cancelled, "rethink": stage.Succeeded,
	}) {
		got[st.Name] = st.Is
		if st.Name == "prd" {
			prd = st
		}
	}
	want := map[string]string{
		"intake": "done", "vision": "skipped", "prd": "approved", "arch": "skipped", "design": "review", "plan": "superseded", "dev": "waiting", "qa": "failed", "release": "stopped",
		"postdeploy": "active", "ops": "stopped", "doc-audit": "ahead", "self-improve": "ahead", "rethink": "done",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var needs []string
	for _, n := range prd.Needs {
		needs = append(needs, n.Name+" "+map[bool]string{true: "made", false: "missing"}[n.Made])
	}
	if diff := cmp.Diff("brief made, problem missing, scope missing, personas missing, constraints missing", strings.Join(needs, ", ")); diff != "" {
		t.Errorf("what prd needs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"design", "rethink"}, prd.Leads); diff != "" {
		t.Errorf("what may follow prd (-want +got):\n%s", diff)
	}
}
