package load

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"codexk8s.dev/shared/events"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/stack"
)

// How many questions are answered.
const (
	warmClicks = 60
	zeroClicks = 12
)

// BenchmarkClickToJob has agents ask, whose runs wait without a pod, and clicks an answer in Slack: the real binaries,
// as for BenchmarkLabelToJob. The time begins before the click and ends when the API tells watchers of the run's next
// Job. In "warm" every function runs already, in "zero" none does, in "history" the database holds what years leave: a
// million decided requests, each shown in a chat, and 10,000 open ones with their timers. There the price must be the
// same. It reports
//
//	p50-ms, p99-ms         from the click to the Job
//	answer-p50-ms, -p99    until Slack has its answer, and the vote is stored
//	decided-p50-ms         from there until the broker has the decision: two hops and the gate
//	requested-p50-ms       from there until it has agent.requested: stage-router
//	launch-p50-ms          from there until the Job exists
//	tick-p50-ms            of timekeeper's regular work
func BenchmarkClickToJob(b *testing.B) {
	w := startWorld(b)
	for range 3 { // connections, prepared statements
		w.click(b, false)
	}
	b.Run("warm", func(b *testing.B) { w.benchmarkClicks(b, warmClicks, false) })
	b.Run("zero", func(b *testing.B) { w.benchmarkClicks(b, zeroClicks, true) })
	w.addPast(b)
	for range 3 {
		w.click(b, false)
	}
	b.Run("history", func(b *testing.B) { w.benchmarkClicks(b, warmClicks, false) })
}

// clicked is when one question was clicked and what that caused came about.
type clicked struct {
	namespace                              string
	click, answer, decided, requested, job time.Time
}

func (w *world) benchmarkClicks(b *testing.B, clicks int, fromZero bool) {
	var all []clicked
	var ticks []time.Duration
	for range b.N {
		for range clicks {
			all = append(all, w.click(b, fromZero))
			ticks = append(ticks, w.tick(b))
		}
	}
	between := func(q float64, from, to func(clicked) time.Time) float64 {
		var took []time.Duration
		for _, a := range all {
			took = append(took, to(a).Sub(from(a)))
		}
		return quantile(took, q)
	}
	click := func(a clicked) time.Time { return a.click }
	answer := func(a clicked) time.Time { return a.answer }
	decided := func(a clicked) time.Time { return a.decided }
	requested := func(a clicked) time.Time { return a.requested }
	job := func(a clicked) time.Time { return a.job }
	b.ReportMetric(0, "ns/op") // of a series with its agents, which says nothing
	b.ReportMetric(between(0.50, click, job), "p50-ms")
	b.ReportMetric(between(0.99, click, job), "p99-ms")
	b.ReportMetric(between(0.50, click, answer), "answer-p50-ms")
	b.ReportMetric(between(0.99, click, answer), "answer-p99-ms")
	b.ReportMetric(between(0.50, answer, decided), "decided-p50-ms")
	b.ReportMetric(between(0.50, decided, requested), "requested-p50-ms")
	b.ReportMetric(between(0.50, requested, job), "launch-p50-ms")
	b.ReportMetric(quantile(ticks, 0.50), "tick-p50-ms")
}

// click has a question asked, clicks an answer, waits for the next Job and for the end of the run, and clears up behind
// it. fromZero stops all functions before the click.
func (w *world) click(b *testing.B, fromZero bool) clicked {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	issue, post := w.ask(ctx, b)
	if fromZero {
		w.killAll(b)
	}
	for first := true; first; { // what became of the first Job
		select {
		case <-w.changes:
		case <-time.After(50 * time.Millisecond):
			first = false
		}
	}
	w.mu.Lock()
	clear(w.arrivals)
	w.mu.Unlock()
	a := clicked{click: time.Now()}
	said, err := w.Chat.Click(ctx, post, "Salut", stack.Owner)
	if err != nil || said.Status != http.StatusOK {
		b.Fatalf("the click is answered %+v, %v", said, err)
	}
	a.answer = time.Now()
	for a.job.IsZero() {
		select {
		case c := <-w.changes:
			if c.Type == watch.Added && c.Resource == kube.Jobs && c.Object.GetNamespace() != "codexk8s" {
				a.job, a.namespace = time.Now(), c.Object.GetNamespace()
			}
		case <-ctx.Done():
			w.WriteTails(b.Output(), 15)
			b.Fatalf("the answer on issue %d made no Job in time", issue)
		}
	}
	w.until(ctx, b, `SELECT EXISTS (SELECT 1 FROM runs WHERE issue = $1 AND state = 'succeeded')`, issue)
	w.clear(ctx, b, a.namespace)
	w.mu.Lock()
	key := events.WorkItem(stack.Repository, issue) + " "
	a.decided, a.requested = w.arrivals[key+events.ApprovalDecided{}.EventType()], w.arrivals[key+events.AgentRequested{}.EventType()]
	w.mu.Unlock()
	if a.decided.IsZero() || a.requested.IsZero() {
		b.Fatalf("the broker has not seen all events of issue %d: %+v", issue, a)
	}
	return a
}

