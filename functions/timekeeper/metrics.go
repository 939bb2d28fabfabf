package main

import (
	"context"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/stage"
)

// silence is after how long without a heartbeat a run counts as silent.
const silence = 5 * time.Minute

// measure sets the gauges, because the functions concerned may be asleep. Each series is set every time, so that what
// is over becomes zero.
func (h *handler) measure(ctx context.Context) error {
	backlogs, err := h.db.Overdue(ctx)
	if err != nil {
		return err
	}
	letters, err := h.db.OpenDeadLetters(ctx)
	if err != nil {
		return err
	}
	states, err := h.db.ActiveRuns(ctx)
	if err != nil {
		return err
	}
	silent, err := h.db.SilentRuns(ctx, silence)
	if err != nil {
		return err
	}
	overdue, oldest := map[string]int{}, map[string]time.Duration{}
	for _, b := range backlogs {
		overdue[b.Function], oldest[b.Function] = b.Overdue, h.db.Now().Sub(b.Since)
	}
	for function := range events.Catalog {
		metrics.ReceiptsOverdue.Set(ctx, float64(overdue[function]), function)
		metrics.ReceiptsOldest.Set(ctx, oldest[function].Seconds(), function)
		metrics.DeadLettersOpen.Set(ctx, float64(letters[function]), function)
	}
	for _, state := range []stage.State{stage.Requested, stage.Queued, stage.Starting, stage.Running, stage.Waiting} {
		metrics.Runs.Set(ctx, float64(states[state]), string(state))
	}
	metrics.RunsSilent.Set(ctx, float64(len(silent)))
	return h.measureApprovals(ctx)
}

// measureApprovals sets how many requests wait for people, and since when.
func (h *handler) measureApprovals(ctx context.Context) error {
	open, since, err := h.db.Waiting(ctx)
	if err != nil {
		return err
	}
	age := time.Duration(0)
	if open > 0 {
		age = h.db.Now().Sub(since)
	}
	metrics.ApprovalsOpen.Set(ctx, float64(open))
	metrics.ApprovalsOldest.Set(ctx, age.Seconds())
	return nil
}
