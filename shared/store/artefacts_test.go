package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/stage"
)

// What runs have made is kept with the run that reported it first, and with the time from which it holds no more.
func TestArtefactsAreKept(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "succeeded", 12)
	w.run(runB, "running", 12)
	db := w.as("stage-router")
	first := stage.Artefact{Stage: "dev", Name: "pull_request", Value: "7", Run: runA, MadeAt: w.now()}
	second := stage.Artefact{Stage: "dev", Name: "pull_request", Value: "9", Run: runB, MadeAt: w.now().Add(time.Minute)}
	want := []stage.Artefact{}
	save := func(made ...stage.Artefact) {
		t.Helper()
		w.load(db, func(i stage.Item) stage.Item {
			if diff := cmp.Diff(want, i.Artefacts); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			i.Artefacts = made
			return i
		})
		want = made
	}
	save(first)
	first.SupersededAt = second.MadeAt
	save(first, second)
	first.SupersededAt, second.SupersededAt = time.Time{}, w.now().Add(time.Hour)
	save(first, second)
	save(first, second)
}
