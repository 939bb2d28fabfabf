package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
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

// Ten finished runs want to give their places on at the same time: under the project's lock no more are taken than there are.
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

// What is asked of a run that there is not, or by a name that is no UUID, has an answer.
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

// The agent's final word is its first: whatever comes after it gets that one back, and one event tells of it.
func TestAReportIsSavedOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	told := make([]string, 6)
	failed := atOnce(len(told), func(i int) error {
		first, emitted, err := w.as("agent-gateway").SaveReport(t.Context(), events.AgentReported{RunRef: refA, Outcome: "succeeded", Summary: fmt.Sprint(i)})
		told[i] = first.Summary + " " + ids(emitted)
		return err
	})
	for _, s := range told {
		if s != told[0] {
			t.Errorf("two final words: %q", told)
		}
	}
	if failed["<nil>"] != len(told) {
		t.Errorf("errors %v", failed)
	}
	w.want("reported", "0 received, 1 emitted, 1 owed, 1 audited")
	report, err := w.as("agent-gateway").Report(t.Context(), runA)
	if err != nil || report.Summary != told[0][:1] {
		t.Errorf("stored %+v, %v", report, err)
	}
	if _, err := w.as("agent-gateway").Report(t.Context(), runB); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no report: %v", err)
	}
}

// Due hands each event to one of those who ask, later and later, and never before its function can handle it.
func TestEachDueEventIsHandedOutOnce(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.owed("stage-router", fmt.Sprint(i), events.RunFinished{RunRef: refA})
	}
	handed := make([][]event.Event, 8)
	failed := atOnce(len(handed), func(i int) (err error) {
		handed[i], err = w.as("timekeeper").Due(t.Context(), 5)
		return err
	})
	seen := map[string]int{}
	for _, es := range handed {
		for _, e := range es {
			seen[e.ID()]++
		}
	}
	if failed["<nil>"] != 8 || len(seen) != 40 {
		t.Errorf("errors %v; %d of 40 events were handed out", failed, len(seen))
	}
	db := w.as("stage-router")
	w.sql.Do(`DELETE FROM pending WHERE id <> '1'`)
	due := func() int {
		return pgtest.One[int](w.sql, `SELECT extract(epoch FROM due_at - $1)::int FROM pending`, w.now())
	}
	for _, want := range []int{60, 120, 240} {
		if got := due(); got != want {
			t.Errorf("sent again after %d seconds, want %d", got, want)
		}
		w.pass(time.Duration(due()) * time.Second)
		if es, err := db.Due(t.Context(), 5); err != nil || len(es) != 1 {
			t.Fatalf("%d events, %v", len(es), err)
		}
	}
	e := handed[0][0]
	e.SetID("1")
	for _, c := range []struct{ until, want int }{{3600, 3600}, {60, 3600}} {
		if err := db.PutOff(t.Context(), e, w.now().Add(time.Duration(c.until)*time.Second)); err != nil || due() != c.want {
			t.Errorf("put off for %d seconds: due in %d, %v; want %d", c.until, due(), err, c.want)
		}
	}
}
