package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestWhatIsSpentIsRolledUpOnce: whoever saves a call, and however often, each of its rows has what the calls have.
func TestWhatIsSpentIsRolledUpOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("llm-caller")
	for i := range 3 {
		c := store.ModelCall{ID: fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i), RunID: runA, Model: "m", Endpoint: "responses", Started: w.now()}
		for _, status := range []int{0, 200, 200} { // the last one repeats what may have got lost
			c.Status = status
			if status != 0 {
				c.Input, c.Cached, c.Output, c.Reasoning, c.CostMicroUSD = 100, 40, 10, 5, 7
			}
			if err := db.SaveCall(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.sql.Do(`UPDATE runs SET work_ms = 5000, finished_at = $1, state = 'failed'`, w.now())
	var want []string
	for _, row := range []string{"issue acme/shop#12 ", "issue acme/shop#12 2031-05-06", "issue acme/shop#12 unmerged", "model m 2031-05", "model m 2031-05-06", "project shop ", "project shop 2031-05", "project shop 2031-05-06", "role dev 2031-05", "role dev 2031-05-06", "run " + runA + " "} {
		want = append(want, row+" 3 300/120/30/15 21 5000")
	}
	got := w.sql.Lines(`
		SELECT concat_ws(' ', kind, name, period, calls, input_tokens || '/' || cached_tokens || '/' || output_tokens || '/' || reasoning_tokens, microusd, work_ms)
		FROM spending
		ORDER BY kind, name, period
	`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestACallWhoseProcessDiedCountsAsAllThatItHeld, and holds nothing any more.
func TestACallWhoseProcessDiedCountsAsAllThatItHeld(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("llm-caller")
	day := budget.Bound{Scope: budget.Day, Name: "shop", Most: budget.Amount{MicroUSD: 100}}
	run := store.AgentRun{ID: runA, Project: "shop", Bounds: []budget.Bound{day}}
	begin := func(id string, need, worst int64) (budget.Amount, []budget.Account, bool) {
		t.Helper()
		held, accounts, ok, err := db.HoldCall(t.Context(), run, store.ModelCall{ID: id, RunID: runA, Model: "m", Endpoint: "responses", Started: w.now()},
			store.Hold{Worst: budget.Amount{MicroUSD: worst, Tokens: worst}, Need: budget.Amount{MicroUSD: need}})
		if err != nil {
			t.Fatal(err)
		}
		return held, accounts, ok
	}
	if held, _, ok := begin("00000000-0000-4000-8000-000000000001", 10, 70); !ok || held != (budget.Amount{MicroUSD: 70, Tokens: 70}) {
		t.Errorf("held %+v, %t", held, ok)
	}
	if held, _, ok := begin("00000000-0000-4000-8000-000000000002", 10, 70); !ok || held.MicroUSD != 30 {
		t.Errorf("beside that one: held %+v, %t", held, ok)
	}
	account := budget.Account{Bound: day, Period: "2031-05-06", Held: budget.Amount{MicroUSD: 100, Tokens: 140}}
	if _, accounts, ok := begin("00000000-0000-4000-8000-000000000003", 10, 70); ok || cmp.Diff([]budget.Account{account}, accounts) != "" {
		t.Errorf("beside both: %t %+v", ok, accounts)
	}
	w.pass(time.Hour)
	if n, err := w.as("timekeeper").SettleLost(t.Context()); n != 2 || err != nil {
		t.Errorf("settled %d: %v", n, err)
	}
	account.Held, account.Spent = budget.Amount{}, budget.Amount{MicroUSD: 100, Tokens: 140}
	if _, accounts, ok := begin("00000000-0000-4000-8000-000000000003", 10, 70); ok || cmp.Diff([]budget.Account{account}, accounts) != "" {
		t.Errorf("after they were settled: %t %+v", ok, accounts)
	}
	// People add some.
	if got := pgtest.One[int](w.sql, `SELECT count(*)::int FROM llm_calls`); got != 2 {
		t.Errorf("%d calls are written down", got)
	}
	e := w.owed("stage-router", "1", events.RunResumed{RunRef: refA})
	router := w.as("stage-router")
	for range 2 { // delivered twice
		if _, err := router.Step(t.Context(), e, "project/shop", extend(events.BudgetExtension{Kind: "project", Name: "shop", Period: "2031-05-06", MicroUSD: 50})); err != nil {
			t.Fatal(err)
		}
	}
	if held, _, ok := begin("00000000-0000-4000-8000-000000000003", 10, 70); !ok || held.MicroUSD != 50 {
		t.Errorf("after it was extended: held %+v, %t", held, ok)
	}
}

// TestAnIssueIsCountedUntilSomethingIsMerged: each run that had an agent counts when it is over, with what it spent,
// and a merge begins anew. People are told of a percent once.
func TestAnIssueIsCountedUntilSomethingIsMerged(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db, router := w.as("llm-caller"), w.as("stage-router")
	call := store.ModelCall{ID: "00000000-0000-4000-8000-000000000001", RunID: runA, Model: "m", Endpoint: "responses", Started: w.now(), Status: 200, Input: 60, CostMicroUSD: 80}
	if err := db.SaveCall(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	w.sql.Do(`UPDATE runs SET started_at = $1`, w.now())
	account := budget.Account{Bound: budget.Bound{Scope: budget.Breaker, Name: item, Most: budget.Amount{MicroUSD: 100, Runs: 2}, Warn: []int{50}}, Period: "unmerged"}
	for i, ref := range []events.RunRef{refA, refA, {RunID: runB, Project: "shop", Issue: 12}} {
		es, err := db.WarnOfBudget(t.Context(), events.BudgetWarned{RunRef: ref, Percent: 50}, account)
		if err != nil || (len(es) > 0) != (i == 0) {
			t.Errorf("%d: warned by %d events, %v", i, len(es), err)
		}
	}
	w.load(router, func(i stage.Item) stage.Item {
		run := *i.Run
		run.State, run.FinishedAt = stage.Failed, w.now()
		i.Run = &run
		return i
	})
	w.pass(time.Minute)
	w.run(runB, "running", 12)
	hold := func() (budget.Account, bool) {
		t.Helper()
		_, accounts, ok, err := db.HoldCall(t.Context(), store.AgentRun{ID: runB, Project: "shop", Bounds: []budget.Bound{account.Bound}},
			store.ModelCall{ID: uuid.NewString(), RunID: runB, Model: "m", Endpoint: "responses", Started: w.now()}, store.Hold{Worst: budget.Amount{MicroUSD: 5}})
		if err != nil {
			t.Fatal(err)
		}
		return accounts[0], ok
	}
	account.Spent, account.Warned = budget.Amount{Tokens: 60, MicroUSD: 80, Runs: 1}, 50
	if got, ok := hold(); !ok || cmp.Diff(account, got) != "" {
		t.Errorf("the second run: %t %+v", ok, got)
	}
	w.sql.Do(`UPDATE spending SET runs = 2 WHERE period = 'unmerged'`)
	if got, ok := hold(); ok || got.Left().Runs != 0 {
		t.Errorf("after two runs: %t %+v", ok, got)
	}
	w.load(router, func(i stage.Item) stage.Item {
		i.Pulls = []stage.Pull{{Branch: "codexk8s/issue-12", Stage: "dev", Number: 7, Merged: true}}
		return i
	})
	if got, ok := hold(); !ok || got.Spent != (budget.Amount{}) || got.Warned != 0 {
		t.Errorf("after the merge: %t %+v", ok, got)
	}
}

func extend(x events.BudgetExtension) func(context.Context, *store.Tx) (events.Decision, error) {
	return func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		return events.Decision{}, tx.Extend(ctx, "shop", x)
	}
}

// BenchmarkCall is what it costs to write a call down, without budgets and with five of them, beside nine other runs.
func BenchmarkCall(b *testing.B) {
	for name, bounds := range map[string][]budget.Bound{"without": nil, "budgets": {
		{Scope: budget.Run, Name: runA, Most: budget.Amount{MicroUSD: 1e12}}, {Scope: budget.Issue, Name: item, Most: budget.Amount{MicroUSD: 1e12}},
		{Scope: budget.Project, Name: "shop", Most: budget.Amount{MicroUSD: 1e12}}, {Scope: budget.Day, Name: "shop", Most: budget.Amount{MicroUSD: 1e12}},
		{Scope: budget.Month, Name: "shop", Most: budget.Amount{MicroUSD: 1e12}},
	}} {
		b.Run(name, func(b *testing.B) {
			url := pgtest.New(b)
			sql := pgtest.Open(b, url)
			sql.Do(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop')`)
			sql.Do(`INSERT INTO work_items (repository, issue, full_name) SELECT 'acme/shop', n, 'Acme/Shop' FROM generate_series(12, 21) n`)
			sql.Do(`
				INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, reserved_microusd)
				SELECT CASE n WHEN 12 THEN $1::uuid ELSE gen_random_uuid() END, 'acme/shop', n, 'shop', 'dev', 'dev', 'running', 'codex', 'm', 'ann', n, 'n', now(), 1000000
				FROM generate_series(12, 21) n`, runA)
			db, err := store.Open(context.Background(), "llm-caller", url)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close(context.Background()) })
			run := store.AgentRun{ID: runA, Project: "shop", Bounds: bounds}
			var took []time.Duration
			for b.Loop() {
				c := store.ModelCall{ID: uuid.NewString(), RunID: runA, Model: "m", Endpoint: "responses", Started: time.Now().UTC()}
				began := time.Now()
				if bounds == nil {
					err = db.SaveCall(b.Context(), c)
				} else {
					_, _, _, err = db.HoldCall(b.Context(), run, c, store.Hold{Worst: budget.Amount{MicroUSD: 1e6, Tokens: 1e5}})
				}
				took = append(took, time.Since(began))
				if c.Status = 200; err == nil {
					err = db.SaveCall(b.Context(), c)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		})
	}
}
