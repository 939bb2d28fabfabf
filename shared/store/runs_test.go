package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// step handles an event that was made for it, under the lock of the aggregate.
func (w *world) step(db *store.DB, id, aggregate string, f func(context.Context, *store.Tx) error) error {
	e := w.owed("stage-router", id, events.RunFinished{RunRef: refA})
	_, err := db.Step(w.Context(), e, aggregate, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		return events.Decision{}, f(ctx, tx)
	})
	return err
}

// runID is the n-th run's.
func runID(n int) string { return fmt.Sprintf("%08d-3b57-4c0e-9d6a-52b0c1f4a9e8", n) }

// queue makes n runs that wait for a place, of an issue each.
func (w *world) queue(n int) {
	w.Helper()
	for i := range n {
		w.sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', $1, 'Acme/Shop')`, 100+i)
		w.run(runID(i), "requested", 100+i)
		w.pass(time.Second)
	}
}

// Ten finished runs want to give their places on at the same time: under the project's lock no more are taken than
// there are.
func TestPlacesAreNeverGivenTwice(t *testing.T) {
	w := newWorld(t)
	w.queue(6)
	failed := atOnce(10, func(i int) error {
		return w.step(w.as("stage-router"), fmt.Sprint(i), "project/shop", func(ctx context.Context, tx *store.Tx) error {
			settings, places, err := tx.Places(ctx, "shop")
			for _, a := range stage.Admit(settings, places, tx.Now()) {
				err = errors.Join(err, tx.Admit(ctx, a))
			}
			return err
		})
	})
	got := w.sql.Lines(`SELECT id || ' ' || state FROM runs WHERE state = 'starting' ORDER BY created_at`)
	if diff := cmp.Diff([]string{runID(0) + " starting", runID(1) + " starting"}, got); diff != "" || failed["<nil>"] != 10 {
		t.Errorf("errors %v; who has a place, of two (-want +got):\n%s", failed, diff)
	}
}

// Admission sees what is active, oldest first, and moves only what still waits.
func TestAdmission(t *testing.T) {
	w := newWorld(t)
	w.queue(3)
	w.sql.Do(`UPDATE runs SET state = 'failed', finished_at = now() WHERE id = $1`, runID(1))
	db := w.as("stage-router")
	admit := func(id string, was, next stage.State) error {
		return w.step(db, fmt.Sprint(id, was, next), "project/shop", func(ctx context.Context, tx *store.Tx) error {
			return tx.Admit(ctx, stage.Admission{Place: stage.Place{Run: stage.Run{ID: id, State: next, Deadline: w.now().Add(time.Hour)}}, Was: was})
		})
	}
	err := w.step(db, "places", "project/shop", func(ctx context.Context, tx *store.Tx) error {
		_, places, err := tx.Places(ctx, "shop")
		if len(places) != 2 || places[0].ID != runID(0) || places[1].ID != runID(2) || places[0].Issue != 100 {
			t.Errorf("active: %+v", places)
		}
		_, _, none := tx.Places(ctx, "nowhere")
		if !errors.Is(none, store.ErrNotFound) {
			t.Errorf("a project that there is not: %v", none)
		}
		return err
	})
	if err := errors.Join(err, admit(runID(0), stage.Requested, stage.Queued), admit(runID(0), stage.Queued, stage.Starting)); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]string{"it has its place": runID(0), "it has ended": runID(1), "unknown": runB} {
		if err := admit(id, stage.Requested, stage.Starting); !errors.Is(err, store.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	queues, err := db.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Limit != 2 || queues[0].States[stage.Starting] != 1 || queues[0].States[stage.Requested] != 1 {
		t.Errorf("queues: %+v, %v", queues, err)
	}
}

// A run is saved only over the state in which it was loaded, and an issue has one that is active.
func TestARunIsSavedOverWhatWasLoaded(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("stage-router")
	save := func(id string, change func(item *stage.Item, was *stage.Run)) error {
		return w.step(db, id, item, func(ctx context.Context, tx *store.Tx) error {
			i, _, err := tx.Item(ctx, store.Home{Repository: store.Repository{Key: "acme/shop", Name: "Acme/Shop"}, Issue: 12}, stage.Needs{})
			if err != nil {
				return err
			}
			before, was := i, *i.Run
			before.Run = &was
			change(&i, &was)
			return tx.SaveItem(ctx, i, before)
		})
	}
	stale := func(i *stage.Item, was *stage.Run) { i.Run.State, was.State = stage.Succeeded, stage.Starting }
	second := func(i *stage.Item, _ *stage.Run) {
		i.Run.ID, i.Run.Intent, i.Run.Process = runB, "another", stage.Default()
	}
	if err := save("stale", stale); !errors.Is(err, store.ErrChanged) {
		t.Errorf("over another state: %v", err)
	}
	if err := save("second", second); err == nil {
		t.Error("an issue has two active runs")
	}
	if err := save("end", func(i *stage.Item, _ *stage.Run) {
		i.Title, i.Run.State, i.Run.FinishedAt = "Changed", stage.Succeeded, w.now()
	}); err != nil {
		t.Error(err)
	}
	if err := save("next", second); err == nil {
		t.Error("a run was saved that is final and has no end")
	}
	got := w.sql.Lines(`SELECT r.state || ' ' || w.title FROM runs r JOIN work_items w USING (repository, issue)`)
	if diff := cmp.Diff([]string{"succeeded Changed"}, got); diff != "" {
		t.Error(diff)
	}
}

// What is asked of a run that there is not, or by a name that is not a UUID, has an answer.
func TestUnknownRuns(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("run-observer")
	for _, id := range []string{runB, "run 1", "", "7f1c8f5e"} {
		_, agent := db.AgentRun(t.Context(), id)
		_, home := db.RepositoryOfRun(t.Context(), id)
		s, err := db.RunStatus(t.Context(), id)
		if !errors.Is(agent, store.ErrNotFound) || !errors.Is(home, store.ErrNotFound) || err != nil || s.State != "" {
			t.Errorf("%q: %v, %v, %+v %v", id, agent, home, s, err)
		}
	}
	s, err := db.RunStatus(t.Context(), runA)
	if err != nil || s.State != stage.Running || s.Namespace != "n" || !s.Finished.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	unknown, err := db.UnknownRuns(t.Context(), []string{runA, runB})
	if diff := cmp.Diff([]string{runB}, unknown); diff != "" || err != nil {
		t.Error(diff, err)
	}
	w.pass(time.Hour)
	silent, err := db.SilentRuns(t.Context(), time.Minute)
	if err != nil || len(silent) != 1 || silent[0].ID != runA {
		t.Errorf("silent: %+v, %v", silent, err)
	}
	if err := db.Heartbeat(t.Context(), runA); err != nil {
		t.Fatal(err)
	}
	if silent, err := db.SilentRuns(t.Context(), time.Minute); err != nil || len(silent) != 0 {
		t.Errorf("silent after a heartbeat: %+v, %v", silent, err)
	}
}
