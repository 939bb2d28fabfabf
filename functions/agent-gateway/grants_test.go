package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/store"
)

// grant gives the run tools, of which some need nobody's yes.
func (f *fixture) grant(tools, free string) {
	f.exec(`UPDATE runs SET granted = jsonb_build_object('process', '', 'write', '["**"]'::jsonb, 'tools', $1::jsonb, 'free', $2::jsonb)`, tools, free)
}

const labelTools = `["labels_list","labels_add","labels_remove","labels_transition"]`

// A tool that the run's grant doesn't name is not there: not listed, and an unknown one when it is called, which the
// audit tells.
func TestToolsOutsideOfTheGrant(t *testing.T) {
	f := setup(t)
	f.grant(`["ask","secret_sync"]`, `[]`)
	list := f.mcp("tools/list", `{}`, token(t, func(*runtoken.Claims) {}))
	if diff := cmp.Diff([]string{"ask", "secret_sync"}, list.Tools); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	none := f.use("no_such_tool", `{}`)
	for _, name := range []string{"labels_add", "request_approval", "database_lifecycle"} {
		if got := f.use(name, `{"labels":["x"]}`); got.Refused != strings.ReplaceAll(none.Refused, "no_such_tool", name) || got.Refused == "" {
			t.Errorf("%s: %+v, want it refused as %q", name, got, none.Refused)
		}
	}
	want := []string{"tool.refused unknown_tool database_lifecycle", "tool.refused unknown_tool labels_add", "tool.refused unknown_tool no_such_tool", "tool.refused unknown_tool request_approval"}
	if diff := cmp.Diff(want, f.sql.Lines(`SELECT action || ' ' || reason || ' ' || detail FROM audit ORDER BY detail`)); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	f.exec(`UPDATE runs SET tool_calls = $1`, store.MaxToolCalls)
	f.use("vote", `{}`)
	if n := f.sql.Lines(`SELECT count(*)::text FROM audit`)[0]; n != "4" {
		t.Errorf("an agent that goes on fills the audit: %s lines", n)
	}
	f.grant(`[]`, `[]`)
	if got := f.mcp("tools/list", `{}`, token(t, func(*runtoken.Claims) {})); len(got.Tools) != 0 {
		t.Errorf("a run without any: %v", got.Tools)
	}
}

