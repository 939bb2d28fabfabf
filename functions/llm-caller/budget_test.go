package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

// bound puts the run under budgets.
func (f *fixture) bound(bounds ...budget.Bound) {
	f.t.Helper()
	f.exec(`UPDATE runs SET bounds = $1`, bounds)
}

func dollars(scope budget.Scope, name string, micro int64) budget.Bound {
	return budget.Bound{Scope: scope, Name: name, Most: budget.Amount{MicroUSD: micro}}
}

// endless is a model server that streams words as fast as they are read, whatever bound it is sent.
func endless(bounds *[]int64) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			MaxOutputTokens int64 `json:"max_output_tokens"`
		}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		mu.Lock()
		*bounds = append(*bounds, asked.MaxOutputTokens)
		mu.Unlock()
		w.Header().Set("Content-Type", streamed)
		piece := `data: {"type":"response.output_text.delta","delta":"` + strings.Repeat("word ", 8) + `"}` + "\n\n"
		for range 100_000 { // 6 MB: enough to see that nobody cuts it off
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
}

// TestAnAnswerIsCutOffAtTheCap: a server that does not stop is left in mid-answer when the budget is used up, at most
// one chunk beyond it. Then people are asked, once, and the pod is told that its run waits.
func TestAnAnswerIsCutOffAtTheCap(t *testing.T) {
	const most = 20_000 // 2 cents
	f := setup(t)
	var bounds []int64
	f.upstream(endless(&bounds))
	f.bound(dollars(budget.Run, runID, most))
	const body = `{"model":"gpt-5.4","stream":true,"input":"Count."}`
	res := f.pod("/v1/responses", body)
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("the pod took a part for the whole")
	}
	got := f.rows()[0]
	const chunk = 11 * 15 // an event has 40 bytes of text, and dollars per million are millionths per token
	if got.Status != http.StatusPaymentRequired || got.Cost < most*9/10 || got.Cost > most+chunk {
		t.Errorf("recorded %+v of %d", got, most)
	}
	t.Logf("spent %d of %d millionths, %d more than the cap", got.Cost, most, got.Cost-most)
	if len(bounds) != 1 || bounds[0] < 1200 || bounds[0] > 1334 {
		t.Errorf("the server was sent the bounds %d, want what 2 cents buy", bounds)
	}
	for range 2 {
		res = f.pod("/v1/responses", body)
		expectRefusal(t, "after the cut", res, 402, "budget_reached", "this run is used up: $0.0")
		if res.Header.Get(agentapi.WaitsHeader) != runID {
			t.Error("the pod is not told that its run waits")
		}
	}
	var asked []events.ApprovalRequested
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	for _, e := range f.broker.got {
		if e.Type() == (events.ApprovalRequested{}).EventType() {
			a, err := events.Decode[events.ApprovalRequested](e)
			if err != nil {
				t.Fatal(err)
			}
			asked = append(asked, a)
		}
	}
	if len(asked) == 0 || asked[0].Action != "budget:run" || asked[0].ID != asked[len(asked)-1].ID {
		t.Fatalf("asked %+v", asked)
	}
	if diff := cmp.Diff([]string{"Extend by $1.00", "Extend by $2.00", "Extend by $5.00", "Stop the run"}, asked[0].Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

// TestPeopleAreWarned: when a call begins with half of a budget spent, and with four fifths, one event each says so,
// however many calls follow.
func TestPeopleAreWarned(t *testing.T) {
	f := setup(t)
	f.upstream(part{200, "application/json", nil, whole, false}.ServeHTTP)
	bound := dollars(budget.Run, runID, 50_000)
	bound.Warn = []int{50, 80}
	f.bound(bound)
	for _, percent := range []int64{0, 30, 20, 5, 0, 0} {
		f.exec(`INSERT INTO llm_calls (id, run_id, model, endpoint, status, started_at, duration_ms, cost_microusd) VALUES (gen_random_uuid(), $1, 'm', 'responses', 200, now(), 1, $2)`, runID, percent*500)
		_, _ = io.ReadAll(f.pod("/v1/responses", `{"model":"gpt-5.4","input":"hi","max_output_tokens":16}`).Body)
		f.rows()
	}
	var told []string
	f.broker.mu.Lock()
	defer f.broker.mu.Unlock()
	for _, e := range f.broker.got {
		if w, err := events.Decode[events.BudgetWarned](e); err == nil && e.Type() == w.EventType() {
			told = append(told, fmt.Sprintf("%s %s %d", w.RunID, w.Scope, w.Percent))
		}
	}
	if diff := cmp.Diff([]string{runID + " run 50", runID + " run 80"}, told); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// TestCallsAtOnceNeverOverspend: of many calls at the same time none uses what another one holds, whoever makes them;
// when all have ended nothing is held.
func TestCallsAtOnceNeverOverspend(t *testing.T) {
	const most = 60_000
	f := setup(t)
	var bounds []int64
	f.upstream(endless(&bounds))
	f.bound(dollars(budget.Run, runID, most/2), dollars(budget.Day, "shop", most))
	other := f.another()
	f.exec(`UPDATE runs SET bounds = $1 WHERE id::text <> $2`, []budget.Bound{dollars(budget.Day, "shop", most)}, runID)
	var wg sync.WaitGroup
	for range 4 {
		for _, bearer := range []string{token(t, nil), other} {
			wg.Go(func() {
				res := f.ask(f.url+"/v1/responses", bearer, strings.NewReader(`{"model":"gpt-5.4","stream":true,"max_output_tokens":900,"input":"Count."}`))
				_, _ = io.Copy(io.Discard, res.Body)
			})
		}
	}
	wg.Wait()
	f.rows()
	spent := pgtest.One[int64](f.sql, `SELECT sum(cost_microusd)::bigint FROM llm_calls`)
	const chunk = 11 * 15
	if calls := int64(len(bounds)); spent > most+calls*chunk {
		t.Errorf("spent %d of %d by %d calls", spent, most, calls)
	}
	for _, want := range []string{
		fmt.Sprintf("day %d", spent), "under way 0",
	} {
		got := pgtest.One[string](f.sql, `
			SELECT CASE WHEN $1 = 'day' THEN 'day ' || (SELECT sum(microusd) FROM spending WHERE kind = 'project' AND length(period) = 10)
			            ELSE 'under way ' || (SELECT count(*) FROM llm_calls WHERE status = 0) END`, strings.Fields(want)[0])
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestAnUnknownPriceIsTheDearest: what no price is known for counts as the dearest there is, and says so.
func TestAnUnknownPriceIsTheDearest(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE runs SET model = 'llama'`)
	f.upstream(part{200, "application/json", nil, strings.ReplaceAll(whole, "gpt-5.4", "llama"), false}.ServeHTTP)
	_, _ = io.ReadAll(f.pod("/v1/responses", `{"model":"llama","input":"hi"}`).Body)
	f.rows()
	got := pgtest.One[string](f.sql, `SELECT cost_microusd || ' ' || assumed FROM llm_calls`)
	if want := fmt.Sprintf("%d true", int64(2.5*(1000*5+100*30))); got != want { // gpt-5.5, priority
		t.Errorf("got %s, want %s", got, want)
	}
}
