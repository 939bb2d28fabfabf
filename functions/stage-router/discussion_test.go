package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

const remarked = `{"action":"created","issue":{"number":1,"labels":[{"name":"mode:discussion"}]},
	"comment":{"id":%d,"body":%q,"updated_at":"2026-11-01T12:0%d:00Z","user":{"login":"alice","type":"User"}},
	"repository":{"full_name":"acme/demo"},"sender":{"login":"alice","type":"User"}}`

// TestADiscussionIsKept: turns follow on each other, a stage takes the place of the turn at work in the same step, and
// what was said is where the next decision finds it.
func TestADiscussionIsKept(t *testing.T) {
	f := setup(t)
	hook := func(id, name, body string) {
		t.Helper()
		if got := f.deliver(id, name, body); got != http.StatusAccepted {
			t.Fatalf("%s: %d", id, got)
		}
	}
	report := func(summary string) {
		t.Helper()
		run := pgtest.One[string](f.sql, `SELECT id::text FROM runs WHERE finished_at IS NULL`)
		body := fmt.Sprintf(`{"runId":%q,"project":"demo","repository":"acme/demo","issue":1,"outcome":"succeeded","summary":%q}`, run, summary)
		f.sql.Log(events.Source("agent-gateway"), "report-"+run, events.AgentReported{}.EventType(), []byte(body))
		if got := f.post("report-"+run, events.AgentReported{}.EventType(), events.Source("agent-gateway"), body); got != http.StatusAccepted {
			t.Fatalf("the report: %d", got)
		}
	}
	talk := strings.ReplaceAll(fmt.Sprintf(labeled, "alice"), "run:dev", "mode:discussion")
	hook("label", "issues", talk)
	hook("one", "issue_comment", fmt.Sprintf(remarked, 1, "One?", 1))
	hook("two", "issue_comment", fmt.Sprintf(remarked, 2, "Two?", 2))
	report("First words.")
	report("Both.")
	hook("three", "issue_comment", fmt.Sprintf(remarked, 3, "Three?", 3))
	dev := strings.NewReplacer(`[{"name":"run:dev"}]`, `[{"name":"mode:discussion"},{"name":"run:dev"}]`, "12:00:00", "12:05:00").Replace(fmt.Sprintf(labeled, "alice"))
	hook("dev", "issues", dev)
	hook("four", "issue_comment", fmt.Sprintf(remarked, 4, "Four?", 6))
	want := []string{
		`discussion succeeded "" []`, `discussion succeeded "" ["One?","Two?"]`, `discussion cancelled "stage_began" ["Three?"]`,
		`work starting "" ["First words.","One?","Two?","Both.","Three?"]`,
	}
	got := f.sql.Lines(`
		SELECT kind || ' ' || state || ' "' || reason || '" ' ||
		       replace((SELECT coalesce(jsonb_agg(r -> 'body'), '[]') FROM jsonb_array_elements(coalesce(nullif(talk, 'null'), '[]')) r)::text, '", "', '","')
		FROM runs
		ORDER BY created_at`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs, with what was said in each (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`["Four?"]`}, f.sql.Lines(`SELECT (SELECT jsonb_agg(r -> 'body') FROM jsonb_array_elements(talk -> 'waiting') r)::text FROM work_items`)); diff != "" {
		t.Errorf("what waits (-want +got):\n%s", diff)
	}
	if n := f.count(`SELECT count(*) FROM events WHERE type = 'dev.codexk8s.github.change.requested' AND convert_from(data, 'UTF8')::jsonb -> 'note' ->> 'key' LIKE 'turn/%'`); n != 2 {
		t.Errorf("%d answers are to become comments, want 2", n)
	}
}
