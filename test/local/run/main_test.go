package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codexk8s.dev/test/local/lock"
	"codexk8s.dev/test/local/stack"
)

func write(t *testing.T, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FRESH=1 removes a state directory, and nothing that is not one or is in use.
func TestFreshRemovesOnlyState(t *testing.T) {
	dir := t.TempDir()
	state, foreign, used := filepath.Join(dir, "state"), filepath.Join(dir, "foreign"), filepath.Join(dir, "used")
	for _, file := range []string{state + "/stack.json", state + "/lock", foreign + "/letter", used + "/stack.json", used + "/lock"} {
		write(t, file)
	}
	held, err := lock.Take(used + "/lock")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for path, want := range map[string]string{
		state: "", filepath.Join(dir, "none"): "", foreign: "does not look like a state directory", used: "is in use by a platform that runs",
	} {
		err := removeState(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
		_, gone := os.Stat(path)
		if os.IsNotExist(gone) != (want == "") {
			t.Errorf("%s: afterwards %v", path, gone)
		}
	}
}

func TestFreshSaysWhatItLeaves(t *testing.T) {
	var none, both bytes.Buffer
	sayWhatStays(&none, stack.Outside{})
	sayWhatStays(&both, stack.Outside{DatabaseURL: "postgres://x", Kubeconfig: "/k"})
	if none.Len() > 0 || !strings.Contains(both.String(), "the database of DATABASE_URL is yours and stays") || !strings.Contains(both.String(), "cluster of KUBECONFIG stays") {
		t.Errorf("without anything: %q, with both: %q", none.String(), both.String())
	}
}

func TestAStoryThatThereIsNot(t *testing.T) {
	if err := runDemo(t.Context(), "approvals"); err == nil || !strings.Contains(err.Error(), "STORY=approval") {
		t.Errorf("got %v", err)
	}
}
