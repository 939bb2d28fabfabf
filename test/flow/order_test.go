package flow_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"codexk8s.dev/shared/stage"
)

// No order of events is assumed: whatever happens, in any order and twice, an issue has one active run at most, an
// intent one run, and a final state stays. What GitHub shows is true at any time: one state, and none of a pull request
// that is closed or a draft.
func TestAnyOrderKeepsTheInvariants(t *testing.T) {
	acts := []string{
		"label %s run:dev alice", "label %s run:dev:revise alice", "label %s run:abort alice", "label %s run:dev mallory",
		"started %s", "finished %s", "failed %s oom_killed", "report %s succeeded", "report %s failed no_changes",
		"review %s changes_requested alice %d", "review %s approved alice %d", "edit %s closed alice", "edit %s reopened alice",
		"label %s run:dev:revise alice on=pr", "label %s run:abort alice on=pr", "unlabel %s run:dev alice",
		"pull %s synchronize carol sha=badf00d", "pull %s synchronize codexk8s[bot] sha=c0ffee1", "pull %s closed alice",
		"pull %s closed alice merged", "pull %s reopened alice", "pull %s converted_to_draft alice", "pull %s edited alice base=other",
		"review %s dismissed alice %d", "review %s approved alice %d sha=c0ffee1",
		"ask %s question Which?", "ask %s approval Deploy?", "ask %s approval Deploy? unheard", "decided %s Which? answered alice", "decided %s Deploy? denied alice",
		"label %s run:intake alice", "label %s run:intake:revise alice", "label %s run:prd alice", "unlabel %s need:input alice",
		"files %s", "files %s", "files %s -*", "files %s outside=main.go", "files %s unreadable=github_gone",
		"advance 1s", "advance 10m", "advance 1h", "again",
	}
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		w.play("bind acme/demo demo parallel=1")
		w.play("member alice maintainer")
		w.play("label acme/demo#1 run:dev alice")
		w.play("label acme/demo#2 run:dev alice")
		final := map[string]stage.State{}
		for n := range rapid.IntRange(1, 40).Draw(r, "length") {
			key := rapid.SampledFrom([]string{"acme/demo#1", "acme/demo#2"}).Draw(r, "issue")
			act := rapid.SampledFrom(acts).Draw(r, "act")
			switch verbs := countVerbs(act); verbs {
			case 2:
				act = fmt.Sprintf(act, key, n+1)
			case 1:
				act = fmt.Sprintf(act, key)
			}
			w.play(act)
			for _, number := range []string{"acme/demo#1", "acme/demo#2"} {
				if wrong := w.untrue(number); wrong != "" {
					r.Fatalf("after %q GitHub shows of %s %s", act, number, wrong)
				}
			}
			busy := 0
			for _, run := range w.runs {
				if s, ended := final[run.ID]; ended && s != run.State {
					r.Fatalf("after %q run %s went from %s to %s", act, run.ID, s, run.State)
				}
				if run.State.Final() {
					final[run.ID] = run.State
				}
				if run.State == stage.Starting || run.State == stage.Running {
					busy++
				}
				open := slices.ContainsFunc(run.Asks, func(a stage.Ask) bool { return a.Answer == nil })
				if open && run.State.Active() && run.State != stage.Waiting {
					r.Fatalf("after %q run %s is %s and has asked what nobody has answered", act, run.ID, run.State)
				}
				if run.State == stage.Waiting && !open && run.JobOver {
					r.Fatalf("after %q run %s waits for nothing", act, run.ID)
				}
			}
			if busy > 1 {
				r.Fatalf("after %q %d runs hold the project's one place", act, busy)
			}
		}
	})
}

func countVerbs(s string) (n int) {
	for _, c := range s {
		if c == '%' {
			n++
		}
	}
	return n
}

// untrue says what GitHub shows of the issue that is not so.
func (w *world) untrue(key string) string {
	here, item := w.place(key), w.items[key]
	var shown stage.Pull
	var its pull
	if item != nil && item.Current().Number != 0 {
		shown = item.Current()
		its = *here.of(shown.Branch, "")
	}
	approved, inReview := has(here.issue.Labels, "state:approved"), has(here.issue.Labels, "state:in-review")
	switch {
	case shown.Number == 0:
		if approved || inReview {
			return "a state of no pull request"
		}
	case approved && inReview:
		return "two states"
	case (approved || inReview) && (its.State == "closed" || its.Draft) && shown.UpdatedAt.Equal(its.UpdatedAt):
		return "a state of a pull request that is closed or a draft"
	case approved && shown.HeadSHA != its.Head.SHA && shown.UpdatedAt.Equal(its.UpdatedAt):
		return "an approval of another commit"
	}
	return ""
}
