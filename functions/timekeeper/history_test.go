package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/stage"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// history is how many rows each table has from the past.
const history = 20_000

// longAgo fills the tables with what is over. %[1]d is the number of rows.
const longAgo = `
	INSERT INTO events (source, id, type, time, data, function, cause_id, stored_at)
	SELECT 'past', n, 't', now() - interval '1 month', '{}', 'f', n, now() - interval '1 month' FROM generate_series(1, %[1]d) AS n;
	INSERT INTO inbox (function, source, id, handled_at)
	SELECT 'stage-router', 'past', n, now() - interval '1 month' FROM generate_series(1, %[1]d) AS n;
	INSERT INTO dead_letters (function, source, id, type, envelope, died_at, replayed_at, handled_at)
	SELECT 'stage-router', 'past', n, 't', '{}', now() - interval '1 month', now() - interval '1 month', now() - interval '1 month'
	FROM generate_series(1, %[1]d) AS n;
	INSERT INTO deliveries (guid, event, repository, hook_id, sha256, status, received_at)
	SELECT n, 'issues', 'acme/api', 7, '', 'accepted', now() - interval '1 month' FROM generate_series(1, %[1]d) AS n;
	INSERT INTO work_items (repository, issue, full_name)
	SELECT 'acme/api', n, 'acme/api' FROM generate_series(1000, 1000 + %[1]d / 10) AS n;
	INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, finished_at)
	SELECT gen_random_uuid(), 'acme/api', 1000 + n / 10, 'p', 'dev', 'dev', 'succeeded', 'e', 'm', 'ann', n, 'n', now() - interval '1 month', now()
	FROM generate_series(1, %[1]d) AS n;
	INSERT INTO audit (actor, action, function) SELECT 'a', 'b', 'f' FROM generate_series(1, %[1]d);
	WITH seal AS (
		INSERT INTO audit_seals (rows, seqs, previous, hash, sealed_at)
		SELECT 1000, array_agg(seq ORDER BY seq), '', '', now() - interval '1 month' + interval '1 hour' * min(seq) / 1000
		FROM audit GROUP BY (seq - 1) / 1000 ORDER BY min(seq)
		RETURNING batch, seqs
	)
	INSERT INTO audit_sealed (seq, batch) SELECT seq, batch FROM seal, unnest(seqs) AS seq;
`

// Whatever happened in the past, a tick looks only at what is outstanding, and a comparison only at what GitHub shows.
func TestATickDoesNotReadHistory(t *testing.T) {
	f := setup(t)
	hub, _, address := f.hub()
	hub.SetAppHook(address, "x")
	_, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: address, Secret: "x"})
	must(t, err)
	f.exec(fmt.Sprintf(longAgo, history))
	f.exec(`VACUUM ANALYZE`)
	f.ask(hub, "Add search")
	f.emit()
	clients, err := github.Open(github.Config{URL: hub.APIURL(), AppID: hub.AppID(), AppKey: hub.AppPrivateKey()})
	must(t, err)

	// What a connection has read is counted for all to see when it ends, at the latest.
	must(t, f.db.Close(context.Background()))
	f.db = f.as("test")
	f.awaitGone("timekeeper")
	f.forgetReads()
	db := f.as("timekeeper")
	h := &handler{db: db, clients: clients, send: f.s.Send}
	for n := range 8 { // after five times Postgres plans a statement without its arguments
		_, err = h.tick(t.Context(), event.New())
		must(t, err)
		must(t, h.compare(t.Context(), time.Now().Add(time.Duration(2+n)*compareEvery)))
	}
	must(t, db.Close(context.Background()))
	f.awaitGone("timekeeper")
	f.want("tables of which much was read", f.lines(`
		SELECT format('%s: %s rows in %s scans, and %s rows by index', relname, seq_tup_read, seq_scan, idx_tup_fetch)
		FROM pg_stat_user_tables
		WHERE seq_tup_read + coalesce(idx_tup_fetch, 0) > 2000 -- the last seal covers a thousand rows
		ORDER BY relname
	`), []string{})
	f.want("done", f.lines(`SELECT count(*)::text FROM events WHERE stored_at > now() - interval '1 day'`), []string{"4"})
}

