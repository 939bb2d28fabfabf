package main

import (
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/local/pg/pgtest"
)

var recorded = flag.Int("events", 20_000, "how many recorded events BenchmarkBacktest plays")

// BenchmarkBacktest plays recorded stories again, from a label to the closed issue, by a process that a tenth of them
// notices. An operation is the whole log. It reports
//
//	events/s   of the log, of which a replay takes nearly all
//	peak-MB    of the heap, which must not grow with -events
func BenchmarkBacktest(b *testing.B) {
	url := pgtest.New(b)
	db := pgtest.Open(b, url)
	for _, q := range []string{
		`INSERT INTO projects (id, name) VALUES ('shop', 'Shop')`,
		`INSERT INTO repositories (full_name, project_id) VALUES ('acme/shop', 'shop')`,
		`INSERT INTO members (project_id, login, role) VALUES ('shop', 'alice', 'maintainer')`,
	} {
		db.Do(q)
	}
	n := record(b, db, *recorded)
	process := strings.Replace(stage.Default().Text, "allowed: [gpt-5.4, gpt-5.3-codex,", "allowed: [gpt-5.4,", 1)
	args := []string{"backtest", base64.StdEncoding.EncodeToString([]byte(process))}
	peak := peakOf(b)
	for b.Loop() {
		if err := run(b.Context(), env{DatabaseURL: url}, args, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(peak())/1e6, "peak-MB")
}

// peakOf looks at the heap until it is asked what the most was.
func peakOf(b *testing.B) func() uint64 {
	var most atomic.Uint64
	stop := make(chan struct{})
	b.Cleanup(func() { close(stop) })
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			}
		}
	}()
	return most.Load
}

// record writes at least that many events of stories one after the other, twenty of them at a time.
func record(b *testing.B, db *pgtest.DB, atLeast int) (n int) {
	b.Helper()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var rows [][]any
	flush := func() {
		db.Copy("events", []string{"source", "id", "type", "time", "data", "function", "cause_id", "correlation", "stored_at"}, rows)
		n, rows = n+len(rows), rows[:0]
	}
	for issue := 1; n < atLeast; issue += 20 {
		var stories [20][][]any
		for i := range stories {
			stories[i] = story(b, issue+i, at)
		}
		for step := range stories[0] {
			for i := range stories {
				rows = append(rows, stories[i][step])
			}
		}
		at = at.Add(time.Hour)
		flush()
	}
	db.Do(`ANALYZE events`)
	return n
}

// story is the events of one issue, in their order, one minute after the other.
func story(b *testing.B, issue int, at time.Time) (rows [][]any) {
	b.Helper()
	labels := `{"name":"run:dev"}`
	if issue%10 == 0 {
		labels += `,{"name":"[ai-model-gpt-5.3-codex]"}`
	}
	ref := events.RunRef{RunID: events.DeriveID("run", stage.LabelIntent("acme/shop", issue, "run:dev", at, "")), Project: "shop", Repository: "acme/shop", Issue: issue}
	pad := strings.Repeat(`"https://api.github.example/repos/acme/shop/issues",`, 100)
	repository := `"repository":{"full_name":"acme/shop","default_branch":"main","clone_url":"https://github.example/acme/shop.git","links":[` + strings.TrimSuffix(pad, ",") + `]},"sender":{"login":"alice","type":"User"}}`
	item := func(action, state, labels string) string {
		return fmt.Sprintf(`{"action":%q,"label":{"name":"run:dev"},"issue":{"number":%d,"title":"A greeting","body":%q,"state":%q,"labels":[%s],"updated_at":%q},%s`,
			action, issue, strings.Repeat("People from Québec ask for it. ", 40), state, labels, at.Format(time.RFC3339), repository)
	}
	pull := func(action, more string) string {
		return fmt.Sprintf(`{"action":%q%s,"pull_request":{"number":%d,"state":"open","updated_at":%q,"head":{"ref":"codexk8s/issue-%d","sha":"abcd","repo":{"full_name":"acme/shop"}},"base":{"ref":"main"},"labels":[]},%s`,
			action, more, issue+1_000_000, at.Format(time.RFC3339), issue, repository)
	}
	github := func(name, body string) {
		rows = append(rows, []any{"https://github.com/acme/shop", fmt.Sprintf("%d-%d", issue, len(rows)), events.GitHubType(name), at, []byte(body), "", "", "", at})
		at = at.Add(time.Minute)
	}
	ours := func(function string, p events.Payload) {
		e, err := events.New(eventOf(issue), function, len(rows), events.Now(p))
		if err != nil {
			b.Fatal(err)
		}
		rows = append(rows, []any{e.Source(), e.ID(), e.Type(), at, e.Data(), function, fmt.Sprint(issue), ref.Correlation(), at})
		at = at.Add(time.Minute)
	}
	github("issues", item("labeled", "open", labels))
	ours("stage-router", events.RunRequested{RunRef: ref, Stage: "dev", Kind: events.KindWork, RequestedBy: "alice"})
	ours("stage-router", events.AgentRequested{RunRef: ref, Namespace: "n", Stage: "dev", Role: "dev", Engine: "codex", Deadline: at.Add(time.Hour), ExpiresAt: at.Add(24 * time.Hour)})
	ours("agent-launcher", events.AgentStarted{RunRef: ref, Namespace: "n", Job: "agent"})
	ours("stage-router", events.GitHubChangeRequested{Repository: "acme/shop", Issue: issue, RunID: ref.RunID, Version: 1, Comment: strings.Repeat("Words. ", 100)})
	github("pull_request", pull("opened", ""))
	ours("agent-gateway", events.AgentReported{RunRef: ref, Outcome: "succeeded", PullRequest: issue + 1_000_000, HeadSHA: "abcd"})
	ours("github-caller", events.GitHubLookedUp{RunRef: ref, Head: "abcd", Tip: "abcd"})
	ours("stage-router", events.RunFinished{RunRef: ref, State: "succeeded"})
	github("pull_request_review", pull("submitted", fmt.Sprintf(`,"review":{"id":%d,"state":"approved","commit_id":"abcd","submitted_at":%q,"user":{"login":"alice","type":"User"}}`, issue, at.Format(time.RFC3339))))
	github("issues", item("closed", "closed", ""))
	return rows
}

// eventOf is what a story's events follow from.
func eventOf(issue int) event.Event {
	e := event.New()
	e.SetSource("/story")
	e.SetID(fmt.Sprint(issue))
	return e
}
