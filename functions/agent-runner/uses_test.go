package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/tool"
)

// What people have approved is done when the next pod begins: the agent is told so, and what came of it, and asks no
// more.
func TestAnAgentIsToldWhatWasDone(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			w.asks(t, "Say it politely.\n\nUse first: secret_sync {\"name\":\"session-key\"}")
			w.gateway.change(func(g *fakeGateway) {
				if diff := cmp.Diff([]string{`secret_sync {"name":"session-key"}`}, g.asked); diff != "" || len(g.reports) > 0 {
					t.Fatalf("%d reports; asked (-want +got):\n%s", len(g.reports), diff)
				}
				g.assignment.Decided = []*agentapi.Decided{{
					RequestId: asked, Kind: "approval", Asked: "Make a Secret", Arguments: `{"name":"session-key","rotate":false}`, Outcome: "done", By: []string{"olga"},
					Answer: "The Secret session-key is made.",
				}}
			})
			if code := w.exit(w.pod(w.codex()...)); code != exitcode.Done {
				t.Fatalf("the next pod ends with %d", code)
			}
			w.finishedOnce()
			if n := len(w.gateway.asked); n != 1 {
				t.Errorf("it asked %d times", n)
			}
			requests := w.model.Requests()
			for _, said := range []string{"the platform has done it", "The Secret session-key is made."} {
				if len(requests) == 0 || !bytes.Contains(requests[len(requests)-1].Body, []byte(said)) {
					t.Errorf("the model is not told %q", said)
				}
			}
		})
	}
}

// The builtin engine has every tool that the gateway offers.
func TestTheBuiltinEngineCallsEveryTool(t *testing.T) {
	t.Parallel()
	arguments := map[string]string{
		tool.Ask: `{"question":"Which?"}`, tool.RequestApproval: `{"action":"drop","justification":"x"}`, tool.StatusReport: `{"text":"x"}`, tool.RunHistory: `{}`, tool.PastRuns: `{}`,
		tool.LabelsList: `{}`, tool.LabelsAdd: `{"labels":["bug"]}`, tool.LabelsRemove: `{"labels":["bug"]}`, tool.LabelsTransition: `{"from":"a","to":"b"}`,
		tool.SecretSync: `{"name":"key"}`, tool.DatabaseLifecycle: `{"action":"create"}`,
	}
	for _, name := range tool.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "builtin")
			w.gateway.change(func(g *fakeGateway) { g.assignment.IssueBody = "Use first: " + name + " " + arguments[name] })
			if code := w.exit(w.pod()); code != exitcode.Done {
				t.Fatalf("it ends with %d", code)
			}
			if len(w.gateway.asked) != 1 || w.gateway.asked[0][:len(name)] != name {
				t.Errorf("called: %q", w.gateway.asked)
			}
		})
	}
}
