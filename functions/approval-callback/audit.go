package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/store"
)

const (
	// noteFor is how long writing a note may take.
	noteFor = 10 * time.Second
	// mostNotes is how many an hour may have.
	mostNotes = 1000
)

// notes are what the audit has of callbacks that are no vote: who tried what, and why it came to nothing. Anybody can
// send such a callback and the audit keeps its rows for good, so it gets the first one of a kind in an hour.
type notes struct {
	mu   sync.Mutex
	hour time.Time
	seen map[string]bool
}

func (n *notes) first(now time.Time, kind string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if hour := now.Truncate(time.Hour); n.seen == nil || !hour.Equal(n.hour) {
		n.hour, n.seen = hour, map[string]bool{}
	}
	if n.seen[kind] || len(n.seen) >= mostNotes {
		return false
	}
	n.seen[kind] = true
	return true
}

// note leaves a row in the audit, in the background. of is the request that it is about, zero if that is not known.
func (h *handler) note(ctx context.Context, by events.Voter, of approval.Request, action, reason, detail string) {
	now := h.db.Now()
	row := events.Record{
		Actor: plain.Cut(by.Channel+":"+by.Account, 200), Action: action, Reason: reason, Run: of.RunID, Detail: plain.Cut(detail, 500),
	}
	if !h.notes.first(now, row.Actor+" "+action+" "+reason+" "+of.ID) {
		return
	}
	correlation := ""
	if of.ID != "" {
		correlation = of.Correlation()
	}
	h.later(ctx, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, noteFor)
		defer cancel()
		cause := store.Cause{Source: events.Source(function) + "/" + by.Channel, ID: action + " " + now.Format(time.RFC3339Nano)}
		_, err := h.db.Emit(ctx, cause, correlation, func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Audit: []events.Record{row}}, nil
		})
		if err != nil {
			slog.WarnContext(ctx, "the audit lacks a callback that came to nothing", "channel", by.Channel, "reason", reason, "error", err)
		}
	})
}
