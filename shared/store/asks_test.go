package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// question is one that run A asks.
func question(t *testing.T, title string) events.ApprovalRequested {
	t.Helper()
	r, err := approval.Seal(events.ApprovalRequested{
		RunRef: refA, Kind: events.KindQuestion, Action: "question", Title: title, FreeText: true, Arguments: json.RawMessage(`{"n":1.0e2,"a":"b"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The same asked twice is one request with one event, and a run asks twenty things at most.
func TestAnAskIsSavedOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("agent-gateway")
	failed := atOnce(4, func(int) error {
		emitted, err := db.SaveAsk(w.Context(), question(t, "Which?"))
		if err == nil && len(emitted) != 1 {
			return fmt.Errorf("%d events", len(emitted))
		}
		return err
	})
	if failed["<nil>"] != 4 {
		t.Errorf("four at once: %v", failed)
	}
	for n := range 19 {
		if _, err := db.SaveAsk(w.Context(), question(t, fmt.Sprintf("Which of %d?", n))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.SaveAsk(w.Context(), question(t, "One more?")); !errors.Is(err, store.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if _, err := db.SaveAsk(w.Context(), question(t, "Which?")); err != nil {
		t.Errorf("once more: %v", err)
	}
	got := w.sql.Lines(`SELECT type || ' ' || count(*) FROM events GROUP BY type`)
	if diff := cmp.Diff([]string{"dev.codexk8s.approval.requested 20"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a run has asked comes with the work item where it is needed, before any event has told of it, in the words that
// people see. What the run keeps of it comes back as it was.
func TestARunKeepsWhatItAsks(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	asked := question(t, "Which?")
	if _, err := w.as("agent-gateway").SaveAsk(w.Context(), asked); err != nil {
		t.Fatal(err)
	}
	db := w.as("stage-router")
	at := w.now().Add(-time.Hour)
	want := stage.Run{
		Asks: []stage.Ask{{
			ID: asked.ID, Kind: asked.Kind, Title: asked.Title, Arguments: asked.Arguments, Digest: "d", At: at,
			Answer: &stage.Answer{Outcome: "answered", By: []string{"ann"}, Option: 1, Text: "this", At: at},
		}},
		Calls:    []stage.Call{{ID: asked.ID, Tool: "secret_sync", Arguments: json.RawMessage(`{"n":1.0e2}`), Result: stage.Result{Text: "It is there.", At: at}}},
		PausedAt: at, JobOver: true, ResumedAt: at,
	}
	item := func(id string, f func(tx *store.Tx, i stage.Item) error) {
		t.Helper()
		if err := w.step(db, id, item, func(ctx context.Context, tx *store.Tx) error {
			i, _, err := tx.Item(ctx, store.Home{Repository: store.Repository{Key: "acme/shop", Name: "Acme/Shop"}, Issue: 12}, stage.Needs{Run: runA, Asked: true})
			return errors.Join(err, f(tx, i))
		}); err != nil {
			t.Fatal(err)
		}
	}
	item("save", func(tx *store.Tx, i stage.Item) error {
		if diff := cmp.Diff([]events.ApprovalRequested{asked}, i.Asked); diff != "" || len(i.Run.Asks) > 0 {
			t.Errorf("asked (-want +got):\n%s\nthe run: %+v", diff, i.Run.Asks)
		}
		before, was := i, *i.Run
		before.Run = &was
		i.Run.Asks, i.Run.Calls, i.Run.PausedAt, i.Run.JobOver, i.Run.ResumedAt = want.Asks, want.Calls, want.PausedAt, want.JobOver, want.ResumedAt
		return tx.SaveItem(w.Context(), i, before)
	})
	item("load", func(_ *store.Tx, i stage.Item) error {
		got := stage.Run{Asks: i.Run.Asks, Calls: i.Run.Calls, PausedAt: i.Run.PausedAt.UTC(), JobOver: i.Run.JobOver, ResumedAt: i.Run.ResumedAt.UTC()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the run (-want +got):\n%s", diff)
		}
		return nil
	})
}

// What lasts is read in the order in which it was made, whether people were asked or not; what came of a call, by its
// id.
func TestWhatWasMadeForARun(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.sql.Do(`
		UPDATE runs
		SET asks = '[{"id":"1","action":"tool:secret_sync","arguments":{"name":"asked"},"result":{"text":"Made.","at":"2026-11-01T13:00:00Z"}},
		             {"id":"2","action":"tool:secret_sync","arguments":{"name":"refused"},"result":{"text":"No.","reason":"kubernetes_refused","at":"2026-11-01T13:00:00Z"}},
		             {"id":"3","action":"tool:secret_sync","arguments":{"name":"open"}},
		             {"id":"4","action":"tool:labels_add","arguments":{},"result":{"text":"Done.","at":"2026-11-01T13:00:00Z"}}]',
		    calls = '[{"id":"5","tool":"secret_sync","arguments":{"name":"free"},"text":"Made.","at":"2026-11-01T12:00:00Z"},
		              {"id":"6","tool":"labels_add","text":"Done.","at":"2026-11-01T12:00:00Z"}]'
	`)
	db := w.as("agent-launcher")
	made, err := db.Made(t.Context(), runA)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range made {
		got = append(got, c.ID+" "+string(c.Arguments))
	}
	if diff := cmp.Diff([]string{`5 {"name":"free"}`, `1 {"name":"asked"}`}, got); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	if c, known, err := db.ToolCall(t.Context(), runA, "6"); err != nil || !known || c.Told() != "labels_add is done: Done." {
		t.Errorf("call 6: %+v, %t, %v", c, known, err)
	}
	if _, known, err := db.ToolCall(t.Context(), runA, "7"); err != nil || known {
		t.Errorf("a call that nobody knows: %t, %v", known, err)
	}
}

// The pod of the next Job may claim the run at once, though the one before was heard of a moment ago.
func TestTheNextJobsPodClaimsTheRun(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("stage-router")
	claim := func(pod string, want bool) {
		t.Helper()
		if mine, err := db.ClaimRun(w.Context(), runA, []byte(pod)); err != nil || mine != want {
			t.Errorf("pod %s has the run: %t, %v", pod, mine, err)
		}
	}
	claim("one", true)
	claim("two", false)
	if err := w.step(db, "next", item, func(ctx context.Context, tx *store.Tx) error {
		i, _, err := tx.Item(ctx, store.Home{Repository: store.Repository{Key: "acme/shop", Name: "Acme/Shop"}, Issue: 12}, stage.Needs{Run: runA})
		before, was := i, *i.Run
		before.Run = &was
		i.Run.State, i.Run.WaitingFor, i.Run.Attempt = stage.Queued, "", 1
		return errors.Join(err, tx.SaveItem(ctx, i, before))
	}); err != nil {
		t.Fatal(err)
	}
	claim("two", true)
	claim("one", false)
}
