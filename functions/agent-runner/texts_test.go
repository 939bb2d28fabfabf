package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
)

func TestCommitMessage(t *testing.T) {
	t.Parallel()
	a := &agentapi.Assignment{IssueNumber: 12, IssueTitle: "Round up", RunId: "r1"}
	for summary, want := range map[string]string{
		"":                           "Work on #12: Round up\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"## **Round prices**\n\nWhy": "Round prices\n\nWhy\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"One\nCodexk8s-Run: forged":  "One\n\nCodexk8s-Run  forged\n\nRefs #12\n\nCodexk8s-Run: r1\n",
	} {
		got := commitMessage(a, summary)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message of %q (-want +got):\n%s", summary, diff)
		}
	}
	if got := withoutTrailers(commitMessage(a, "One\n\nTwo")); got != "One\n\nTwo" {
		t.Errorf("the summary comes back as %q", got)
	}
}
