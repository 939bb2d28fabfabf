package store_test

import (
	"errors"
	"testing"
	"time"
)

// What was compared with GitHub, and up to when, is known the next time.
func TestComparisons(t *testing.T) {
	w := newWorld(t)
	db := w.as("timekeeper")
	waiting := func(want int) {
		t.Helper()
		if all, err := db.Unreconciled(t.Context(), w.now().Add(-time.Hour)); err != nil || len(all) != want {
			t.Errorf("%d repositories to compare, %v; want %d", len(all), err, want)
		}
	}
	waiting(1)
	if err := errors.Join(db.Reconciled(t.Context(), "acme/shop", 9, w.now()), db.ReconcileApp(t.Context(), "app:1", w.now())); err != nil {
		t.Fatal(err)
	}
	waiting(0)
	w.pass(time.Hour)
	waiting(1)
	if at, err := db.AppReconciled(t.Context(), "app:1"); err != nil || !at.Equal(w.now().Add(-time.Hour)) {
		t.Errorf("the App's hook: %s, %v", at, err)
	}
	if at, err := db.AppReconciled(t.Context(), "app:2"); err != nil || !at.IsZero() {
		t.Errorf("another App's hook: %s, %v", at, err)
	}
	w.sql.Do(`INSERT INTO deliveries (guid, event, hook_id, sha256, status) VALUES ('g1', 'issues', 9, '', 'accepted')`)
	missing, err := db.MissingDeliveries(t.Context(), []string{"g1", "g2", "g2"})
	hook, errHook := db.HookHeard(t.Context(), []int64{8, 9})
	none, errNone := db.HookHeard(t.Context(), []int64{8, 10})
	if errors.Join(err, errHook, errNone) != nil || len(missing) != 1 || missing[0] != "g2" || hook != 9 || none != 0 {
		t.Errorf("missing %q, heard hooks %d and %d, %v %v %v", missing, hook, none, err, errHook, errNone)
	}
	w.run(runA, "running", 12)
	for name, c := range map[string]struct {
		issue  int
		age    time.Duration
		aborts bool
		want   bool
	}{
		"a run is active":              {12, -time.Hour, false, true},
		"a run is active that it ends": {12, -time.Hour, true, false},
		"the run came after it":        {12, time.Hour, true, true},
		"nothing came of it":           {13, time.Hour, false, false},
	} {
		if got, err := db.LabelAnswered(t.Context(), "acme/shop", c.issue, w.now().Add(-c.age), "no such cause", c.aborts); err != nil || got != c.want {
			t.Errorf("%s: answered %t, %v", name, got, err)
		}
	}
	if err := db.Ticked(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := db.Seen(t.Context()); err != nil || !s.Tick.Equal(w.now()) {
		t.Errorf("seen %+v, %v", s, err)
	}
}
