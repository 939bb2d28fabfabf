package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// A bound repository keeps its key through every name, and its number from its first sight; an older name does not come back.
func TestARepositoryKeepsItsKey(t *testing.T) {
	w := newWorld(t)
	db := w.as("timekeeper")
	see := func(s store.Sighting, want store.Repository) {
		t.Helper()
		r, err := db.Repository(t.Context(), s.ID, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.KeepRepository(t.Context(), r, s)
		if err != nil {
			t.Fatal(err)
		}
		want.Process = stage.Default()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, diff)
		}
	}
	now := w.now()
	see(store.Sighting{ID: 1, Name: "Acme/Shop", At: now}, store.Repository{Key: "acme/shop", Name: "Acme/Shop", ID: 1, Bound: true})
	see(store.Sighting{ID: 1, Name: "Acme/Store", At: now.Add(time.Hour)}, store.Repository{Key: "acme/shop", Name: "Acme/Store", ID: 1, Bound: true})
	see(store.Sighting{ID: 1, Name: "Acme/Shop", At: now}, store.Repository{Key: "acme/shop", Name: "Acme/Store", ID: 1, Bound: true})
	see(store.Sighting{ID: 2, Name: "Acme/Shop", At: now}, store.Repository{Key: "acme/shop@2", Name: "Acme/Shop", ID: 2, Taken: 1})
	if got := w.sql.Lines(`SELECT action || ': ' || detail FROM audit ORDER BY seq`); len(got) != 2 {
		t.Errorf("audit: %q", got)
	}
	r, err := db.Repository(t.Context(), 1, "Acme/Store")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.KeepRepository(t.Context(), store.Repository{Key: r.Key, Bound: true}, store.Sighting{ID: 9, Name: "Acme/Other", At: now}); !errors.Is(err, store.ErrChanged) {
		t.Errorf("another number for the same key: %v", err)
	}
}

// A login gets its number once; whoever has the login later is somebody else.
func TestALoginGetsItsNumberOnce(t *testing.T) {
	w := newWorld(t)
	db := w.as("timekeeper")
	f, err := project.Parse([]byte("owners: [Ann]\nprojects: [{id: shop, repositories: [acme/shop], members: {ann: reader, bob@7: admin}}]"))
	if err != nil {
		t.Fatal(err)
	}
	failed := atOnce(4, func(int) error { return w.as("migrate").SaveProjects(t.Context(), f) })
	if failed["<nil>"] != 4 {
		t.Errorf("four at once: %v", failed)
	}
	if logins, err := db.Unnumbered(t.Context()); err != nil || len(logins) != 1 || logins[0] != "ann" {
		t.Errorf("without a number: %q, %v", logins, err)
	}
	for _, id := range []int64{5, 6} {
		if err := db.KeepAccount(t.Context(), store.Account{ID: id, Login: "Ann"}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"* ann 5", "shop ann 5", "shop bob 7"}
	if diff := cmp.Diff(want, w.sql.Lines(`SELECT project_id || ' ' || login || ' ' || github_id FROM members ORDER BY 1`)); diff != "" {
		t.Error(diff)
	}
	if p, r, err := db.Bound(t.Context()); err != nil || p != 1 || r != 1 {
		t.Errorf("%d projects, %d repositories, %v", p, r, err)
	}
	if err := db.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

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
