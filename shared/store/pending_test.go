package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

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
		if err := db.Postpone(t.Context(), e, w.now().Add(time.Duration(c.until)*time.Second)); err != nil || due() != c.want {
			t.Errorf("postponed for %d seconds: due in %d, %v; want %d", c.until, due(), err, c.want)
		}
	}
}
