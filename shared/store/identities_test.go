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

// A bound repository keeps its key through every name, and its number from its first sight; an older name does not come
// back.
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
