package store_test

import (
	"fmt"
	"testing"

	"codexk8s.dev/shared/store"
)

// A namespace has at most one database, on the server that its project named first, and it is on record until it is
// gone.
func TestANamespaceHasOneDatabase(t *testing.T) {
	w := newWorld(t)
	db := w.as("agent-launcher")
	plan := func(what string, want store.RunDatabase) {
		t.Helper()
		if got, err := db.PlanDatabase(w.Context(), "n", "shop"); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	server := func(name string) {
		w.sql.Do(`UPDATE projects SET settings = settings || jsonb_build_object('database', $1::text)`, name)
	}
	plan("the project names no server", store.RunDatabase{})
	server("")
	plan("it names an empty one", store.RunDatabase{})
	server("first")
	failed := atOnce(8, func(int) error {
		got, err := db.PlanDatabase(w.Context(), "n", "shop")
		if err == nil && got != (store.RunDatabase{Server: "first"}) {
			return fmt.Errorf("%+v", got)
		}
		return err
	})
	if failed["<nil>"] != 8 {
		t.Errorf("eight at once: %v", failed)
	}
	server("second")
	plan("the project names another server", store.RunDatabase{Server: "first"})
	for _, made := range []bool{true, true, false, true} {
		if err := db.DatabaseMade(w.Context(), "n", made); err != nil {
			t.Fatal(err)
		}
		plan(fmt.Sprint("made is ", made), store.RunDatabase{Server: "first", Made: made})
	}
	for range 2 {
		if err := db.DatabaseGone(w.Context(), "n"); err != nil {
			t.Fatal(err)
		}
		if got, err := db.RunDatabase(w.Context(), "n"); err != nil || got != (store.RunDatabase{}) {
			t.Errorf("gone: %+v, %v", got, err)
		}
	}
	if err := db.DatabaseMade(w.Context(), "n", true); err != nil {
		t.Fatal(err)
	}
	plan("after the first is gone", store.RunDatabase{Server: "second"})
}
