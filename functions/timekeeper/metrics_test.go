package main

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel"
	knative "knative.dev/pkg/observability/metrics"
)

// TestATickMeasuresWhatIsOutstanding reads the gauges as Prometheus would.
func TestATickMeasuresWhatIsOutstanding(t *testing.T) {
	f := setup(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	provider, err := knative.NewMeterProvider(t.Context(), knative.Config{Protocol: knative.ProtocolPrometheus, Endpoint: address})
	must(t, err)
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	otel.SetMeterProvider(provider)

	f.exec(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop')`)
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 1, 'acme/shop')`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, started_at)
		VALUES (gen_random_uuid(), 'acme/shop', 1, 'shop', 'dev', 'dev', 'running', 'codex', 'm', 'bob', 'i', 'n', now() - interval '1 hour', now() - interval '1 hour')`)
	f.exec(`INSERT INTO approvals (id, run_id, state, asked_at, decided_at, ticket)
		SELECT gen_random_uuid(), runs.id, a.state, now() - interval '2 hours', CASE WHEN a.state <> 'open' THEN now() END, '{}' FROM runs, (VALUES ('open'), ('denied')) AS a (state)`)
	f.exec(`INSERT INTO events (source, id, type, time, data, stored_at) VALUES ('/s', 'e', 't', now(), '{}', now() - interval '1 hour')`)
	f.exec(`INSERT INTO pending (function, source, id, due_at, attempts) VALUES ('stage-router', '/s', 'e', now() + interval '1 hour', 3)`)
	f.exec(`INSERT INTO dead_letters (function, source, id, type, envelope) VALUES ('github-caller', '/s', 'e', 't', '{}')`)
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 2, 'acme/shop')`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, waiting_for, engine, model, requested_by, intent, namespace, created_at, paused_at)
		VALUES (gen_random_uuid(), 'acme/shop', 2, 'shop', 'dev', 'dev', 'waiting', 'budget', 'codex', 'm', 'bob', 'j', 'n', now() - interval '1 hour', now() - interval '1 hour')`)
	f.exec(`UPDATE runs SET bounds = '[{"scope": "day", "name": "shop", "most": {"microusd": 100}}]'`)
	f.exec(`INSERT INTO spending (kind, project_id, name, period, microusd) SELECT 'project', 'shop', 'shop', to_char(day, 'YYYY-MM-DD'), 81
		FROM generate_series(now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' + interval '1 day', '1 day') day`)
	f.exec(`INSERT INTO model_pauses (model, until, reason, tries) VALUES ('m', now() + interval '1 hour', 'rate_limited', 1), ('over', now() - interval '1 hour', 'rate_limited', 1)`)
	f.exec(`INSERT INTO github_pauses (credential, until, reason) VALUES ('app', now() + interval '1 hour', 'x')`)
	_, err = f.h.tick(t.Context(), event.Event{})
	must(t, err)
	f.want("the tick is noted", f.lines(`SELECT function FROM ticks WHERE ticked_at > now() - interval '1 minute'`), []string{"timekeeper"})

	f.want("gauges", scrape(t, "http://"+address+"/metrics", `^codexk8s_(approvals_open|runs|runs_silent|dead_letters_open|receipts_overdue)\{(.*)\} ([1-9].*)$`), []string{
		`approvals_open  1`, `dead_letters_open function="github-caller" 1`, `receipts_overdue function="stage-router" 1`, `runs state="running" 1`, `runs state="waiting" 1`, `runs_silent  1`,
	})
	f.want("who waits longest", scrape(t, "http://"+address+"/metrics", `^codexk8s_(approvals_oldest_seconds)\{(.*)\} (72)[0-9]{2}(?:\..*)?$`), []string{`approvals_oldest_seconds  72`})
	f.want("the oldest", scrape(t, "http://"+address+"/metrics", `^codexk8s_(receipts_oldest_seconds)\{(.*)\} (36)[0-9]{2}(?:\..*)?$`), []string{`receipts_oldest_seconds function="stage-router" 36`})
	f.want("money and limits", scrape(t, "http://"+address+"/metrics", `^codexk8s_(budget_used|runs_waiting|models_paused|github_paused)\{(.*)\} ([1-9].*)$`), []string{
		`budget_used scope="day" 81`, `github_paused  1`, `models_paused  1`, `runs_waiting for="budget" 1`,
	})
	f.exec(`DELETE FROM pending`)
	_, err = f.h.tick(t.Context(), event.Event{})
	must(t, err)
	f.want("what is over", scrape(t, "http://"+address+"/metrics", `^codexk8s_(receipts_overdue)\{(function="stage-router").*\} (.*)$`), []string{`receipts_overdue function="stage-router" 0`})
}

// scrape returns the series that match, as "name labels value", without OpenTelemetry's own labels.
func scrape(t *testing.T, url, pattern string) []string {
	t.Helper()
	var text []byte
	for range 200 { // the exporter's server starts in the background
		if resp, err := http.Get(url); err == nil {
			text, err = io.ReadAll(resp.Body)
			must(t, err)
			must(t, resp.Body.Close())
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	text = regexp.MustCompile(`,?otel_[a-z_]+="[^"]*"`).ReplaceAll(text, nil)
	var out []string
	for _, m := range regexp.MustCompile(`(?m)`+pattern).FindAllSubmatch(text, -1) {
		out = append(out, string(m[1])+" "+strings.Trim(string(m[2]), ",")+" "+string(m[3]))
	}
	slices.Sort(out)
	return out
}
