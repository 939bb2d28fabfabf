package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestALongLimitParksTheRun: a wait that the provider names, or that its quota or its absence makes, is not sat out by
// pods. Who calls the model meanwhile waits too, and the provider is not asked.
func TestALongLimitParksTheRun(t *testing.T) {
	const body = `{"model":"gpt-5.4","input":"hi"}`
	for name, c := range map[string]struct {
		behaviour model.Behaviour
		reason    string
		wait      time.Duration
	}{
		"three days":  {model.Behaviour{Mode: model.RateLimited, RetryAfter: 72 * time.Hour}, rateLimited, 72 * time.Hour},
		"the quota":   {model.Behaviour{Mode: model.QuotaExhausted}, quotaExhausted, 15 * time.Minute},
		"the service": {model.Behaviour{Mode: model.ServerError}, outage, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			now := time.Now()
			f.db.SetClock(func() time.Time { return now })
			f.openai.Behave(c.behaviour)
			if c.reason == outage {
				expectRefusal(t, "at first", f.pod("/v1/responses", body), 500, "")
				now = now.Add(outageAfter)
			}
			res := f.pod("/v1/responses", body)
			expectRefusal(t, name, res, 429, "model_limited", "goes on after")
			tried := len(f.openai.Requests())
			expectRefusal(t, "another run", f.ask(f.url+"/v1/responses", f.another(), strings.NewReader(body)), 429, "model_limited")
			if res.Header.Get(agentapi.WaitsHeader) != runID || len(f.openai.Requests()) != tried {
				t.Errorf("the pod is told %q, and the provider was asked %d times more", res.Header, len(f.openai.Requests())-tried)
			}
			got := f.sql.Lines(`SELECT concat_ws(' ', limited ->> 'reason', limited ->> 'attempt', (limited ->> 'until')::timestamptz = date_trunc('second', $1::timestamptz)) FROM runs`, now.Add(c.wait))
			if diff := cmp.Diff([]string{c.reason + " t", c.reason + " t"}, got); diff != "" {
				t.Errorf("the runs (-want +got):\n%s", diff)
			}
			// It answers again: the next limit is a first one.
			f.openai.Behave(model.Behaviour{})
			f.exec(`UPDATE model_pauses SET until = $1`, now.Add(-time.Second)) // the run's token would not live as long
			if res := f.pod("/v1/responses", body); res.StatusCode != 200 {
				t.Errorf("afterwards: %d", res.StatusCode)
			}
			if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM model_pauses`); n != 0 {
				t.Error("the pause is kept")
			}
		})
	}
}

// TestAnotherModelStandsIn: where it may, the call whose model is limited is answered by the fall-back, at its price,
// and so are the next ones without asking the first model; one event says so. When the time has come the first model
// answers again. If the fall-back is limited too, the run waits.
func TestAnotherModelStandsIn(t *testing.T) {
	const body = `{"input":"hi","model" : "gpt-5.4","max_output_tokens":64}`
	f := setup(t)
	now := time.Now()
	f.db.SetClock(func() time.Time { return now })
	f.exec(`UPDATE runs SET granted = '{"fallback": "gpt-5.3-codex"}', bounds = $1`, []budget.Bound{dollars(budget.Run, runID, 1e6)})
	var asked []string
	limited := map[string]bool{"gpt-5.4": true}
	f.upstream(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		asked = append(asked, in.Model)
		if limited[in.Model] {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":{"code":"rate_limit_exceeded"}}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(whole, "gpt-5.4", in.Model))
	})
	for range 2 {
		if res := f.pod("/v1/responses", body); res.StatusCode != http.StatusOK || res.Header.Get(agentapi.WaitsHeader) != "" {
			t.Errorf("answered %d", res.StatusCode)
		}
	}
	f.rows()
	calls := f.sql.Lines(`SELECT model || ' ' || status || ' ' || cost_microusd FROM llm_calls ORDER BY started_at`)
	if diff := cmp.Diff([]string{"gpt-5.4 429 0", "gpt-5.3-codex 200 3150", "gpt-5.3-codex 200 3150"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := f.told(); cmp.Diff([]string{"gpt-5.4 gpt-5.3-codex"}, got) != "" {
		t.Errorf("told %q", got)
	}
	limited["gpt-5.3-codex"] = true
	expectRefusal(t, "both limited", f.pod("/v1/responses", body), 429, "model_limited", "goes on after")
	clear(limited)
	f.exec(`UPDATE model_pauses SET until = $1`, now.Add(-time.Second))
	_ = f.pod("/v1/responses", body)
	if diff := cmp.Diff([]string{"gpt-5.4", "gpt-5.3-codex", "gpt-5.3-codex", "gpt-5.3-codex", "gpt-5.4"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if got := f.told(); cmp.Diff([]string{"gpt-5.4 gpt-5.3-codex", "gpt-5.3-codex "}, got) != "" {
		t.Errorf("told at last %q", got)
	}
}

// told are the limits that runs were told of, each with who stands in.
func (f *fixture) told() (all []string) {
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	for _, e := range f.broker.got {
		if l, err := events.Decode[events.LLMLimited](e); err == nil && e.Type() == l.EventType() {
			all = append(all, l.Model+" "+l.Fallback)
		}
	}
	return all
}
