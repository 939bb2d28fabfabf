package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// A call is one event, however often it is made. Each time is a line of the audit and counts, also for a tool that the
// run does not have, and a run has so many.
func TestToolCallsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.run(runB, "running", 13)
	db := w.as("agent-gateway")
	call := func(id string) error {
		_, err := db.SaveToolCall(w.Context(), events.ToolApproved{RunRef: refA, CallID: id, Tool: "labels_add", Arguments: json.RawMessage(`{"labels":["bug"]}`)})
		return err
	}
	if failed := atOnce(4, func(int) error { return call("same") }); failed["<nil>"] != 4 {
		t.Errorf("the same call four times at once: %v", failed)
	}
	if err := db.RefuseTool(w.Context(), refA, "rm"); err != nil {
		t.Fatal(err)
	}
	want := []string{`4 tool.called  labels_add {"labels":["bug"]}`, "1 tool.refused unknown_tool rm"}
	got := w.sql.Lines(`SELECT concat_ws(' ', count(*), action, reason, detail) FROM audit WHERE run_id = $1 GROUP BY action, reason, detail ORDER BY action`, runA)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if got := w.sql.Lines(`SELECT type || ' ' || count(*) FROM events GROUP BY type`); !cmp.Equal(got, []string{"dev.codexk8s.tool.approved 1"}) {
		t.Errorf("events %v", got)
	}
	w.sql.Do(`UPDATE runs SET tool_calls = $1 WHERE id = $2`, store.MaxToolCalls-3, runA)
	failed := atOnce(6, func(i int) error {
		if i%2 == 0 {
			return db.RefuseTool(w.Context(), refA, fmt.Sprint("unknown", i))
		}
		return call(fmt.Sprint("another", i))
	})
	if failed["<nil>"] != 3 || failed[store.ErrTooMany.Error()] != 3 {
		t.Errorf("six for three: %v", failed)
	}
	if err := call("one more"); !errors.Is(err, store.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if err := db.RefuseTool(w.Context(), events.RunRef{RunID: runB, Project: "shop", Repository: "Acme/Shop", Issue: 13}, "rm"); err != nil {
		t.Errorf("another run: %v", err)
	}
}
