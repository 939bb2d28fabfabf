package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// Of many pods that come at once with the token of one run, one may write; another only when that one has fallen
// silent.
func TestOnePodClaimsARun(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("agent-gateway")
	claimed := func(want bool) {
		t.Helper()
		if got, err := db.RunClaimed(t.Context(), runA); err != nil || got != want {
			t.Errorf("claimed: %t, %v; want %t", got, err, want)
		}
	}
	claimed(false)
	won := make([]bool, 8)
	failed := atOnce(len(won), func(i int) (err error) {
		won[i], err = w.as("agent-gateway").ClaimRun(t.Context(), runA, []byte{byte(i)})
		return err
	})
	owner := -1
	for i, w := range won {
		if w && owner >= 0 {
			t.Errorf("pods %d and %d have both claimed the run", owner, i)
		}
		if w {
			owner = i
		}
	}
	if failed["<nil>"] != len(won) || owner < 0 {
		t.Fatalf("errors %v, nobody has claimed the run", failed)
	}
	claimed(true)
	claim := func(pod int, want bool) {
		t.Helper()
		if got, err := db.ClaimRun(t.Context(), runA, []byte{byte(pod)}); err != nil || got != want {
			t.Errorf("pod %d claims: %t, %v; want %t", pod, got, err, want)
		}
	}
	w.pass(40 * time.Second)
	claim(owner, true) // it lives
	w.pass(40 * time.Second)
	claim(100, false)
	w.pass(6 * time.Second)
	claim(100, true)
	claim(owner, false)
}

// What costs money is claimed by one at a time; a claim lapses, or is given back.
func TestOneClaimsWhatCostsMoney(t *testing.T) {
	w := newWorld(t)
	db := w.as("llm-caller")
	claim := func(*store.DB) error { return db.Claim(t.Context(), "k", w.now().Add(-time.Minute)) }
	said := atOnce(6, func(int) error { return claim(w.as("llm-caller")) })
	if said["<nil>"] != 1 || said[store.ErrClaimed.Error()] != 5 {
		t.Errorf("six at once: %v", said)
	}
	w.pass(time.Minute)
	if err := claim(db); !errors.Is(err, store.ErrClaimed) {
		t.Errorf("as old as a claim may be: %v", err)
	}
	w.pass(time.Second)
	if err := claim(db); err != nil {
		t.Errorf("of a process that is dead: %v", err)
	}
	if err := errors.Join(db.Unclaim(t.Context(), "k"), claim(db)); err != nil {
		t.Errorf("given back: %v", err)
	}
}

// A call is one row, from its beginning to its end.
func TestAModelCallIsOneRow(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db, cost := w.as("llm-caller"), int64(7)
	c := store.ModelCall{ID: runB, RunID: runA, Model: "m", Endpoint: "responses", Started: w.now()}
	line := func(want string) {
		t.Helper()
		if err := db.SaveCall(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		got := pgtest.One[string](w.sql, `
			SELECT format('%s %s %s %s %s/%s/%s/%s %s %s %s', run_id, model, status, response_id, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
			              estimated, coalesce(cost_microusd::text, '-'), duration_ms)
			FROM llm_calls
		`)
		if got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
	}
	line(fmt.Sprintf("%s m 0  0/0/0/0 f 0 0", runA))
	c.Status, c.ResponseID, c.Input, c.Cached, c.Output, c.Reasoning, c.Estimated = 200, "resp\x00_1", 1, 2, 3, 4, true
	c.CostMicroUSD, c.Took = cost, 1500*time.Millisecond
	line(fmt.Sprintf("%s m 200 resp_1 1/2/3/4 t 7 1500", runA))
}
