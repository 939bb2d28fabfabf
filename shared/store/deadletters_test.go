package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

func (w *world) bury(db *store.DB, e event.Event, code, want int, functions ...string) {
	w.Helper()
	if n, err := db.Bury(w.Context(), e, functions, code, "refused"); err != nil || n != want {
		w.Errorf("%d functions have a dead letter, %v; want %d", n, err, want)
	}
}

func (w *world) letters(db *store.DB, want ...string) {
	w.Helper()
	all, err := db.DeadLetters(w.Context(), 10)
	if err != nil || len(all) != len(want) {
		w.Errorf("%d dead letters, %v; want %q", len(all), err, want)
		return
	}
	for i, l := range all {
		if l.Function != want[i] {
			w.Errorf("dead letter %d is of %s, want %s", i, l.Function, want[i])
		}
	}
}

// A dead letter is of those functions that have no receipt, and none of them owes it any more.
func TestADeadLetterIsOfWhoeverHasNotHandledIt(t *testing.T) {
	w := newWorld(t)
	keeper, e := w.as("timekeeper"), w.owed("stage-router", "1", events.RunCheck{RunRef: refA})
	w.sql.Do(`INSERT INTO pending (function, source, id, due_at) VALUES ('run-observer', $1, $2, now())`, e.Source(), e.ID())
	if _, err := w.as("stage-router").Step(t.Context(), e, item, decided(events.Decision{})); err != nil {
		t.Fatal(err)
	}
	w.bury(keeper, e, 422, 1, "stage-router", "run-observer")
	w.bury(keeper, e, 500, 0, "stage-router", "run-observer") // once is enough
	w.letters(keeper, "run-observer")
	w.want("buried", "1 received, 0 emitted, 0 owed, 0 audited")
	all, err := keeper.DeadLetters(t.Context(), 1)
	if err != nil || all[0].Code != 422 || all[0].Type != e.Type() || !all[0].DiedAt.Equal(w.now()) {
		t.Errorf("%+v, %v", all, err)
	}
	forged := e.Clone()
	forged.SetID("2")
	if _, err := keeper.Bury(t.Context(), forged, []string{"run-observer"}, 422, "x"); err == nil {
		t.Error("an event that is in no log was buried: a way into the log")
	}
}

// A replay makes a function handle the event again, though it may have a receipt, and the letter is closed by the
// receipt.
func TestAReplayedLetterIsHandledAndCloses(t *testing.T) {
	w := newWorld(t)
	doctor, observer, e := w.as("doctor"), w.as("run-observer"), w.owed("run-observer", "1", events.RunCheck{RunRef: refA})
	w.bury(doctor, e, 422, 1, "run-observer")
	replays := atOnce(4, func(int) error {
		again, err := doctor.Replay(t.Context(), "run-observer", e.Source(), e.ID())
		if err == nil && (again.Type() != e.Type() || string(again.Data()) != string(e.Data())) {
			return errors.New("another event came back")
		}
		return err
	})
	if replays["<nil>"] != 4 {
		t.Errorf("replays: %v", replays)
	}
	w.want("replayed", "0 received, 0 emitted, 1 owed, 4 audited")
	if open, err := doctor.OpenDeadLetters(t.Context()); err != nil || open["run-observer"] != 1 {
		t.Errorf("open while it is under way: %v, %v", open, err)
	}
	w.bury(doctor, e, 500, 1, "run-observer") // it failed again
	if _, err := doctor.Replay(t.Context(), "run-observer", e.Source(), e.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := observer.Step(t.Context(), e, item, decided(events.Decision{})); err != nil {
		t.Fatal(err)
	}
	w.letters(doctor)
	if n, err := doctor.CloseDeadLetters(t.Context()); err != nil || n != 1 {
		t.Errorf("%d letters closed, %v", n, err)
	}
	if n, err := doctor.CloseDeadLetters(t.Context()); err != nil || n != 0 {
		t.Errorf("%d letters closed a second time, %v", n, err)
	}
	if _, err := doctor.Replay(t.Context(), "agent-launcher", e.Source(), e.ID()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a letter that there is not: %v", err)
	}
}

// An event that nobody records is sent again and again, with its full time after the last delivery, and then buried:
// once, however many look.
func TestWhatIsNeverRecordedIsGivenUp(t *testing.T) {
	w := newWorld(t)
	keeper := w.as("timekeeper")
	w.owed("run-observer", "1", events.RunCheck{RunRef: refA})
	const attempts = 3
	for sent := 0; ; sent++ {
		if n, err := keeper.GiveUp(t.Context(), attempts, 10); err != nil || n > 0 {
			if err != nil || n != 1 || sent != attempts+1 {
				t.Errorf("given up %d after %d deliveries, %v", n, sent, err)
			}
			break
		}
		if es, err := keeper.Due(t.Context(), 10); err != nil || len(es) != 1 {
			t.Fatalf("delivery %d: %d events, %v", sent, len(es), err)
		}
		w.pass(2 * time.Hour)
	}
	w.letters(keeper, "run-observer")
	w.want("given up", "0 received, 0 emitted, 0 owed, 0 audited")
	for i := range 6 {
		w.owed("run-observer", string(rune('a'+i)), events.RunCheck{RunRef: refA})
	}
	w.sql.Do(`UPDATE pending SET attempts = 9`)
	looking := make([]int, 4)
	failed := atOnce(len(looking), func(i int) (err error) {
		looking[i], err = w.as("timekeeper").GiveUp(t.Context(), attempts, 10)
		return err
	})
	if failed["<nil>"] != 4 || looking[0]+looking[1]+looking[2]+looking[3] != 6 {
		t.Errorf("errors %v, given up %v, want 6 in all", failed, looking)
	}
}