// manyWait puts 10,000 runs that wait for people there, with what they ask and the timers of it.
const manyWait = `
	INSERT INTO work_items (repository, issue, full_name) SELECT 'acme/many', n, 'acme/many' FROM generate_series(1, 10000) AS n;
	INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, waiting_for)
	SELECT md5(n::text)::uuid, 'acme/many', n, 'p', 'dev', 'dev', 'waiting', 'e', 'm', 'ann', 'many' || n, 'n', now(), 'question' FROM generate_series(1, 10000) AS n;
	INSERT INTO approvals (id, run_id, state, asked_at, ticket) SELECT id, id, 'open', now() - interval '1 hour', '{}' FROM runs WHERE state = 'waiting';
	INSERT INTO events (source, id, type, time, data, function, not_before)
	SELECT 'many', n, 'dev.codexk8s.approval.due', now(), '{}', 'approval-gate', now() + interval '1 month' FROM generate_series(1, 10000) AS n;
	INSERT INTO pending (function, source, id, due_at) SELECT 'approval-gate', 'many', n, now() + interval '1 month' FROM generate_series(1, 10000) AS n;
	UPDATE pending SET attempts = 1 WHERE id = '1';
`

// However many people are asked, a tick does not look at each request; it still knows how many there are, about, and
// what is overdue among their timers.
func TestATickDoesNotReadAllThatWaits(t *testing.T) {
	f := setup(t)
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/many', 'p')`)
	f.exec(manyWait)
	f.exec(`VACUUM ANALYZE`)
	n, since, err := f.db.Waiting(t.Context())
	must(t, err)
	states, err := f.db.ActiveRuns(t.Context())
	must(t, err)
	if waiting := states[stage.Waiting]; n < 9000 || n > 11000 || waiting < 9000 || waiting > 11000 || since.IsZero() {
		t.Errorf("%d requests are open since %s, %d runs wait", n, since, waiting)
	}
	overdue, err := f.db.Overdue(t.Context())
	must(t, err)
	f.want("overdue", []string{fmt.Sprint(len(overdue), " ", overdue[0].Function, " ", overdue[0].Overdue)}, []string{"1 approval-gate 1"})
	must(t, f.db.Close(context.Background()))
	f.db = f.as("test")
	f.awaitGone("timekeeper")
	f.forgetReads()
	db := f.as("timekeeper")
	_, err = (&handler{db: db, send: f.s.Send}).tick(t.Context(), event.New())
	must(t, err)
	must(t, db.Close(context.Background()))
	f.awaitGone("timekeeper")
	f.want("tables of which much was read", f.lines(`
		SELECT format('%s: %s rows in %s scans, and %s rows by index', relname, seq_tup_read, seq_scan, idx_tup_fetch)
		FROM pg_stat_user_tables
		WHERE seq_tup_read + coalesce(idx_tup_fetch, 0) > 1500 -- a thousand are counted
		ORDER BY relname
	`), []string{})
}

// forgetReads has Postgres count what is read from now on. What this session has read itself is counted late, and so
// it is counted first.
func (f *fixture) forgetReads() {
	f.t.Helper()
	f.exec(`SELECT pg_stat_force_next_flush()`)
	f.exec(`SELECT pg_stat_reset()`)
}

// awaitGone waits until Postgres has ended the function's connections: closing them is no more than asking for it.
func (f *fixture) awaitGone(function string) {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		there := f.lines(`SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = '` + function + `'`)
		if len(there) == 0 {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("connections of %s are still there: %q", function, there)
		}
	}
}

// A row of the audit may be seen after rows that were numbered later, and even after timekeeper has slept for long.
func TestARowThatWasLongInComingIsSealed(t *testing.T) {
	f := setup(t)
	write := func() { f.exec(`INSERT INTO audit (actor, action, function) VALUES ('a', 'b', 'f')`) }
	slow, err := f.sql.Begin(t.Context())
	must(t, err)
	_, err = slow.Exec(t.Context(), `INSERT INTO audit (actor, action, function) VALUES ('slow', 'b', 'f')`)
	must(t, err)
	_, err = f.db.SealAudit(t.Context(), sealAtOnce)
	must(t, err)
	f.want("while it is being written", f.lines(`SELECT seqs::text FROM audit_seals`), []string{})
	f.exec(`INSERT INTO audit (actor, action, function, tx) VALUES ('a', 'b', 'f', '3')`) // of a transaction before it
	write()
	f.tick()
	f.exec(`UPDATE audit_seals SET sealed_at = now() - interval '1 day'`)
	must(t, slow.Commit(t.Context()))
	for range 3 { // now the first seal is one to begin at
		f.tick()
		write()
	}
	f.want("sealed", f.lines(`SELECT seqs::text FROM audit_seals ORDER BY batch`), []string{"{2}", "{1,3}", "{4}", "{5}"})
	f.exec(`INSERT INTO audit (actor, action, function, tx) VALUES ('a', 'b', 'f', (pg_current_xact_id()::text::bigint + 1000000)::text::xid8)`)
	f.tick()
	f.want("restored into another cluster", f.lines(`SELECT seqs::text FROM audit_seals ORDER BY batch DESC LIMIT 1`), []string{"{6,7}"})
	if n, err := f.db.VerifyAudit(t.Context()); n.Rows != 7 || err != nil {
		t.Errorf("verified %d, %v", n, err)
	}
}
