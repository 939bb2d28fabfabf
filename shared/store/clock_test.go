package store_test

import (
	"context"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// TestOneClock: by the clock that the store was handed, of whatever day, a timer is stored as one, sent when its time
// has come and not before, and everything that is counted by time agrees.
func TestOneClock(t *testing.T) {
	for name, day := range map[string]time.Time{
		"long ago": time.Date(2009, 1, 2, 3, 4, 5, 6000, time.UTC), "far ahead": time.Date(2121, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			dbs, _ := instances(t, 1)
			db, clock := dbs[0], day
			db.SetClock(func() time.Time { return clock })
			ref := events.RunRef{RunID: "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8", Repository: "acme/shop", Issue: 12}
			now, err := db.Emit(t.Context(), store.Cause{Source: "/test", ID: "1"}, ref.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
				return events.Decision{Emit: []events.Draft{events.At(clock.Add(time.Hour), events.EnvironmentExpired{RunRef: ref})}, Audit: []events.Record{{Action: "a"}}}, nil
			})
			if err != nil || len(now) != 0 {
				t.Fatalf("%d events are to be sent at once, %v; want a timer", len(now), err)
			}
			due := func(want int) {
				t.Helper()
				if es, err := db.Due(t.Context(), 10); err != nil || len(es) != want {
					t.Errorf("at %s %d events are due, %v; want %d", clock, len(es), err, want)
				}
			}
			due(0)
			clock = clock.Add(time.Hour)
			if b, err := db.Backlogs(t.Context()); err != nil || len(b) != 1 || b[0].Overdue != 1 || !b[0].Since.Equal(clock) {
				t.Errorf("outstanding: %+v, %v; want one since %s", b, err, clock)
			}
			if b, err := db.Overdue(t.Context()); err != nil || len(b) != 1 || b[0].Overdue != 1 || !b[0].Since.Equal(clock) {
				t.Errorf("overdue: %+v, %v; want one since %s", b, err, clock)
			}
			due(1)
			due(0)
			clock = clock.Add(time.Minute)
			due(1)
			if outcomes, err := db.Receive(t.Context(), []store.Arrival{arrived("2", "dev.knative.source.github.issues", "{}", true)}); err != nil || outcomes[0] != store.Accepted {
				t.Fatal(outcomes, err)
			}
			if seen, err := db.Seen(t.Context()); err != nil || !seen.Delivery.Equal(clock) || !seen.Now.Equal(clock) {
				t.Errorf("seen %+v, %v; want a delivery at %s", seen, err, clock)
			}
			if u, err := db.UnsealedAudit(t.Context()); err != nil || !u.Since.Equal(day) {
				t.Errorf("unsealed %+v, %v; want since %s", u, err, day)
			}
		})
	}
}
