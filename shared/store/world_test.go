package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	runA = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"
	runB = "11111111-3b57-4c0e-9d6a-52b0c1f4a9e8"

	item = "acme/shop#12"
)

var refA = events.RunRef{RunID: runA, Project: "shop", Repository: "Acme/Shop", Issue: 12}

// A world is a database with a project and a work item, and a clock that all functions go by.
type world struct {
	*testing.T
	url string
	sql *pgtest.DB

	mu    sync.Mutex
	clock time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, url: pgtest.New(t), clock: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)}
	w.sql = pgtest.Open(t, w.url)
	w.sql.Do(`INSERT INTO projects (id, name, settings) VALUES ('shop', 'Shop', '{"parallel": 2}')`)
	w.sql.Do(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/shop', 'shop')`)
	w.sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 12, 'Acme/Shop'), ('acme/shop', 13, 'Acme/Shop')`)
	return w
}

// as is an instance of the named function: a pool of its own.
func (w *world) as(function string) *store.DB {
	w.Helper()
	db, err := store.Open(w.Context(), function, w.url)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = db.Close(context.Background()) })
	db.SetClock(w.now)
	return db
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// run puts a run of issue 12 or 13 into the database.
func (w *world) run(id, state string, issue int) {
	w.Helper()
	w.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, finished_at)
		VALUES ($1, 'acme/shop', $3, 'shop', 'dev', 'dev', $2, 'codex', 'm', 'ann', $1::uuid::text, 'n', $4,
		        CASE WHEN $2 IN ('succeeded', 'failed', 'cancelled', 'timed_out') THEN $4::timestamptz END)
	`, id, state, issue, w.now())
}

// owed logs an event of stage-router and writes down that the function owes its receipt, as the sender's Step does.
func (w *world) owed(function, id string, p events.Payload) event.Event {
	w.Helper()
	e := event.New()
	e.SetSource(events.Source("stage-router"))
	e.SetID(id)
	e.SetType(p.EventType())
	e.SetExtension(events.ExtCorrelation, item)
	if err := e.SetData(event.ApplicationJSON, p); err != nil {
		w.Fatal(err)
	}
	w.sql.Log(e.Source(), e.ID(), e.Type(), e.Data())
	w.sql.Do(`INSERT INTO pending (function, source, id, due_at) VALUES ($1, $2, $3, $4)`, function, e.Source(), e.ID(), w.now())
	return e
}

// state counts what the database has: receipts, events that functions emitted, receipts that are owed, lines of the
// audit.
func (w *world) state() string {
	w.Helper()
	return pgtest.One[string](w.sql, `
		SELECT format('%s received, %s emitted, %s owed, %s audited', (SELECT count(*) FROM inbox), (SELECT count(*) FROM events WHERE function <> ''),
		              (SELECT count(*) FROM pending), (SELECT count(*) FROM audit))
	`)
}

func (w *world) want(what, want string) {
	w.Helper()
	if got := w.state(); got != want {
		w.Errorf("%s: %s, want %s", what, got, want)
	}
}

// atOnce calls f n times at the same time and returns the errors, by what they say.
func atOnce(n int, f func(i int) error) map[string]int {
	var wg sync.WaitGroup
	said := make([]string, n)
	for i := range n {
		wg.Go(func() { said[i] = fmt.Sprint(f(i)) })
	}
	wg.Wait()
	counted := map[string]int{}
	for _, s := range said {
		counted[s]++
	}
	return counted
}

func ids(es []event.Event) string {
	s := ""
	for _, e := range es {
		s += e.ID() + " "
	}
	return s
}
