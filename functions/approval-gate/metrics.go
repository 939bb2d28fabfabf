package main

import (
	"context"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
)

// measure counts what a step has decided, and the votes that it refused.
func (s *step) measure(ctx context.Context) {
	for i, t := range s.is {
		if t.Outcome != nil && s.was[i].Outcome == nil {
			metrics.ApprovalsDecided.Add(ctx, 1, string(t.Request.Kind), string(t.State))
			metrics.ApprovalDuration.Record(ctx, t.Outcome.At.Sub(t.Request.At).Seconds(), string(t.Request.Kind), string(t.State))
		}
	}
	for _, d := range s.out.Emit {
		if r, ok := d.Payload.(events.ApprovalRefused); ok {
			metrics.VotesRefused.Add(ctx, 1, r.By.Channel, r.Reason)
		}
	}
}
