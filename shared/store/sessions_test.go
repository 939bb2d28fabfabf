package store_test

import (
	"bytes"
	"errors"
	"testing"

	"codexk8s.dev/shared/store"
)

func session(data string) store.Session {
	return store.Session{ThreadID: "t-" + data, SHA256: []byte("sum of " + data), Data: []byte(data)}
}

// A session has one line of versions: who comes with an old one is told so, and changes nothing.
func TestASessionIsReplacedByWhoeverKnowsIt(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.run(runB, "running", 13)
	db := w.as("agent-gateway")
	a, err := db.AgentRun(t.Context(), runA)
	if err != nil {
		t.Fatal(err)
	}
	other, err := db.AgentRun(t.Context(), runB)
	if err != nil {
		t.Fatal(err)
	}
	save := func(expected int64, data string) (int64, bool) {
		t.Helper()
		version, err := db.SaveSession(t.Context(), a, expected, session(data))
		if err != nil && !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
		return version, err == nil
	}
	stored := func(of store.AgentRun, version int64, data string) {
		t.Helper()
		s, err := db.LoadSession(t.Context(), of)
		if err != nil || s.Version != version || !bytes.Equal(s.Data, []byte(data)) {
			t.Errorf("stored: version %d, %q, %v; want %d, %q", s.Version, s.Data, err, version, data)
		}
	}
	stored(a, 0, "")
	if _, ok := save(3, "of a conversation that there is not"); ok {
		t.Error("a version that nobody has was replaced")
	}
	for i, data := range []string{"one", "two"} {
		if version, ok := save(int64(i), data); !ok || version != int64(i)+1 {
			t.Errorf("%s: version %d, %t", data, version, ok)
		}
	}
	if version, ok := save(1, "two"); !ok || version != 2 { // its answer was lost
		t.Errorf("the same save again: version %d, %t", version, ok)
	}
	if _, ok := save(1, "late"); ok {
		t.Error("an old version was replaced")
	}
	stored(a, 2, "two")
	stored(other, 0, "")
	builtin := a
	builtin.Engine = "builtin"
	stored(builtin, 0, "")
}

// Of many that save at once on the same version one wins, and the others know that they did not.
func TestOneOfManySavesWins(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	run, err := w.as("agent-gateway").AgentRun(t.Context(), runA)
	if err != nil {
		t.Fatal(err)
	}
	for expected := range int64(2) { // the first save of all, and a later one
		said := atOnce(6, func(i int) error {
			_, err := w.as("agent-gateway").SaveSession(t.Context(), run, expected, session(string(rune('a'+i))))
			if errors.Is(err, store.ErrConflict) {
				return store.ErrConflict
			}
			return err
		})
		if said["<nil>"] != 1 || said[store.ErrConflict.Error()] != 5 {
			t.Errorf("on version %d: %v", expected, said)
		}
	}
}