// What needs nobody's yes is done at once, and the run goes on; up to a number of times.
func TestALabelThatIsFree(t *testing.T) {
	f := setup(t)
	f.grant(labelTools, `["labels_add","labels_remove","labels_transition","pull_request_labels"]`)
	f.exec(`UPDATE work_items SET labels = '{bug,run:dev}', pull = '{"labels":["size/S"]}'`)
	if got := f.use("labels_list", `{}`); got.Text != "Issue #12: bug, run:dev\nPull request #34: size/S" {
		t.Errorf("labels_list: %+v", got)
	}
	for name, arguments := range map[string]string{
		"labels_add":        `{"labels":["b","a"],"on":"pull_request"}`,
		"labels_remove":     `{"labels":["bug"]}`,
		"labels_transition": `{"from":"todo","to":"doing"}`,
	} {
		if got := f.use(name, arguments); got.Waits || got.IsError || !strings.Contains(got.Text, "not known yet") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	want := []string{
		`labels_remove {"on":"issue","remove":["bug"]} 34`, `labels_transition {"add":["doing"],"on":"issue","remove":["todo"]} 34`, `pull_request_labels {"add":["a","b"],"on":"pull_request"} 34`,
	}
	got := f.sql.Lines(`SELECT (d ->> 'tool') || ' ' || (d -> 'arguments')::text || ' ' || (d ->> 'pullRequest')
		FROM (SELECT convert_from(data, 'UTF8')::json AS d FROM events WHERE type = 'dev.codexk8s.tool.approved') e ORDER BY 1`)
	if diff := cmp.Diff(want, got); diff != "" || len(f.sent) != 3 {
		t.Errorf("%d sent; events (-want +got):\n%s", len(f.sent), diff)
	}
	f.exec(`UPDATE runs SET tool_calls = $1`, store.MaxToolCalls)
	if got := f.use("labels_add", `{"labels":["c"]}`); !got.IsError || !strings.Contains(got.Text, "all that it may") {
		t.Errorf("one more than it may: %+v", got)
	}
}

// Other systems merge by labels of pull requests, so those of issues being free says nothing of them.
func TestALabelOfThePullRequestIsAskedFor(t *testing.T) {
	f := setup(t)
	f.grant(labelTools, `["labels_add","labels_remove","labels_transition"]`)
	if got := f.use("labels_transition", `{"from":"do-not-merge","to":"automerge","on":"pull_request"}`); !got.Waits {
		t.Errorf("automerge: %+v", got)
	}
	got := f.sql.Lines(`SELECT (request ->> 'action') || ' ' || (request -> 'arguments')::text FROM run_asks`)
	if diff := cmp.Diff([]string{`tool:pull_request_labels {"add":["automerge"],"on":"pull_request","remove":["do-not-merge"]}`}, got); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// The agent is told what came of a call that needs nobody's yes in the answer to the call; if that takes long, by
// run_history.
func TestACallIsAnsweredWithWhatCameOfIt(t *testing.T) {
	f := setup(t)
	f.grant(`["secret_sync","run_history"]`, `["secret_sync"]`)
	f.h.patience = time.Minute
	for arguments, c := range map[string]struct{ came, told string }{
		`{"name":"key"}`:               {`"text":"The Secret key is made."`, "The Secret key is made."},
		`{"name":"key","rotate":true}`: {`"text":"no room left","reason":"quota"`, "it could not be done: no room left"},
	} {
		said := make(chan reply)
		go func() { said <- f.use("secret_sync", arguments) }()
		var id string
		for id == "" {
			ids := f.sql.Lines(`SELECT subject FROM events WHERE type = 'dev.codexk8s.tool.approved'
				AND NOT EXISTS (SELECT 1 FROM runs, json_array_elements(calls) AS c WHERE c ->> 'id' = subject)`)
			if len(ids) == 1 {
				id = ids[0]
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		f.exec(`UPDATE runs SET calls = (calls::jsonb || $1::jsonb)::json`, fmt.Sprintf(`[{"id":%q,"tool":"secret_sync","at":"2026-11-01T12:00:00Z",%s}]`, id, c.came))
		if got := <-said; got.Text != c.told || got.IsError != strings.Contains(c.came, "reason") || got.Waits {
			t.Errorf("%s: %+v, want %q", arguments, got, c.told)
		}
	}
	if got := f.use("run_history", `{}`); !strings.Contains(got.Text, "  secret_sync is done: The Secret key is made.\n") ||
		!strings.Contains(got.Text, "  secret_sync could not be done: no room left\n") {
		t.Errorf("run_history: %+v", got)
	}
}

// Whatever the policy says, a label that starts a run is asked for; those of the platform are not to be had.
func TestLabelsOfThePlatform(t *testing.T) {
	f := setup(t)
	f.grant(labelTools, `["labels_add","labels_remove","labels_transition"]`)
	for _, label := range []string{
		"run:abort", "RUN:ABORT", "run:nothing", "state:approved", "State:In-Review", "state:anything", "need:input", "[ai-model-gpt-5.4]", "[ai-reasoning-low]",
		" run:dev", "run:dev ", "\u200brun:dev", "run:\u00addev", "a\nb", "", strings.Repeat("x", 51),
	} {
		if got := f.use("labels_add", fmt.Sprintf(`{"labels":[%q]}`, label)); !got.IsError || got.Waits {
			t.Errorf("labels_add %q: %+v", label, got)
		}
	}
	for name, arguments := range map[string]string{
		"labels_add":        `{"labels":["bug","run:dev"]}`,
		"labels_remove":     `{"labels":["run:dev"]}`,
		"labels_transition": `{"from":"state:in-review","to":"bug"}`,
	} {
		if got := f.use(name, arguments); !got.IsError || got.Waits {
			t.Errorf("%s %s: %+v", name, arguments, got)
		}
	}
	f.exec(`UPDATE work_items SET pull_request = 0`)
	if got := f.use("labels_add", `{"labels":["bug"],"on":"pull_request"}`); !got.IsError {
		t.Errorf("on a pull request that there is not: %+v", got)
	}
	if n := len(f.sent); n != 0 {
		t.Fatalf("%d events were sent", n)
	}
	if got := f.use("labels_add", `{"labels":["Run:Dev:Revise"],"justification":"The review asks for it."}`); !got.Waits {
		t.Errorf("a label that starts a run: %+v", got)
	}
	got := f.sql.Lines(`SELECT (request ->> 'action') || ' ' || (request -> 'arguments')::text FROM run_asks`)
	if diff := cmp.Diff([]string{`label:run:dev:revise {"label":"run:dev:revise"}`}, got); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// What was done is told when it is asked for again, and asked for again only after something else was done by the tool.
func TestAYesIsUsedOnce(t *testing.T) {
	f := setup(t)
	f.grant(`["secret_sync"]`, `[]`)
	made, rotated := `{"name":"key"}`, `{"name":"key","rotate":true}`
	settle := func() {
		f.exec(`UPDATE runs SET asks = (SELECT json_agg(json_build_object('id', id, 'kind', 'approval', 'action', 'tool:secret_sync', 'title', request ->> 'title', 'at', asked_at,
			'answer', json_build_object('outcome', 'approved', 'by', '["olga"]'::json, 'at', asked_at), 'result', json_build_object('text', 'It is there.', 'at', asked_at)) ORDER BY asked_at) FROM run_asks)`)
	}
	for i, c := range []struct {
		arguments string
		waits     bool
	}{{made, true}, {made, false}, {rotated, true}, {rotated, false}, {made, true}, {rotated, true}} {
		got := f.use("secret_sync", c.arguments)
		if got.Waits != c.waits || got.IsError || !c.waits && !strings.Contains(got.Text, "done: It is there.") {
			t.Errorf("call %d, %s: %+v", i+1, c.arguments, got)
		}
		settle()
	}
	for _, arguments := range []string{`{}`, `{"name":"run"}`, `{"name":"A"}`, `{"name":"../x"}`, `{"name":"x","value":"y"}`, `{"name":"` + strings.Repeat("x", 60) + `"}`} {
		if got := f.use("secret_sync", arguments); !got.IsError || got.Waits {
			t.Errorf("%s: %+v", arguments, got)
		}
	}
}