// ask opens and labels an issue whose agent asks, and returns what Slack shows once the run waits without a Job.
func (w *world) ask(ctx context.Context, b *testing.B) (issue int, post fakechat.Post) {
	b.Helper()
	w.asked++
	words := fmt.Sprintf("Which words for greeting %d?", w.asked)
	issue, err := w.GitHub.CreateIssue(stack.Repository, "Another greeting", "Add it.\n\nAsk first: "+words+" Bonjour | Salut", stack.Owner)
	if err != nil {
		b.Fatal(err)
	}
	w.setLabel(ctx, b, issue)
	w.until(ctx, b, `SELECT EXISTS (SELECT 1 FROM runs WHERE issue = $1 AND state = 'waiting' AND job_over)`, issue)
	w.settle(ctx, b)
	posts := w.Chat.Posts(fakechat.Slack)
	at := slices.IndexFunc(posts, func(p fakechat.Post) bool { return strings.Contains(p.Text, words) })
	if at < 0 {
		b.Fatalf("Slack does not show %q", words)
	}
	return issue, posts[at]
}

// until waits for a yes of the database.
func (w *world) until(ctx context.Context, b *testing.B, query string, args ...any) {
	b.Helper()
	for yes := false; !yes; time.Sleep(5 * time.Millisecond) {
		if err := w.db.QueryRow(ctx, query, args...).Scan(&yes); err != nil {
			b.Fatalf("waiting for %s: %v", query, err)
		}
	}
}

// tick has timekeeper do its regular work, and says how long that takes.
func (w *world) tick(b *testing.B) time.Duration {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, w.Platform.URL("timekeeper"), strings.NewReader("{}"))
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "tick", "Ce-Source": "/bench", "Ce-Type": events.TypePing, "Content-Type": "application/json",
	} {
		req.Header.Set(name, value)
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		b.Fatalf("the tick is answered %s", resp.Status)
	}
	return time.Since(began)
}

// addPast adds what years leave, written like the request that is there. The runs are another project's.
func (w *world) addPast(b *testing.B) {
	b.Helper()
	for _, statement := range []string{
		`INSERT INTO projects (id, name) VALUES ('past', 'Past')`,
		`INSERT INTO repositories (full_name, project_id, github_id) VALUES ('acme/past', 'past', 999999)`,
		`INSERT INTO work_items (repository, issue, full_name) SELECT 'acme/past', n, 'acme/past' FROM generate_series(1, 10000) AS n`,
		`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, waiting_for)
		 SELECT md5(n::text)::uuid, 'acme/past', n, 'past', 'dev', 'dev', 'waiting', 'builtin', 'm', 'alice', n, 'n', now(), 'question' FROM generate_series(1, 10000) AS n`,
		`INSERT INTO approvals (id, run_id, state, asked_at, decided_at, ticket)
		 SELECT md5('a' || n)::uuid, md5((n % 10000 + 1)::text)::uuid, CASE WHEN n > 10000 THEN 'answered' ELSE 'open' END, now() - interval '1 second' * n,
		        CASE WHEN n > 10000 THEN now() END, (SELECT ticket FROM approvals LIMIT 1)
		 FROM generate_series(1, 1010000) AS n`,
		`INSERT INTO chat_messages (request, channel, target, version, ref, changed_at)
		 SELECT id, 'slack', '` + stack.SlackChannel + `', 3, '{"chat": "` + stack.SlackChannel + `", "message": "1"}', asked_at FROM approvals
		 ON CONFLICT DO NOTHING`,
		`INSERT INTO events (source, id, type, time, data, function, not_before, correlation)
		 SELECT '/past', n, 'dev.codexk8s.approval.due', now(), '{}', 'approval-gate', now() + interval '1 month', 'acme/past#' || n FROM generate_series(1, 10000) AS n`,
		`INSERT INTO pending (function, source, id, due_at) SELECT 'approval-gate', '/past', n, now() + interval '1 month' FROM generate_series(1, 10000) AS n`,
		`VACUUM ANALYZE`,
	} {
		if _, err := w.db.Exec(b.Context(), statement); err != nil {
			b.Fatalf("%s: %v", statement, err)
		}
	}
}
