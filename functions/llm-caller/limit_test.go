package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
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
