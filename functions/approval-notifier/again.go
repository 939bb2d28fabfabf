package main

import (
	"context"
	"errors"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// An HTTP approver calls back once. If that was lost, or if it has forgotten what it was asked, nothing says so, and
// the run would wait for nobody. So it is asked again while its answer is waited for: after firstWait, and then each
// time after as long as people have been asked, lastWait at most. One that could not be asked is asked again by the
// same clock. Each attempt has one such timer, however often it is set.
const (
	firstWait = time.Hour
	lastWait  = 24 * time.Hour
)

// again is the timer of an attempt, "" = of none that is known of. It is not set if no answer of this approver is
// waited for, or none will be by then.
func (h *handler) again(t approval.Ticket, at events.ApprovalTarget, attempt string) (timer events.Draft, set bool) {
	now := h.db.Now()
	due := now.Add(min(max(now.Sub(t.Told), firstWait), lastWait))
	again := events.ApprovalUnanswered{RequestID: t.Request.ID, ApprovalTarget: at, Attempt: attempt, Due: due}
	return events.At(due, again), at.Channel == approval.HTTP && t.WaitsFor(at.Target) && due.Before(t.Expires)
}

// askAgainLater sets the timer of an attempt.
func (h *handler) askAgainLater(ctx context.Context, requestID string, at events.ApprovalTarget, attempt string) error {
	t, err := h.db.Ticket(ctx, requestID)
	if err != nil || attempt == "" {
		return err
	}
	timer, set := h.again(t, at, attempt)
	if !set {
		return nil
	}
	_, err = h.db.Emit(ctx, store.Cause{Source: events.Source(function), ID: "unanswered " + attempt}, t.Request.Correlation(),
		func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: []events.Draft{timer}}, nil
		})
	return err
}

// unanswered asks an approver once more that gave up, says nothing or could not be asked, while its answer is waited
// for. The attempt must be the newest: a reminder may have asked again since.
func (h *handler) unanswered(ctx context.Context, e event.Event, u events.ApprovalUnanswered) ([]event.Event, error) {
	return h.db.Act(ctx, e, "messages/"+u.RequestID, func(ctx context.Context) (events.Decision, error) {
		t, err := h.db.Ticket(ctx, u.RequestID)
		channel := h.channels[u.Channel]
		if err != nil || !t.WaitsFor(u.Target) || channel == nil {
			return events.Decision{}, err
		}
		ctx, cancel := context.WithTimeout(ctx, actFor)
		defer cancel()
		newest, emit, err := h.postAgain(ctx, channel, t.Message(), u)
		if err == nil {
			err = h.askAgainLater(ctx, u.RequestID, u.ApprovalTarget, newest)
		}
		if err != nil {
			var failed []events.Draft
			failed, err = h.judge(ctx, t.Message(), u.ApprovalTarget, u.Attempt, u.Due, err)
			emit = append(emit, failed...)
		}
		return events.Decision{Emit: emit}, err
	})
}

// postAgain posts once more if the attempt is the newest. It returns the one that is then, and what is to be said.
func (h *handler) postAgain(ctx context.Context, channel chat.Channel, m events.ApprovalMessage, u events.ApprovalUnanswered) (
	newest string, emit []events.Draft, err error) {
	held, err := h.db.ChatMessage(ctx, u.RequestID, u.ApprovalTarget)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, held.Close(ctx)) }()
	p := &place{ChatMessage: held, channel: channel, at: u.ApprovalTarget}
	if held.Ref != nil {
		at, err := p.ref()
		if err != nil || at.Message != u.Attempt {
			return at.Message, nil, err
		}
	}
	if err := p.post(ctx, m); err != nil {
		return "", p.votes, err
	}
	at, err := p.ref()
	if err != nil {
		return "", p.votes, err
	}
	held.Version = max(held.Version, m.Version)
	return at.Message, append(p.votes, delivered(ctx, m, u.ApprovalTarget)), held.Save(ctx)
}
