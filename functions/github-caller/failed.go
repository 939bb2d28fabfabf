package main

import (
	"context"
	"errors"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/store"
)

// moot reports whether nothing has to be done about any part that failed: the issue was deleted or locked, the
// repository archived, the App suspended. Then the event is handled, as far as GitHub allows; the reason is the first
// part's.
func moot(err error) (first string, void bool) {
	parts, many := err.(interface{ Unwrap() []error })
	if !many {
		return github.Moot(err)
	}
	for _, part := range parts.Unwrap() {
		why, void := moot(part)
		if !void {
			return "", false
		}
		if first == "" {
			first = why
		}
	}
	return first, true
}

// refused is the audit's line about what GitHub refused, in its words.
func (c *change) refused(why string, err error) events.Record {
	return events.Record{Actor: actor, Action: "github.refused", Run: c.RunID, Reason: why, Detail: err.Error()}
}

// explain gives an error the kind that decides the answer: later for limits and locks; rejected for what GitHub refuses
// and somebody can fix, which is also audited; anything else is tried again.
func (c *change) explain(ctx context.Context, err error) error {
	var limited *github.RateLimited
	var no *github.Refused
	switch {
	case errors.As(err, &limited):
		return events.RetryAt(limited.Until, c.noteLimit(ctx, c.client, err))
	case errors.Is(err, store.ErrLocked):
		return events.RetryAt(c.db.Now().Add(2*time.Second), err)
	case errors.Is(err, errFresh):
		return events.RetryAt(c.db.Now().Add(max(2*time.Second, c.age())), err) // a few tries, until it is old
	case errors.As(err, &no) && !temporary(err):
		said, audit := c.db.Emit(ctx, store.Cause{Source: c.cause.Source(), ID: c.cause.ID()}, c.key(), func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: c.noted(ctx, err), Audit: []events.Record{c.refused(reason.GitHubRefused, err)}}, nil
		})
		if audit != nil {
			return errors.Join(err, audit) // not rejected before it is audited
		}
		_ = c.send(ctx, said...) // what gets lost timekeeper sends
		return events.Reject(reason.GitHubRefused, err)
	}
	return err
}

// unreachable says that people don't see a request on GitHub which has not worked for long, or will not before long:
// then another channel stands in. Should it work after all, that is said as well. err has its kind.
func (c *change) unreachable(ctx context.Context, err error) error {
	_, final := events.AsRejected(err)
	if final || c.noteShown || c.Note == nil || c.Note.Delivered == nil {
		return nil
	}
	next := c.db.Now()
	if later := new(events.RetryLaterError); errors.As(err, &later) {
		next = later.Until
	} else {
		metrics.ApprovalMessages.Add(ctx, 1, c.Note.Delivered.Channel, "failed")
	}
	if next.Sub(c.cause.Time()) <= events.Patience {
		return nil
	}
	told, failed := c.db.Emit(context.WithoutCancel(ctx), store.Cause{Source: c.cause.Source(), ID: c.cause.ID() + " unreachable"}, c.key(),
		func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: []events.Draft{c.hidden(ctx, reason.Unreachable, err)}}, nil
		})
	_ = c.send(ctx, told...) // what gets lost timekeeper sends
	return failed
}

// temporary reports whether any failed part may work the next time. Then all are tried again.
func temporary(err error) bool {
	var failed *failures
	if errors.As(err, &failed) {
		return failed.temporary
	}
	return false
}
