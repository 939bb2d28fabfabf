package store_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestRunsAtOnceNeverOverspend plays runs that call a model side by side, over the real statements: calls that end,
// that are cut one chunk too late, whose process dies, and whose usage comes after they were settled. Whatever happens,
// no budget is overspent by more than a chunk for each call, and when all is over nothing is held.
func TestRunsAtOnceNeverOverspend(t *testing.T) {
	const chunk, most = 3, 20_000
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.run(runA, "running", 12)
			w.run(runB, "running", 13)
			w.sql.Do(`UPDATE runs SET reserved_microusd = 6000 WHERE id = $1`, runB)
			db := w.as("llm-caller")
			var mu sync.Mutex
			var late []store.ModelCall
			calls, refused := 0, 0
			call := func(r *rand.Rand, id string) error {
				run := store.AgentRun{ID: id, Project: "shop", Bounds: []budget.Bound{
					{Scope: budget.Run, Name: id, Most: budget.Amount{MicroUSD: most * 3 / 4}}, {Scope: budget.Day, Name: "shop", Most: budget.Amount{MicroUSD: most, Tokens: most * 10}},
				}}
				c := store.ModelCall{ID: uuid.NewString(), RunID: id, Model: "m", Endpoint: "responses", Started: w.now()}
				hold, _, ok, err := db.HoldCall(t.Context(), run, c, store.Hold{Worst: budget.Amount{MicroUSD: 100 + r.Int64N(1500), Tokens: 500}, Need: budget.Amount{MicroUSD: r.Int64N(100)}})
				mu.Lock()
				defer mu.Unlock()
				if err != nil || !ok {
					refused++
					return err
				}
				calls++
				c.Status, c.CostMicroUSD, c.Input = 200, r.Int64N(hold.MicroUSD+chunk+1), hold.Tokens
				switch r.IntN(6) {
				case 0: // the process has died
					return nil
				case 1: // and what it used becomes known much later
					late = append(late, c)
					return nil
				}
				return db.SaveCall(t.Context(), c)
			}
			errs := atOnce(8, func(i int) error {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range 15 {
					if err := call(r, []string{runA, runB}[i%2]); err != nil {
						return err
					}
				}
				return nil
			})
			sums := func() (spent, held int64) {
				return pgtest.One[int64](w.sql, `SELECT coalesce(sum(microusd), 0)::bigint FROM spending WHERE kind = 'project' AND length(period) = 10`),
					pgtest.One[int64](w.sql, `SELECT coalesce(sum(held_microusd), 0)::bigint FROM llm_calls WHERE status = 0`)
			}
			if spent, held := sums(); errs["<nil>"] != 8 || spent+held > most+int64(calls*chunk) {
				t.Errorf("%v: %d spent and %d held of %d by %d calls", errs, spent, held, most, calls)
			}
			w.pass(time.Hour)
			if _, err := db.SettleLost(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, c := range late {
				if err := db.SaveCall(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			spent, held := sums()
			recorded := pgtest.One[int64](w.sql, `SELECT sum(cost_microusd)::bigint FROM llm_calls`)
			if spent > most+int64(calls*chunk) || held != 0 || spent != recorded || calls == 0 || refused == 0 {
				t.Errorf("%d spent, %d recorded of %d by %d calls, %d still held; %d refused", spent, recorded, most, calls, held, refused)
			}
			t.Logf("%d of %d spent by %d calls, %d refused, %d told late", spent, most, calls, refused, len(late))
		})
	}
}
