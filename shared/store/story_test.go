package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// says writes lines of the audit, under a work item or a project, about a run or none.
func (w *world) says(about, run string, actions ...string) {
	w.Helper()
	for _, a := range actions {
		w.sql.Do(`INSERT INTO audit (at, actor, action, work_item, run_id, function, process) VALUES ($1, 'a', $2, $3, nullif($4, '')::uuid, 'f', 'p')`, w.now(), a, about, run)
	}
}

// look reads in one transaction that may not write.
func (w *world) look(read func(context.Context, *store.Tx) error) error {
	return w.as("doctor").Look(w.Context(), read)
}

// acts are the actions of one page, and the number of its oldest line.
func (w *world) acts(run string, before int64, limit int) (string, int64) {
	w.Helper()
	var said []string
	var oldest int64
	if err := w.look(func(ctx context.Context, tx *store.Tx) error {
		acts, err := tx.Acts(ctx, item, run, before, limit)
		for _, a := range acts {
			said, oldest = append(said, a.Action), a.Seq
		}
		return err
	}); err != nil {
		w.Fatal(err)
	}
	return strings.Join(said, " "), oldest
}

// TestAWorkItemsActsHaveThoseOfTheQueueBetweenThem, page by page, the newest first.
func TestAWorkItemsActsHaveThoseOfTheQueueBetweenThem(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "failed", 12)
	w.run(runB, "queued", 12)
	w.says(item, "", "ignored")
	w.says(item, runA, "requested")
	w.says("project/shop", runA, "queued", "admitted")
	w.says("acme/shop#13", "", "elsewhere")
	w.says(item, runA, "started", "failed")
	w.says(item, runB, "requested2")
	w.says("project/shop", runB, "queued2")
	if said, _ := w.acts(runB, 0, 10); said != "queued2 requested2 failed started admitted queued requested ignored" {
		t.Errorf("all: %s", said)
	}
	var pages []string
	for before := int64(0); ; {
		said, oldest := w.acts(runB, before, 2)
		if said == "" {
			break
		}
		pages, before = append(pages, said), oldest
	}
	if diff := cmp.Diff([]string{"queued2 requested2 failed", "started admitted queued requested", "ignored"}, pages); diff != "" {
		t.Errorf("pages of two lines (-want +got):\n%s", diff)
	}
	if said, _ := w.acts("", 0, 1); said != "queued2 requested2" {
		t.Errorf("the newest line: %s", said)
	}
}

// TestWhoOnlyLooksMayNotWrite, whatever they call.
func TestWhoOnlyLooksMayNotWrite(t *testing.T) {
	w := newWorld(t)
	err := w.look(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM work_items`)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsOutstandingOfAWorkItem: timers, events on their way, and dead letters.
func TestWhatIsOutstandingOfAWorkItem(t *testing.T) {
	w := newWorld(t)
	w.owed("stage-router", "1", finished)
	w.sql.Do(`UPDATE events SET correlation = $1`, item)
	w.sql.Do(`INSERT INTO events (source, id, type, time, data, extensions, not_before, stored_at) VALUES
		('s', '2', 't', now(), '{}', '{"partitionkey": "acme/shop#112"}', now(), now() + interval '1 hour'), ('s', '3', 't', now(), '{}', '{}', NULL, now() + interval '2 hours')`)
	w.sql.Do(`INSERT INTO pending (function, source, id, due_at) VALUES ('f', 's', '2', now()), ('f', 's', '3', now())`)
	w.sql.Do(`INSERT INTO dead_letters (function, source, id, type, error, envelope) VALUES ('g', 's', '2', 't', 'no', '{}')`)
	var got []string
	if err := w.look(func(ctx context.Context, tx *store.Tx) error {
		owed, err := tx.Outstanding(ctx, []string{item, "acme/shop#112"})
		for _, o := range owed {
			got = append(got, fmt.Sprint(o.Function, " ", o.ID, " timer ", o.Timer, " died ", o.Died, o.Error))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"stage-router 1 timer false died false", "f 2 timer true died false", "g 2 timer true died trueno"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTheLogIsReadInItsOrder, in pages, as long as who reads wants.
func TestTheLogIsReadInItsOrder(t *testing.T) {
	w := newWorld(t)
	w.sql.Do(`INSERT INTO events (source, id, type, time, data, stored_at)
		SELECT 's', n, CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END, now(), '{}', '2030-01-01'::timestamptz + interval '1 minute' * n FROM generate_series(1, 2500) AS n ORDER BY n`)
	db, last, read := w.as("doctor"), 0, 0
	each := func(e event.Event, stored time.Time) error {
		var n int
		if _, err := fmt.Sscan(e.ID(), &n); err != nil || n <= last {
			t.Fatalf("%s comes after %d", e.ID(), last)
		}
		last, read = n, read+1
		return nil
	}
	since := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(100 * time.Minute)
	if err := db.Recorded(t.Context(), []string{"even"}, since, each); err != nil || read != 1201 || last != 2500 {
		t.Errorf("%d events up to %d, %v", read, last, err)
	}
	enough := errors.New("enough")
	if err := db.Recorded(t.Context(), []string{"odd"}, time.Time{}, func(event.Event, time.Time) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// TestTheAuditNamesTheProcess by which it was decided.
func TestTheAuditNamesTheProcess(t *testing.T) {
	w := newWorld(t)
	d := events.Decision{Audit: []events.Record{{Actor: "a", Action: "b", Process: "cafe"}}}
	if _, err := w.as("stage-router").Emit(t.Context(), store.Cause{Source: "s", ID: "1"}, item, func(context.Context, *store.Tx) (events.Decision, error) { return d, nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cafe"}, w.sql.Lines(`SELECT process FROM audit`)); diff != "" {
		t.Error(diff)
	}
}
