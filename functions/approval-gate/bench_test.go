package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

// BenchmarkDecide takes decisions against a Postgres that truly syncs to disk, in tables that begin empty and in tables
// with 10,000 open requests and a million that were decided, whose price must be the same:
//
//	ask     a request is opened
//	remind  its timer comes due
//	vote    a click decides it
//
// Each is one delivery: read, decided, stored, and what it emits sent to a sink. It reports
//
//	p50-ms, p99-ms  of one delivery
func BenchmarkDecide(b *testing.B) {
	for _, past := range []string{"empty", "history"} {
		f := setup(b, pgtest.Durable(b))
		f.decideOne() // connects, and leaves a ticket to copy
		if past == "history" {
			f.addPast()
		}
		b.Run(past, func(b *testing.B) {
			var took [3][]time.Duration
			for b.Loop() {
				for step, d := range f.decideOne() {
					took[step] = append(took[step], d)
				}
			}
			b.ReportMetric(0, "ns/op") // of three
			for step, name := range []string{"ask", "remind", "vote"} {
				slices.Sort(took[step])
				b.ReportMetric(ms(took[step][len(took[step])/2]), name+"-p50-ms")
				b.ReportMetric(ms(took[step][len(took[step])*99/100]), name+"-p99-ms")
			}
		})
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// decideOne asks, reminds and decides, and says how long each took.
func (f *fixture) decideOne() (took [3]time.Duration) {
	f.Helper()
	step := 0
	timed := func(p events.Payload) {
		begin := time.Now()
		if code := f.hear(p); code/100 != 2 {
			f.Fatalf("%s was answered %d", p.EventType(), code)
		}
		took[step] = time.Since(begin)
		step++
	}
	r := f.request(func(r *approval.Request) { r.Arguments = fmt.Appendf(nil, `{"n":%d}`, f.n) })
	timed(r)
	f.pass(4 * time.Hour)
	timed(events.ApprovalDue{RunRef: ref, RequestID: r.ID, Round: 1})
	timed(vote(r, "slack", "U12", events.Approve, fmt.Sprint("click-", f.n)))
	f.wantState(r, approval.Approved)
	f.said()
	return took
}

// addPast adds what a platform has after years: a million decided requests and 10,000 that wait, each shown in two
// chats. What was asked and decided is written like the request that is there.
func (f *fixture) addPast() {
	f.Helper()
	f.sql.Do(`
		INSERT INTO work_items (repository, issue, full_name)
		SELECT 'acme/demo', n, 'acme/demo' FROM generate_series(10, 10009) AS n`)
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		SELECT md5(n::text)::uuid, 'acme/demo', n, 'demo', 'dev', 'dev', 'running', 'codex', 'm', 'alice', n, 'n', now()
		FROM generate_series(10, 10009) AS n`)
	f.sql.Do(`
		INSERT INTO approvals (id, run_id, state, asked_at, decided_at, ticket)
		SELECT md5('a' || n)::uuid, md5((n % 10000 + 10)::text)::uuid, CASE WHEN n > 10000 THEN 'approved' ELSE 'open' END,
		       now(), CASE WHEN n > 10000 THEN now() END, (SELECT ticket FROM approvals LIMIT 1)
		FROM generate_series(1, 1010000) AS n`)
	f.sql.Do(`
		INSERT INTO chat_messages (request, channel, target, version, ref, changed_at)
		SELECT id, channel, 'C1', 3, '{"chat": "C1", "message": "1"}', now() FROM approvals, unnest('{slack,telegram}'::text[]) AS channel`)
	f.sql.Do(`VACUUM ANALYZE`)
}
