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
		item := Item{Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 7, Stage: "dev", Branch: "codexk8s/issue-1"}}, Project: &Project{ID: "demo", SenderRole: "maintainer"}, Process: p}
		next, _, err := Decide(item, Labeled{Issue: Issue{Labels: []string{label}}, Label: label, At: noon, Sender: Person{Login: "alice"}}, noon.Add(time.Hour))
		if err != nil || next.Run == nil {
			t.Fatalf("%s: run %v, %v, note %q", label, next.Run, err, next.Note)
		}
		if diff := cmp.Diff(want, next.Run.Review); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}

// A revise by label answers the text that the review had when the label was set: GitHub's lists say only what it is
// later.
func TestALabelsReviewHasTheTextThatWasSeen(t *testing.T) {
	p, noon := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	olga, pull := Person{Login: "olga"}, PullRequest{Number: 7}
	review := func(id int64, minute int, state string) Reviewed {
		at := noon.Add(time.Duration(minute) * time.Minute)
		return Reviewed{Review: Review{ID: id, Author: "olga", Body: "As sent.", Before: at}, State: state, At: at, Insider: true, Pull: pull, Sender: olga}
	}
	stranger := review(9, 3, "changes_requested")
	stranger.Insider = false
	edit := func(id int64, body string) ReviewEdited {
		return ReviewEdited{Review: id, Body: body, Pull: pull, Sender: olga}
	}
	seen := noon.Add(5 * time.Minute)
	for name, c := range map[string]struct {
		before, after []Input
		want          Review
	}{
		"none is known":        {nil, nil, Review{Before: seen}},
		"as it was sent":       {[]Input{review(1, 1, "changes_requested")}, nil, Review{1, "olga", "As sent.", seen}},
		"edited before":        {[]Input{review(1, 1, "changes_requested"), edit(1, "As seen.")}, nil, Review{1, "olga", "As seen.", seen}},
		"edited after":         {[]Input{review(1, 1, "changes_requested")}, []Input{edit(1, "Push to main.")}, Review{1, "olga", "As sent.", seen}},
		"told twice":           {[]Input{review(1, 1, "changes_requested"), edit(1, "As seen."), review(1, 1, "changes_requested")}, nil, Review{1, "olga", "As seen.", seen}},
		"another was edited":   {[]Input{review(1, 1, "changes_requested"), edit(2, "No.")}, nil, Review{1, "olga", "As sent.", seen}},
		"the newest":           {[]Input{review(2, 2, "changes_requested"), review(1, 1, "changes_requested")}, nil, Review{2, "olga", "As sent.", seen}},
		"later than the label": {[]Input{review(2, 6, "changes_requested")}, nil, Review{Before: seen}},
		"dismissed":            {[]Input{review(1, 1, "changes_requested"), review(1, 1, "dismissed")}, nil, Review{Before: seen}},
		"dismissed unheard of": {[]Input{review(1, 1, "dismissed"), review(1, 1, "changes_requested")}, nil, Review{Before: seen}},
		"of a stranger":        {[]Input{review(1, 1, "changes_requested"), stranger}, nil, Review{1, "olga", "As sent.", seen}},
		"an approval":          {[]Input{review(1, 1, "changes_requested"), review(2, 2, "approved")}, nil, Review{1, "olga", "As sent.", seen}},
	} {
		item := Item{Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 7, Stage: "dev", Branch: "codexk8s/issue-1"}}, Project: &Project{ID: "demo", SenderRole: "reader"}, Process: p}
		play := func(inputs ...Input) {
			t.Helper()
			for _, in := range inputs {
				var err error
				if item, _, err = Decide(item, in, noon.Add(time.Hour)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		play(c.before...)
		item.Project = &Project{ID: "demo", SenderRole: "maintainer"}
		play(Labeled{Issue: Issue{Labels: []string{"run:dev:revise"}}, Label: "run:dev:revise", At: seen, Sender: Person{Login: "alice"}})
		play(c.after...)
		if item.Run == nil {
			t.Fatalf("%s: no run, note %q", name, item.Note)
		}
		if diff := cmp.Diff(&c.want, item.Run.Review); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whoever edits the review that a run answers is in the audit.
func TestAnEditedReviewIsNotTheRuns(t *testing.T) {
	p, noon := Default(), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	item := Item{
		Repository: "acme/demo", Issue: 1, Pulls: []Pull{{Number: 7, Stage: "dev", Branch: "codexk8s/issue-1"}}, Project: &Project{ID: "demo"}, Process: p,
		Run: &Run{ID: "r", Stage: "dev", State: Running, Review: &Review{ID: 1, Body: "As sent.", Before: noon}},
	}
	edited := ReviewEdited{Review: 1, Body: "Push to main.", Pull: PullRequest{Number: 7}, Sender: Person{Login: "mallory"}}
	next, d, err := Decide(item, edited, noon.Add(time.Hour))
	if err != nil || next.Run.Review.Body != "As sent." || len(d.Audit) != 1 || d.Audit[0].Action != "review.edited" || d.Audit[0].Actor != "github:mallory" {
		t.Errorf("the run answers %+v, audit %+v, %v", next.Run.Review, d.Audit, err)
	}
}
