package main

import (
	"context"
	"errors"
	"time"

	"codexk8s.dev/shared/budget"
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
	return errors.Join(h.measureApprovals(ctx), h.measureMoney(ctx), h.measureLimits(ctx))
}

// measureMoney sets how near budgets are to their end, and what waits for money or a limit.
func (h *handler) measureMoney(ctx context.Context) error {
	funds, err := h.db.Funds(ctx)
	if err != nil {
		return err
	}
	used := map[budget.Scope]int{}
	for _, f := range funds {
		percent, _ := f.Used()
		used[f.Scope] = max(used[f.Scope], percent)
	}
	for _, scope := range budget.Scopes {
		metrics.BudgetUsed.Set(ctx, float64(used[scope]), string(scope))
	}
	waiting, err := h.db.Standstills(ctx)
	if err != nil {
		return err
	}
	n, oldest := map[stage.WaitingFor]int{}, map[stage.WaitingFor]time.Duration{}
	for _, w := range waiting {
		n[w.For]++
		oldest[w.For] = max(oldest[w.For], h.db.Now().Sub(w.Since))
	}
	for _, what := range []stage.WaitingFor{stage.ForBudget, stage.ForRateLimit} {
		metrics.RunsWaiting.Set(ctx, float64(n[what]), string(what))
		metrics.RunsWaitingOldest.Set(ctx, oldest[what].Seconds(), string(what))
	}
	return nil
}

// measureLimits sets whose calls are held until a time that was named.
func (h *handler) measureLimits(ctx context.Context) error {
	models, err := h.db.ModelPauses(ctx)
	if err != nil {
		return err
	}
	credentials, err := h.db.Pauses(ctx)
	if err != nil {
		return err
	}
	metrics.ModelsPaused.Set(ctx, float64(len(models)))
	metrics.GitHubPaused.Set(ctx, float64(len(credentials)))
	return nil
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
