package e2e

import (
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/test/local/stack"
	"github.com/google/go-cmp/cmp"
)

// TestLabelToMergedReadyPullRequest plays `make demo`: label, pull request, changes requested, revised, approved.
func TestLabelToMergedReadyPullRequest(t *testing.T) {
	ctx, s := start(t, codex(t))
	end, err := s.Play(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	type run struct {
		Stage, State, Engine string
		Revise, SameThread   bool
	}
	runs := make([]run, 0, len(end.Runs))
	for _, r := range end.Runs {
		runs = append(runs, run{r.Stage, r.State, r.Engine, r.Revise, r.ThreadID != "" && r.ThreadID == end.Runs[0].ThreadID})
	}
	want := []run{{"dev", "succeeded", "codex", false, true}, {"dev", "succeeded", "codex", true, true}}
	if diff := cmp.Diff(want, runs); diff != "" {
		t.Errorf("one run for the label and one for the review (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("Bonjour, le monde !\nSalut les amis !\n", end.Greeting); diff != "" {
		t.Errorf("the new file (-want +got):\n%s", diff)
	}
	if got := s.GitHub.PullRequests(stack.Repository); len(got) != 1 {
		t.Errorf("there are %d pull requests, want 1: %+v", len(got), got)
	}
	if !slices.Contains(end.Pull.Labels, stack.LabelApproved) {
		t.Errorf("the pull request is not approved, its labels are %q", end.Pull.Labels)
	}
	for _, label := range slices.Concat(end.Issue.Labels, end.Pull.Labels) {
		if strings.HasPrefix(label, "run:") {
			t.Errorf("the trigger label %s was left behind", label)
		}
	}
	if len(end.Comments) != 1 || end.Comments[0].User != "codexk8s[bot]" {
		t.Errorf("the issue's comments are %+v, want the App's one status comment", end.Comments)
	}
	if end.Usage.Calls == 0 || end.Usage.Input == 0 || end.Usage.Output == 0 {
		t.Errorf("the usage of the model calls is %+v", end.Usage)
	}
	explained(ctx, t, s)
}
