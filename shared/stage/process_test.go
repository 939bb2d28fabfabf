package stage

import (
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// A project whose own process can't be read starts nothing, and says why; what is active can still be stopped.
func TestAFaultyProcessStartsNothing(t *testing.T) {
	now, alice := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), Person{Login: "alice"}
	faulty := Default()
	faulty.Fault = "line 3: stage dev has no timeout"
	item := Item{Repository: "acme/demo", Issue: 1, Process: faulty, Project: &Project{ID: "demo", SenderRole: "maintainer"}}
	for _, label := range []string{"run:dev", "run:a-stage-of-its-own"} {
		next, d, err := Decide(item, Labeled{Issue: Issue{Labels: []string{label}}, Label: label, Sender: alice, Delivery: label}, now)
		if err != nil || next.Run != nil || d.Audit[0].Reason != reason.ProcessInvalid || !strings.Contains(next.Note, faulty.Fault) {
			t.Errorf("%s: run %+v, audit %+v, told %q, %v", label, next.Run, d.Audit, next.Note, err)
		}
	}
	item.Run = &Run{ID: "r", Project: "demo", Stage: "dev", Kind: events.KindWork, State: Running}
	next, _, err := Decide(item, Labeled{Issue: Issue{Labels: []string{"run:abort"}}, Label: "run:abort", Sender: alice, Delivery: "2"}, now)
	if err != nil || next.Run.State != Cancelled {
		t.Errorf("the run is %s, %v", next.Run.State, err)
	}
}

// A run whose process nobody knows any more ends by the project's present one, and the audit says so.
func TestAnUnknownProcessIsTold(t *testing.T) {
	now, p := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), Default()
	for hash, told := range map[string]bool{strings.Repeat("0", 64): true, p.Hash: false, p.Hash[:12]: false} {
		item := Item{Repository: "acme/demo", Issue: 1, Process: p, Run: &Run{ID: "r", Stage: "dev", State: Running, Deadline: now, Grant: &Grant{Process: hash}}}
		next, d, err := Decide(item, DeadlineDue{events.RunDeadline{RunRef: item.Ref()}}, now)
		if err != nil || next.Run.State != TimedOut {
			t.Errorf("the run is %s, %v", next.Run.State, err)
		}
		if last := d.Audit[len(d.Audit)-1]; (last.Action == "run.process_unknown") != told {
			t.Errorf("requested by %s: the audit ends with %+v", hash, last)
		}
	}
}

// A review of what a stage made that the process has no more names the labels there are.
func TestAReviewOfAStageThatIsGone(t *testing.T) {
	item := Item{
		Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 7, Stage: "docs", Branch: "codexk8s/issue-1"}}, Process: Default(), Project: &Project{ID: "demo", SenderRole: "maintainer"},
		Run: &Run{ID: "r", Stage: "docs", State: Succeeded},
	}
	next, d, err := Decide(item, Reviewed{State: "changes_requested", Pull: PullRequest{Number: 7}, Sender: Person{Login: "alice"}}, time.Now())
	if err != nil || next.Run.ID != "r" || d.Audit[0].Reason != reason.StageUnknown || !strings.Contains(next.Note, "no stage `docs` any more") {
		t.Errorf("run %+v, audit %+v, told %q, %v", next.Run, d.Audit, next.Note, err)
	}
}
