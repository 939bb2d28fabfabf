package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/words"
)

func TestCommitMessage(t *testing.T) {
	t.Parallel()
	a := &agentapi.Assignment{IssueNumber: 12, IssueTitle: "Round up", RunId: "r1"}
	for summary, want := range map[string]string{
		"":                           "Work on #12: Round up\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"## **Round prices**\n\nWhy": "Round prices\n\nWhy\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"# /approve\u0085it":         "\u200b/approve it\n\nRefs #12\n\nCodexk8s-Run: r1\n",
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
	const line = "see /approve now, prefixes #7, mail a@bob.example, a Reviewed-by: b, /approve/x\n"
	for shift := range line {
		got := commitMessage(a, "One\n"+strings.Repeat(line[shift:]+line[:shift], maxCommitText/len(line)+1))
		text, _, _ := strings.Cut(got, "\n\nRefs #12")
		if diff := cmp.Diff(words.Harmless(text), text); diff != "" {
			t.Errorf("a cut at %d brings something to life (-harmless +got):\n%s", shift, diff)
		}
	}
}
