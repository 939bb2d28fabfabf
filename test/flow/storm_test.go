package flow_test

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/stage"
)

// storm gives the project a process that differs in what may be asked for at a time.
func (w *world) storm(f []string) {
	runs, err := strconv.Atoi(f[2])
	w.check(err)
	within, err := time.ParseDuration(f[3])
	w.check(err)
	p := *stage.Default()
	p.Storm, p.Hash = stage.Storm{Runs: runs, Within: within, Policy: f[4]}, "with a storm"
	w.processes[f[1]] = &p
}

// lately is what the store would say of the item's repository.
func (w *world) lately(of *stage.Item) (l stage.Lately) {
	rule := of.Process.Storm
	since := w.now.Add(-rule.Within)
	for _, r := range w.runs {
		ref := w.of[r.ID]
		switch {
		case !strings.EqualFold(ref.Repository, of.Repository):
			continue
		case r.CreatedAt.After(since) && l.Runs < rule.Runs:
			l.Runs++
		}
		if r.State.Queues() && r.Attempt == 0 && l.Waiting == nil {
			l.Waiting = &ref
		}
	}
	for _, i := range w.items {
		if i.Held == nil || i.Issue == of.Issue || !strings.EqualFold(i.Repository, of.Repository) {
			continue
		}
		l.Led = l.Led || i.Held.Told && i.Held.At.After(since)
		if of.Held != nil && !i.Held.At.Before(of.Held.At) {
			l.Held = append(l.Held, stage.HeldIssue{Issue: i.Issue, Label: i.Held.Label})
		}
	}
	slices.SortFunc(l.Held, func(a, b stage.HeldIssue) int { return a.Issue - b.Issue })
	return l
}
