package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/runtoken"
)

// reply is what the gateway answers to one call by MCP.
type reply struct {
	Status  int
	Waits   bool
	Text    string
	IsError bool
	Tools   []string
	Refused string // by the protocol
}

// mcp makes one call as an agent's client does, without a session. params is JSON.
func (f *fixture) mcp(method, params, bearer string) (s reply) {
	f.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.url+"/mcp", strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	s.Status, s.Waits = res.StatusCode, res.Header.Get(agentapi.WaitsHeader) == runID
	var answer struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
			Tools   []struct{ Name string }
		}
		Error struct{ Message string }
	}
	if s.Status == http.StatusOK {
		if err := json.Unmarshal(text, &answer); err != nil {
			f.t.Fatalf("%s: %v", text, err)
		}
	}
	for _, c := range answer.Result.Content {
		s.Text += c.Text
	}
	for _, t := range answer.Result.Tools {
		s.Tools = append(s.Tools, t.Name)
	}
	s.IsError, s.Refused = answer.Result.IsError, answer.Error.Message
	return s
}

func (f *fixture) use(tool, arguments string) reply {
	f.t.Helper()
	return f.mcp("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, arguments), token(f.t, func(*runtoken.Claims) {}))
}

const question = `{"question":"Which words?","options":["Bonjour","Salut"]}`

// What an agent asks twice is one request; it learns the answer if it asks once more.
func TestAnAgentAsks(t *testing.T) {
	f := setup(t)
	first := f.use("ask", question)
	if first.Status != http.StatusOK || !first.Waits || first.IsError || !strings.HasPrefix(first.Text, "People are asked: request ") {
		t.Fatalf("%+v", first)
	}
	if diff := cmp.Diff(first, f.use("ask", `{"options":["Bonjour","Salut"],"freeText":false,"question":"Which words?"}`)); diff != "" {
		t.Errorf("once more (-first +second):\n%s", diff)
	}
	got := f.sql.Lines(`SELECT type || ' ' || count(*) FROM events GROUP BY type`)
	if diff := cmp.Diff([]string{"dev.codexk8s.approval.requested 1"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	f.exec(`UPDATE runs SET asks = (SELECT json_build_array(json_build_object('id', id, 'kind', 'question', 'title', 'Which words?', 'options', '["Bonjour","Salut"]'::json,
		'at', '2026-11-01T12:00:00Z', 'answer', '{"outcome":"answered","by":["olga"],"option":2,"at":"2026-11-01T12:00:00Z"}'::json)) FROM run_asks)`)
	again := f.use("ask", question)
	if again.Waits || again.IsError || !strings.Contains(again.Text, "It was answered by olga: Salut.") {
		t.Errorf("when it is answered: %+v", again)
	}
	a, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := []*agentapi.Decided{{
		RequestId: a.GetDecided()[0].GetRequestId(), Kind: "question", Asked: "Which words?", Outcome: "answered", By: []string{"olga"}, Answer: "Salut",
	}}
	if diff := cmp.Diff(want, a.GetDecided(), protocmp.Transform()); diff != "" || !strings.Contains(first.Text, want[0].GetRequestId()) {
		t.Errorf("the assignment (-want +got):\n%s", diff)
	}
}

// The other tools, and who may call none.
func TestTools(t *testing.T) {
	f := setup(t)
	good := token(t, func(*runtoken.Claims) {})
	list := f.mcp("tools/list", `{}`, good)
	if diff := cmp.Diff([]string{"ask", "request_approval", "run_history", "status_report"}, list.Tools); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if got := f.use("status_report", `{"text":"half way"}`); got.IsError || got.Waits {
		t.Errorf("status_report: %+v", got)
	}
	if got := f.sql.Lines(`SELECT progress FROM runs`); got[0] != "half way" {
		t.Errorf("progress: %q", got)
	}
	if got := f.use("run_history", `{}`); !strings.Contains(got.Text, "revise of stage dev") || !strings.Contains(got.Text, "this run") {
		t.Errorf("run_history: %+v", got)
	}
	if got := f.use("request_approval", `{"action":"drop_table","arguments":{"table":"orders"},"justification":"it is empty"}`); !got.Waits {
		t.Errorf("request_approval: %+v", got)
	}
	if got := f.use("vote", `{}`); got.Refused == "" {
		t.Errorf("a tool that there is not: %+v", got)
	}
	if got := f.mcp("tools/list", `{}`, "nonsense"); got.Status != http.StatusUnauthorized {
		t.Errorf("without a token of ours: %+v", got)
	}
	f.exec(`UPDATE runs SET state = 'queued'`)
	if got := f.use("ask", question); got.Status != http.StatusServiceUnavailable {
		t.Errorf("before it has begun: %+v", got)
	}
	f.exec(`UPDATE runs SET state = 'cancelled', finished_at = now()`)
	if got := f.use("ask", question); got.Status != http.StatusForbidden || got.Waits {
		t.Errorf("when it is over: %+v", got)
	}
}

// Whatever an agent sends is taken or refused in words that name what is wrong; nothing of it is an outage.
func TestHostileArguments(t *testing.T) {
	f := setup(t)
	for arguments, want := range map[string]string{
		`{}`:                                   "question",
		`[]`:                                   "arguments",
		`"x"`:                                  "arguments",
		`{"question":"a","question":"b"}`:      "twice",
		`{"question":"a","vote":"yes"}`:        "vote",
		`{"question":"\u0000"}`:                "\\u0000",
		`{"question":"\ud800"}`:                "surrogate",
		`{"question":1}`:                       "question",
		`{"question":"a","options":["b"]}`:     "options",
		`{"question":"a","options":["b","b"]}`: "options",
		`{"question":"` + strings.Repeat("x", 1001) + `"}`:                               "1001 characters",
		`{"question":"` + strings.Repeat("x", 40<<10) + `"}`:                             "bytes",
		`{"question":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`:         "in one another",
		`{"question":"a","links":[{"text":"t","url":"http://10.0.0.1/"}]}`:               "https",
		`{"question":"a","links":[{"text":"t","url":"https://user:pw@github.com/a/b"}]}`: "https",
	} {
		if got := f.use("ask", arguments); got.Status != http.StatusOK || !got.IsError || !strings.Contains(got.Text, want) || got.Waits {
			t.Errorf("%.80s: want %q, got %+v", arguments, want, got)
		}
	}
	for _, arguments := range []string{`{"action":"Drop Table","justification":"x"}`, `{"action":"drop"}`, `{"action":"drop","justification":"x","arguments":[]}`} {
		if got := f.use("request_approval", arguments); !got.IsError {
			t.Errorf("%s: %+v", arguments, got)
		}
	}
	if n := f.sql.Lines(`SELECT count(*)::text FROM run_asks`)[0]; n != "0" {
		t.Errorf("%s were asked", n)
	}
}
