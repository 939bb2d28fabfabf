package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/tool"
)

// tools is the gateway's other half: MCP, with a run that waits once something was asked.
func (g *fakeGateway) tools() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			http.Error(w, "wrong run token", http.StatusUnauthorized)
			return
		}
		var wakes time.Duration
		g.change(func(g *fakeGateway) { wakes, g.wakes = g.wakes, 0 })
		time.Sleep(wakes)
		s := mcp.NewServer(&mcp.Implementation{Name: "fake"}, nil)
		for _, t := range tool.All() {
			s.AddTool(&mcp.Tool{Name: t.Name, Description: t.Description, InputSchema: t.Schema}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				g.change(func(g *fakeGateway) { g.asked = append(g.asked, t.Name+" "+string(r.Params.Arguments)) })
				w.Header().Set(agentapi.WaitsHeader, testRun) // nobody writes the head before this is answered
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "People are asked: request " + asked + "."}}}, nil
			})
		}
		mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}).ServeHTTP(w, r)
	})
}

const asked = "3a1f9b52-0000-5000-8000-000000000001"

// asks gives the agent a task in which it asks first, and lets that pod end.
func (w *world) asks(t *testing.T, task string) {
	t.Helper()
	w.gateway.change(func(g *fakeGateway) { g.assignment.IssueBody = task })
	if code := w.exit(w.pod(w.codex()...)); code != exitcode.Done {
		t.Fatalf("the pod that asks ends with %d", code)
	}
}

// An agent that asks gives its pod back without a report, and the next pod goes on in the same conversation with the
// answer, whichever pod is lost on the way.
func TestARunThatAsksGoesOnInTheSameConversation(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			w.asks(t, "Say it politely.\n\nAsk first: Which words? Bonjour | Salut")
			var thread string
			w.gateway.change(func(g *fakeGateway) {
				var question struct {
					Question string
					Options  []string
				}
				if len(g.asked) != 1 || !strings.HasPrefix(g.asked[0], "ask ") || json.Unmarshal([]byte(g.asked[0][4:]), &question) != nil ||
					question.Question != "Which words?" || !slices.Equal(question.Options, []string{"Bonjour", "Salut"}) {
					t.Errorf("asked: %q", g.asked)
				}
				if g.snapshot == nil || len(g.reports) > 0 {
					t.Fatalf("snapshot %v, reports %v", g.snapshot != nil, g.reports)
				}
				thread = g.snapshot.GetThreadId()
				g.assignment.Decided = []*agentapi.Decided{{
					RequestId: asked, Kind: "question", Asked: "Which words?", Outcome: "answered", By: []string{"olga"}, Answer: "Salut",
				}}
			})
			if code := w.exit(w.pod(w.codex()...)); code != exitcode.Done {
				t.Fatalf("the next pod ends with %d", code)
			}
			w.finishedOnce()
			if got := w.gateway.report().GetThreadId(); got != thread {
				t.Errorf("the conversation was %s and is %s", thread, got)
			}
			text, err := w.github.File(testRepo, "codexk8s/issue-1", "greetings/french.txt")
			if diff := cmp.Diff("Bonjour, le monde !\nSalut\n", text); diff != "" || err != nil {
				t.Errorf("the file (-want +got):\n%s%v", diff, err)
			}
			if n := len(w.gateway.asked); n != 1 {
				t.Errorf("it asked %d times", n)
			}
		})
	}
}

// A gateway that scales from zero takes some seconds to name its tools. The agent begins with them all the same.
func TestAnAgentBeginsWithTheToolsOfAGatewayThatWakesUp(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			w.gateway.change(func(g *fakeGateway) { g.wakes = 3 * time.Second })
			w.asks(t, "Say it politely.\n\nAsk first: Which words? Bonjour | Salut")
			w.gateway.change(func(g *fakeGateway) {
				if len(g.asked) != 1 || len(g.reports) > 0 {
					t.Errorf("asked: %q; %d reports", g.asked, len(g.reports))
				}
			})
		})
	}
}

// The branch may move while people think: the next pod goes on from its own work, and what was pushed meanwhile stays.
func TestTheBranchMovesWhileTheRunWaits(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"builtin", "codex"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			w.asks(t, "Say it politely.\n\nAsk first: Which words? Bonjour | Salut")
			w.pushAs(t, "person.txt", "by a person\n")
			w.gateway.change(func(g *fakeGateway) {
				g.assignment.Decided = []*agentapi.Decided{{RequestId: asked, Kind: "question", Asked: "Which words?", Outcome: "answered", Answer: "Salut"}}
			})
			if code := w.exit(w.pod(w.codex()...)); code != exitcode.Done {
				t.Fatalf("the next pod ends with %d", code)
			}
			w.finishedOnce()
			for path, want := range map[string]string{"person.txt": "by a person\n", "greetings/french.txt": "Bonjour, le monde !\nSalut\n"} {
				if text, err := w.github.File(testRepo, "codexk8s/issue-1", path); err != nil || text != want {
					t.Errorf("%s is %q, %v", path, text, err)
				}
			}
		})
	}
}
