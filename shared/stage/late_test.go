package stage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// Where GitHub's times are lost on the way, what was closed stays closed until it is reopened.
func TestWithoutTimesNothingIsReopened(t *testing.T) {
	p, now := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	alice := Person{Login: "alice"}
	item := Item{Repository: "acme/demo", Issue: 1, Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: p}
	decide := func(in Input) events.Decision {
		t.Helper()
		next, d, err := Decide(item, in, now)
		if err != nil {
			t.Fatal(err)
		}
		item = next
		return d
	}
	label := Labeled{Issue: Issue{Labels: []string{"run:dev"}}, Label: "run:dev", Sender: alice, Delivery: "1"}
	decide(Edited{Issue: Issue{Closed: true}, Action: "closed", Sender: alice})
	decide(label)
	if item.Run != nil || !item.Closed {
		t.Errorf("closed %t, run %+v", item.Closed, item.Run)
	}
	decide(Edited{Issue: Issue{}, Action: "reopened", Sender: alice})
	decide(label)
	if item.Run == nil || item.Closed {
		t.Errorf("reopened: closed %t, run %+v", item.Closed, item.Run)
	}
}

// A timer is of one Job: a run that has waited since has a deadline of its own.
func TestAnOldDeadline(t *testing.T) {
	p, now := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		deadline time.Duration // from now
		want     State
	}{
		"an hour before its own": {time.Hour, Running},
		"its own":                {0, TimedOut},
		"late":                   {-time.Minute, TimedOut},
	} {
		item := Item{Repository: "acme/demo", Issue: 1, Process: p, Run: &Run{ID: "r", Stage: "dev", State: Running, Attempt: 1, Deadline: now.Add(c.deadline)}}
		next, _, err := Decide(item, DeadlineDue{events.RunDeadline{RunRef: item.Ref()}}, now)
		if err != nil || next.Run.State != c.want {
			t.Errorf("%s: the run is %s, want %s, %v", name, next.Run.State, c.want, err)
		}
	}
}

// A label that a program took off was answered, by a platform whose database is gone: it brings its run back. One that
// a person took off starts nothing.
func TestWhoTookALateLabelOff(t *testing.T) {
	p, noon := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, program := range []bool{true, false} {
		item := Item{Repository: "acme/demo", Issue: 1, Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: p}
		for _, in := range []Input{
			Edited{Issue: Issue{UpdatedAt: noon.Add(time.Minute)}, Action: "unlabeled", Sender: Person{Login: "x", Bot: program}},
			Labeled{Issue: Issue{Labels: []string{"run:dev"}, UpdatedAt: noon}, Label: "run:dev", At: noon, Sender: Person{Login: "alice"}, Delivery: "1"},
		} {
			var err error
			if item, _, err = Decide(item, in, noon.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if started := item.Run != nil; started != program {
			t.Errorf("taken off by a program: %t; a run started: %t", program, started)
		}
	}
}

// A revise answers what was said until its label was set, by the clock that stamps reviews too, and no later review.
func TestALabelsReviewIsAsOfTheLabel(t *testing.T) {
	p, noon := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for label, want := range map[string]*Review{"run:dev": nil, "run:dev:revise": {Before: noon}} {
		item := Item{Repository: "acme/demo", Issue: 1, PullRequest: 7, Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: p}
		next, _, err := Decide(item, Labeled{Issue: Issue{Labels: []string{label}}, Label: label, At: noon, Sender: Person{Login: "alice"}}, noon.Add(time.Hour))
		if err != nil || next.Run == nil {
			t.Fatalf("%s: run %v, %v, note %q", label, next.Run, err, next.Note)
		}
		if diff := cmp.Diff(want, next.Run.Review); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}
