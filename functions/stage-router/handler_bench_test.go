package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// BenchmarkStep takes work items through whole runs, each event one step of this function against a Postgres that truly
// syncs to disk: lock, receipt, load, decide, save, commit. What a step emits is stored and not sent. A fifth of the
// steps hears a label, two fifths admit runs under the lock of the one project that all share, one fifth each hears of
// the Job and of the agent's report. An operation is a step. It reports
//
//	steps/s         of all work items together
//	p50-ms, p99-ms  of one step
//
// with one work item at a time and with eight at once; in tables that begin empty, and in tables that hold 200,000
// events and 20,000 finished work items of the same repository, whose price must be the same.
func BenchmarkStep(b *testing.B) {
	for _, past := range []string{"empty", "history"} {
		url := pgtest.Durable(b)
		h := benchHandler(b, url)
		if past == "history" {
			addHistory(b, pgtest.Open(b, url))
		}
		for _, items := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/items=%d", past, items), func(b *testing.B) { benchmarkSteps(b, h, url, items) })
		}
	}
}

// benchHandler has no limit of runs, in parallel or in a time, that would make one work item wait for another's end.
func benchHandler(b *testing.B, url string) *handler {
	b.Helper()
	for _, q := range []string{
		`INSERT INTO projects (id, name, settings) VALUES ('demo', 'Demo', '{"parallel": 1000}')`,
		`INSERT INTO repositories (full_name, project_id) VALUES ('acme/demo', 'demo')`,
		`INSERT INTO members (project_id, login, role) VALUES ('demo', 'alice', 'maintainer')`,
	} {
		pgtest.Open(b, url).Do(q)
	}
	process := stage.Default()
	for i := range process.Roles {
		process.Roles[i].Parallel = 1000
	}
	process.Storm.Within = time.Nanosecond // its question costs what it costs, and nothing is held
	db := open(b, function, url)
	db.UseProcess(process)
	return &handler{db: db}
}

