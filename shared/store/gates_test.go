package store_test

import (
	"context"
	"testing"

	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// What a run's gates go by is kept: its kind and where it begins for the first, what it delivered and the open question
// for the last.
func TestWhatGatesGoByIsKept(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.sql.Do(`UPDATE runs SET kind = 'revise', base_commit = 'beef'`)
	db := w.as("stage-router")
	w.load(db, func(i stage.Item) stage.Item {
		i.NeedInput, i.Run.Delivered = true, "c0ffee"
		return i
	})
	w.load(db, func(i stage.Item) stage.Item {
		if !i.NeedInput || i.Run.Delivered != "c0ffee" {
			t.Errorf("need:input %t, delivered %q", i.NeedInput, i.Run.Delivered)
		}
		return i
	})
	err := w.step(db, "places", "project/shop", func(ctx context.Context, tx *store.Tx) error {
		_, places, err := tx.Places(ctx, "shop")
		if len(places) != 1 || places[0].Kind != "revise" || places[0].BaseCommit != "beef" {
			t.Errorf("places %+v", places)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
