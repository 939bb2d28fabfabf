package stage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/tool"
)

// made is an item whose pull request a run of stage dev has made.
func made() Item {
	return Item{
		Repository: "acme/demo", Issue: 1, Process: Default(), Project: &Project{ID: "demo", SenderRole: access.Maintainer},
		Pulls: []Pull{{Number: 2, Stage: "dev", Branch: "codexk8s/issue-1", HeadSHA: "c0ffee", Delivered: true, Labels: []string{"need:reviewer"}}},
		Run:   &Run{ID: "r", Stage: "dev", Kind: events.KindWork, Role: "dev", State: Succeeded, Process: Default()},
	}
}

// What a review would come to is foreseen on the pull request, where its label belongs.
func TestAReviewIsForeseen(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	foreseen := func(item Item) (c Change) {
		t.Helper()
		all, err := Prospects(item, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.Act == "need:reviewer" {
				return p.Change
			}
		}
		return Change{Reason: "not among them"}
	}
	item := made()
	c := foreseen(item)
	if c.Started == nil || c.Reason != "" {
		t.Fatalf("it starts %+v, %s: %s", c.Started, c.Reason, c.Why)
	}
	want := &Grant{Process: item.Process.Hash, Write: []string{scope.Nothing}, HostedTools: []string{}, Tools: []string{"ask", "status_report", "run_history", "labels_list"}, Branch: "codexk8s/issue-1"}
	if diff := cmp.Diff(want, c.Started.Grant); diff != "" || c.Started.Kind != events.KindReview || c.Started.Role != "reviewer" || c.Started.Stage != "dev" {
		t.Errorf("a %s of %s as %s, grant (-want +got):\n%s", c.Started.Kind, c.Started.Stage, c.Started.Role, diff)
	}
	item.Pulls[0].Closed = true
	if c := foreseen(item); c.Reason != reason.PullRequestClosed {
		t.Errorf("of a closed pull request: %q", c.Reason)
	}
	item.Pulls = nil
	if c := foreseen(item); c.Reason != "not among them" {
		t.Errorf("without a pull request: %q", c.Reason)
	}
	if _, _, c, err := Foresee(item, item.IfLabeled("need:reviewer", Person{Login: "alice"}, now), now); err != nil || c.Reason != reason.LabelMisplaced {
		t.Errorf("set on the issue: %q, %v", c.Reason, err)
	}
}

// An agent has no say in who reviews it.
func TestAnAgentMayNotAskForAReview(t *testing.T) {
	if kind, _ := Default().LabelKind("Need:Reviewer"); kind != tool.Owned {
		t.Errorf("to an agent the label is of kind %d", kind)
	}
}
