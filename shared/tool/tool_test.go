package tool_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/tool"
)

var run = tool.Run{
	RunRef: events.RunRef{RunID: "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8", Project: "demo", Repository: "acme/demo", Issue: 1},
	Stage:  "dev", Role: "dev", RequestedBy: events.GitHubAccount{Login: "alice", ID: 1},
}

func call(t *testing.T, name, arguments string) (tool.Outcome, error) {
	t.Helper()
	for _, c := range tool.All() {
		if c.Name == name {
			return c.Call(run, json.RawMessage(arguments))
		}
	}
	t.Fatalf("there is no tool %s", name)
	return tool.Outcome{}, nil
}

// What is asked is the run's own, under the action by which a policy is chosen, and the same asked again is one
// request.
func TestWhatACallLeadsTo(t *testing.T) {
	first, err := call(t, "request_approval", `{"action":"delete_data","justification":"The task says so.","arguments":{"b":1,"a":2}}`)
	if err != nil || first.Ask == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := call(t, "request_approval", `{"arguments":{"a":2,"b":1},"action":"delete_data","justification":"I still want it."}`)
	if err != nil || again.Ask.ID != first.Ask.ID {
		t.Errorf("the same asked again is request %s, was %s (%v)", again.Ask.ID, first.Ask.ID, err)
	}
	if r := first.Ask; r.Action != "step:delete_data" || r.RunID != run.RunID || r.RequestedBy != run.RequestedBy || string(r.Arguments) != `{"a":2,"b":1}` {
		t.Errorf("asked is %+v", r)
	}
	if o, err := call(t, "ask", `{"question":"Which words?","options":["Bonjour","Salut"]}`); err != nil || o.Ask.Action != "question" || o.Ask.FreeText {
		t.Errorf("a question with options: %+v, %v", o, err)
	}
	if o, err := call(t, "ask", `{"question":"Which words?"}`); err != nil || !o.Ask.FreeText {
		t.Errorf("a question without options: %+v, %v", o, err)
	}
	if o, err := call(t, "status_report", `{"text":" testing \n now "}`); err != nil || o.Progress != "testing now" {
		t.Errorf("progress %q, %v", o.Progress, err)
	}
	for action, free := range map[string]bool{"create": false, "describe": true, "delete": false} {
		o, err := call(t, "database_lifecycle", `{"action":"`+action+`","justification":"The tests need one."}`)
		if err != nil || (o.Do != nil) != free || (o.Ask != nil) == free {
			t.Errorf("%s a database: %+v, %v", action, o, err)
			continue
		}
		if r := cmp.Or(o.Do, o.Ask); r.Action != "tool:database_lifecycle" || string(r.Arguments) != `{"action":"`+action+`"}` {
			t.Errorf("%s a database: %+v", action, r)
		}
	}
	if o, err := call(t, "run_history", ``); err != nil || !o.History {
		t.Errorf("history: %+v, %v", o, err)
	}
}

// A refusal names the tool and the argument, for the model that reads it.
func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct{ name, arguments, says string }{
		{"ask", `{"question":" "}`, "question"},
		{"ask", `{"question":"Which?","colour":"red"}`, "colour"},
		{"ask", `{"question":"Which?","question":"What?"}`, "question"},
		{"ask", `{"question":"Which?","options":["one"]}`, "options"},
		{"ask", `[]`, "arguments"},
		{"request_approval", `{"action":"Delete Data","justification":"x"}`, "action"},
		{"request_approval", `{"action":"delete_data"}`, "justification"},
		{"status_report", `{"text":"` + strings.Repeat("x", tool.MaxProgress+1) + `"}`, "text"},
		{"run_history", `{"issue":2}`, "issue"},
		{"past_runs", `{"run":"12"}`, "run"},
		{"past_runs", `{"before":"'; DROP TABLE runs"}`, "before"},
		{"past_runs", `{"project":"other"}`, "project"},
		{"past_runs", `{"run":"6f1c2b1e-8f43-4f0e-9d3a-2b7c5e9a1d04","before":"6f1c2b1e-8f43-4f0e-9d3a-2b7c5e9a1d04"}`, "give one"},
		{"secret_sync", `{"name":"database"}`, "platform's own"},
		{"database_lifecycle", `{}`, "action"},
		{"database_lifecycle", `{"action":"CREATE"}`, "action"},
		{"database_lifecycle", `{"action":"create\u0000"}`, "arguments"},
		{"database_lifecycle", `{"action":"create","action":"delete"}`, "action"},
		{"database_lifecycle", `{"action":"create","name":"postgres"}`, "name"},
	} {
		_, err := call(t, c.name, c.arguments)
		var refused *tool.Error
		if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), c.name+": ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want a refusal that names %q", c.name, c.arguments, err, c.says)
		}
	}
}