// open is the named function's access to the database.
func open(b *testing.B, function, url string) *store.DB {
	b.Helper()
	db, err := store.Open(b.Context(), function, url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

// nextIssue is above those of addHistory, and goes on over all benchmarks of this process.
var nextIssue atomic.Int64

func init() { nextIssue.Store(1_000_000) }

const stepsOfALife = 5

func benchmarkSteps(b *testing.B, h *handler, url string, items int) {
	lives := prepare(b, url, items+(b.N+stepsOfALife-1)/stepsOfALife)
	took := make([][]time.Duration, items)
	var begun atomic.Int64
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	for range items { // connections, prepared statements
		if _, err := lives[begun.Add(1)-1].steps(ctx, h, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range items {
		wg.Go(func() {
			for n := begun.Add(1); n <= int64(len(lives)) && ctx.Err() == nil; n = begun.Add(1) {
				var err error
				if took[i], err = lives[n-1].steps(ctx, h, took[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := context.Cause(ctx); err != nil {
		b.Fatal(err)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1)+0.5)].Seconds() * 1e3 }
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "steps/s")
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

// life is what a work item with one run hears from outside.
type life struct{ label, started, reported event.Event }

// prepare puts the events of n new work items into the log, as those who send them do: webhook-adapter, agent-launcher
// and agent-gateway.
func prepare(b *testing.B, url string, n int) []life {
	b.Helper()
	lives := make([]life, n)
	arrivals := make([]store.Arrival, n)
	var started, reported []events.Draft
	for i := range lives {
		issue := int(nextIssue.Add(1))
		e := event.New()
		e.SetID(uuid.NewString())
		e.SetType(events.GitHubType("issues"))
		e.SetSource("https://github.com/acme/demo")
		if err := e.SetData(event.ApplicationJSON, []byte(labelPayload(issue))); err != nil {
			b.Fatal(err)
		}
		lives[i].label, arrivals[i] = e, store.Arrival{Event: e}
		id := events.DeriveID("run", stage.LabelIntent("acme/demo", issue, "run:dev", labeledAt, ""))
		ref := events.RunRef{RunID: id, Project: "demo", Repository: "acme/demo", Issue: issue}
		started = append(started, events.Now(events.AgentStarted{RunRef: ref, Namespace: stage.Namespace(id), Job: "agent"}))
		reported = append(reported, events.Now(events.AgentReported{
			RunRef: ref, Outcome: "succeeded", Summary: "Greets in French.", Branch: fmt.Sprintf("codexk8s/issue-%d", issue),
			HeadSHA: strings.Repeat("0123", 10), PullRequest: issue + 1, ChangedFiles: []string{"greetings/french.txt"},
		}))
	}
	if _, err := open(b, "webhook-adapter", url).Receive(b.Context(), arrivals); err != nil {
		b.Fatal(err)
	}
	from := func(function string, drafts []events.Draft) []event.Event {
		emitted, err := open(b, function, url).Emit(b.Context(), store.Cause{Source: lives[0].label.Source(), ID: lives[0].label.ID()}, "", func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: drafts}, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		return emitted
	}
	jobs, reports := from("agent-launcher", started), from("agent-gateway", reported)
	for i := range lives {
		lives[i].started, lives[i].reported = jobs[i], reports[i]
	}
	return lives
}

// steps takes the work item from its label to the end of its run, and appends how long each step took.
func (l life) steps(ctx context.Context, h *handler, took []time.Duration) ([]time.Duration, error) {
	var failed error
	step := func(e event.Event, handle func(context.Context, event.Event) ([]event.Event, error), emits string) (next event.Event) {
		if failed != nil {
			return next
		}
		start := time.Now()
		emitted, err := handle(ctx, e)
		took = append(took, time.Since(start))
		i := slices.IndexFunc(emitted, func(e event.Event) bool { return e.Type() == emits })
		switch {
		case err != nil:
			failed = fmt.Errorf("%s %s: %w", e.Type(), e.Subject(), err)
		case i >= 0:
			next = emitted[i]
		case emits != "":
			failed = fmt.Errorf("%s %s does not emit %s", e.Type(), e.Subject(), emits)
		}
		return next
	}
	requested := step(l.label, h.heard, events.RunRequested{}.EventType())
	step(requested, decoded(h.runRequested), "") // the run may have been admitted with another's
	step(l.started, h.heard, "")
	finished := step(l.reported, h.heard, events.RunFinished{}.EventType())
	step(finished, decoded(h.runFinished), "")
	return took, failed
}

// decoded is what serve.On makes of a handler.
func decoded[P events.Payload](handle func(context.Context, event.Event, P) ([]event.Event, error)) func(context.Context, event.Event) ([]event.Event, error) {
	return func(ctx context.Context, e event.Event) ([]event.Event, error) {
		p, err := events.Decode[P](e)
		if err != nil {
			return nil, err
		}
		return handle(ctx, e, p)
	}
}

// labeledAt is part of the intent, from which the run's id comes.
var labeledAt = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// labelPayload has the size of an ordinary issues.labeled, 7 KB; three quarters of it are links that nobody here reads.
func labelPayload(issue int) string {
	body := strings.Repeat("People from Québec ask for it. ", 40)
	links := strings.Repeat(`"https://api.github.example/repos/acme/demo/issues",`, 100)
	return fmt.Sprintf(`{"action":"labeled","label":{"name":"run:dev"},
	"issue":{"number":%d,"title":"A greeting","body":%q,"html_url":"https://github.example/acme/demo/issues/%d",
	"state":"open","labels":[{"name":"run:dev"}],"updated_at":%q,"user":{"login":"alice","type":"User"}},
	"repository":{"full_name":"acme/demo","default_branch":"main","clone_url":"https://github.example/acme/demo.git",
	"links":[%s]},"sender":{"login":"alice","type":"User"}}`, issue, body, issue, labeledAt.Format(time.RFC3339), strings.TrimSuffix(links, ","))
}

// addHistory fills the tables as 20,000 runs leave them: ten events each with their receipts, five lines of audit, a
// report, a delivery, and one timer that is not due yet.
func addHistory(b *testing.B, db *pgtest.DB) {
	b.Helper()
	for _, q := range []string{
		`INSERT INTO work_items (repository, issue, full_name, title, body, labels, pull_request, version)
		 SELECT 'acme/demo', i, 'acme/demo', 'Issue ' || i, repeat('Words. ', 40), '{state:in-review}', i + 100000, 6
		 FROM generate_series(1, 20000) i`,
		`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace,
		                   created_at, started_at, finished_at)
		 SELECT md5('run' || i)::uuid, 'acme/demo', i, 'demo', 'dev', 'dev', 'succeeded', 'codex', 'gpt-5.4', 'alice', 'old ' || i,
		        'codexk8s-run-' || i, now() - interval '1 day', now() - interval '1 day', now() - interval '23 hours'
		 FROM generate_series(1, 20000) i`,
		`INSERT INTO run_reports (run_id, report)
		 SELECT md5('run' || i)::uuid, '{"outcome": "succeeded"}'
		 FROM generate_series(1, 20000) i`,
		`INSERT INTO events (source, id, type, subject, time, data, function, cause_source, cause_id, n, correlation, stored_at)
		 SELECT 'https://codexk8s.dev/' || f, md5('event' || i)::uuid::text, 'dev.codexk8s.agent.reported', md5('run' || i / 10)::uuid::text,
		        now() - interval '1 day', convert_to(repeat('{"a": 1}', 80), 'UTF8'), f, 'https://codexk8s.dev/stage-router',
		        md5('event' || i - 1)::uuid::text, 0, 'acme/demo#' || i / 10, now() - interval '1 day'
		 FROM (SELECT i, (ARRAY['stage-router', 'agent-launcher', 'agent-gateway', 'github-caller'])[1 + i % 4] AS f
		       FROM generate_series(10, 200009) i) g`,
		`INSERT INTO inbox (function, source, id)
		 SELECT 'stage-router', source, id FROM events`,
		`INSERT INTO audit (actor, action, work_item, run_id, function)
		 SELECT 'platform', 'run.started', 'acme/demo#' || i / 5, md5('run' || i / 5)::uuid, 'stage-router'
		 FROM generate_series(5, 100004) i`,
		`INSERT INTO deliveries (guid, event, action, repository, sha256, status)
		 SELECT md5('guid' || i)::uuid::text, 'issues', 'labeled', 'acme/demo', '\x00', 'accepted'
		 FROM generate_series(1, 20000) i`,
		`INSERT INTO pending (function, source, id, due_at)
		 SELECT 'agent-launcher', 'https://codexk8s.dev/stage-router', md5('timer' || i)::uuid::text, now() + interval '1 hour'
		 FROM generate_series(1, 20000) i`,
		`VACUUM ANALYZE`,
		`CHECKPOINT`,
	} {
		db.Do(q)
	}
	if old := pgtest.One[int](db, `SELECT count(*) FROM events`); old != 200_000 {
		b.Fatalf("the history has %d events, want 200000", old)
	}
}
