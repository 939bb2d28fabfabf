package main

import (
	"context"

	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
)

// measure counts what a decision did to a run. before and after are the run as it
// was loaded and as it was saved; either may be nil.
func measure(ctx context.Context, before, after *stage.Run) {
	if after == nil || before == nil || before.ID != after.ID || before.State == after.State {
		return
	}
	if after.State == stage.Running && before.StartedAt.IsZero() {
		metrics.RunStartDuration.Record(ctx, after.StartedAt.Sub(after.CreatedAt).Seconds(), after.Stage)
	}
	if after.FinishedAt.IsZero() {
		return
	}
	metrics.RunsFinished.Add(ctx, 1, after.Stage, string(after.State), reasonLabel(after.Reason))
	if !after.StartedAt.IsZero() {
		metrics.RunDuration.Record(ctx, after.FinishedAt.Sub(after.StartedAt).Seconds(), after.Stage, string(after.State))
	}
}

// measureAdmitted records how long each starting run waited for its place.
func measureAdmitted(ctx context.Context, all []stage.Admission) {
	for _, a := range all {
		if a.State == stage.Starting {
			metrics.RunQueueDuration.Record(ctx, a.Waited.Seconds(), a.Stage)
		}
	}
}

// reasonLabel is the reason if the catalogue has it, else "other": an agent reports reasons too, and an agent is not
// trusted.
func reasonLabel(code string) string {
	if reason.EndsRuns(code) {
		return code
	}
	return "other"
}
