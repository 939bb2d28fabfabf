package main

import (
	"context"
	"errors"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// An HTTP approver calls back once. If that was lost, or if it has forgotten what it was asked, nothing says so, and
// the run would wait for nobody. So it is asked again while its answer is waited for: after firstWait, and then each
// time after as long as people have been asked, lastWait at most. Each attempt has one such timer, however
// often it is set.
const (
	firstWait = time.Hour
	lastWait  = 24 * time.Hour
)

// askAgainLater sets the timer of an attempt.
func (h *handler) askAgainLater(ctx context.Context, requestID string, at events.ApprovalTarget, attempt string) error {
	t, err := h.db.Ticket(ctx, requestID)
	if err != nil || attempt == "" || !t.WaitsFor(at.Target) {
		return err
	}
	now := h.db.Now()
	due := now.Add(min(max(now.Sub(t.Told), firstWait), lastWait))
	if !due.Before(t.Expires) {
		return nil
	}
	again := events.ApprovalUnanswered{RequestID: requestID, ApprovalTarget: at, Attempt: attempt}
	_, err = h.db.Emit(ctx, store.Cause{Source: events.Source(function), ID: "unanswered " + attempt}, t.Request.Correlation(),
		func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: []events.Draft{events.At(due, again)}}, nil
		})
	return err
}

// unanswered asks an approver once more that gave up or says nothing, while its answer is waited for. The attempt must
// be the newest: a reminder may have asked again since.
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
		var later *chat.Later
		no, refused := chat.AsRefused(err)
		switch {
		case errors.As(err, &later):
			err = events.RetryAt(h.db.Now().Add(later.After), err)
		case refused:
			emit, err = append(emit, undeliverable(ctx, t.Message(), u.ApprovalTarget, no.Reason, err)), nil
		}
		return events.Decision{Emit: emit}, err
	})
}

// postAgain posts once more if the attempt is the newest. It returns the one that is then.
func (h *handler) postAgain(ctx context.Context, channel chat.Channel, m events.ApprovalMessage, u events.ApprovalUnanswered) (
	newest string, votes []events.Draft, err error) {
	held, err := h.db.ChatMessage(ctx, u.RequestID, u.ApprovalTarget)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, held.Close(ctx)) }()
	p := &place{ChatMessage: held, channel: channel, at: u.ApprovalTarget}
	if held.Ref == nil {
		return "", nil, nil
	}
	at, err := p.ref()
	if err != nil || at.Message != u.Attempt {
		return at.Message, nil, err
	}
	posted, err := channel.Post(ctx, u.Target, m)
	if err != nil {
		return "", nil, err
	}
	if err := p.posted(posted); err != nil {
		return "", p.votes, err
	}
	held.Version = max(held.Version, m.Version)
	return posted.Message, p.votes, held.Save(ctx)
}
