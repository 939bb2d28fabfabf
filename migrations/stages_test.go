package migrations_test

import (
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	working  = "00000000-0000-4000-8000-000000000001"
	revising = "00000000-0000-4000-8000-000000000002"
	later    = "00000000-0000-4000-8000-000000000003"
)

// What the release before writes, in its own words.
const (
	oldRun = `
		INSERT INTO runs (id, repository, issue, project_id, stage, revise, role, state, engine, model, reasoning,
		                  requested_by, intent, namespace, task, review, created_at)
		VALUES ($1::text::uuid, 'acme/demo', $2, 'demo', 'dev', $3, 'dev', 'running', 'codex', 'gpt-5.4', 'high', 'alice', $1::text, 'ns', NULL, NULL, now())`
	oldSession = `
		INSERT INTO sessions AS s (repository, issue, engine, version, thread_id, sha256, data, run_id, saved_at)
		SELECT 'acme/demo', 1, 'codex', $1::bigint + 1, 'thread', '\x00', $2, $3, now()
		WHERE $1::bigint = 0 OR EXISTS (SELECT 1 FROM sessions WHERE repository = 'acme/demo' AND issue = 1 AND engine = 'codex')
		ON CONFLICT (repository, issue, engine) DO UPDATE
		SET version = s.version + 1, thread_id = excluded.thread_id, sha256 = excluded.sha256,
		    data = excluded.data, run_id = excluded.run_id, saved_at = excluded.saved_at
		WHERE s.version = $1`
	oldEvent = `
		INSERT INTO events (source, id, type, time, data, n, stored_at)
		VALUES ('/test', $1, 't', now(), '', $2, $3)`
)

// before is a database as that release before has it, with two runs in flight.
func before(t *testing.T, version int64) (url string, exec func(string, ...any)) {
	t.Helper()
	url = pgtest.URL(t)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec = func(q string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), q, args...); err != nil {
			t.Fatal(err)
		}
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("."))
	if err == nil {
		_, err = p.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
	exec(`INSERT INTO projects (id, name, settings) VALUES ('demo', 'Demo', '{"hostedTools": ["web_search"]}')`)
	exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/demo', 1, 'Acme/Demo'), ('acme/demo', 2, 'Acme/Demo'), ('acme/demo', 3, 'Acme/Demo')`)
	exec(oldRun, working, 1, false)
	exec(oldRun, revising, 2, true)
	exec(oldSession, 0, []byte("first"), working)
	return url, exec
}

// TestRunsInFlightGoOn: a run of the release before is the same run for this one, with what it may do and what its
// agent has said; and what either of the two saves, the other one finds.
func TestRunsInFlightGoOn(t *testing.T) {
	url, exec := before(t, 14)
	if _, err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	exec(oldRun, later, 3, true) // it is still running
	db, err := store.Open(t.Context(), "agent-gateway", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(t.Context()) })
	runs := map[string]store.AgentRun{}
	for id, want := range map[string]events.Kind{working: events.KindWork, revising: events.KindRevise, later: events.KindRevise} {
		run, err := db.AgentRun(t.Context(), id)
		if err != nil || run.Kind != want || run.Grant != nil || !cmp.Equal(run.HostedTools, []string{"web_search"}) {
			t.Errorf("run %s is %q with %+v and %q, %v; want %q", id, run.Kind, run.Grant, run.HostedTools, err, want)
		}
		runs[id] = run
	}
	stored := func(run store.AgentRun, version int64, data string) {
		t.Helper()
		if s, err := db.LoadSession(t.Context(), run); err != nil || s.Version != version || string(s.Data) != data {
			t.Errorf("the session is %q, version %d, %v; want %q, version %d", s.Data, s.Version, err, data, version)
		}
	}
	run := runs[working]
	stored(run, 1, "first")
	exec(oldSession, 1, []byte("by the release before"), working)
	stored(run, 2, "by the release before")
	if v, err := db.SaveSession(t.Context(), run, 2, store.Session{ThreadID: "thread", SHA256: []byte{1}, Data: []byte("by this one"), RunID: working}); err != nil || v != 3 {
		t.Fatalf("version %d, %v", v, err)
	}
	exec(oldSession, 3, []byte("after a rollback"), working)
	stored(run, 4, "after a rollback")

	qa := run
	qa.Stage = "qa"
	stored(qa, 0, "")
	if _, err := db.SaveSession(t.Context(), qa, 0, store.Session{ThreadID: "other", SHA256: []byte{2}, Data: []byte("of tests"), RunID: working}); err != nil {
		t.Fatal(err)
	}
	stored(qa, 1, "of tests")
	exec(`UPDATE runs SET state = 'failed', finished_at = now() WHERE id = $1`, working)
}

// TestEventsHaveAnOrder: those that were there by when they were stored, whatever their names; those that come after
// them, of either release, above.
func TestEventsHaveAnOrder(t *testing.T) {
	url, exec := before(t, 14)
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i, at := range []int{3, 1, 2, 2} {
		exec(oldEvent, fmt.Sprint(i), i, noon.Add(time.Duration(at)*time.Second))
	}
	if _, err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	exec(oldEvent, "after", 0, noon)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	var ordered bool
	if err := db.QueryRowContext(t.Context(), `
		SELECT string_agg(id, ' ' ORDER BY seq), count(DISTINCT seq) = count(*)
		FROM events
	`).Scan(&got, &ordered); err != nil || got != "1 2 3 0 after" || !ordered {
		t.Errorf("the order is %q, each with a number of its own: %t, %v", got, ordered, err)
	}
}
