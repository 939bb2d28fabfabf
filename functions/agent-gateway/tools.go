package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
)

// maxCall bounds one call of a tool: arguments of 32 KiB, and what stands around them.
const maxCall = 256 << 10

// call is one request of an agent's MCP client.
type call struct {
	run   store.AgentRun
	waits atomic.Bool // the run waits for people because of it
}

type callKey struct{}

// tools serves MCP. A request is all that there is of a session: the next one may be another process's.
// https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
func (h *handler) tools() http.Handler {
	served := mcp.NewStreamableHTTPHandler(func(r *http.Request) *mcp.Server {
		c, _ := r.Context().Value(callKey{}).(*call)
		return h.toolsFor(c)
	}, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxCall,
		DisableLocalhostProtection: true, // who calls is known by the run token, not by the name of this host
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run, err := h.gate.Caller(r.Context(), r.Header.Get("Authorization"))
		if err == nil {
			err = runauth.Active(run)
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		c := &call{run: run}
		served.ServeHTTP(answer{w, c}, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// refuse says to the agent's line what it can do about an error.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := new(runauth.Refusal)
	switch {
	case !errors.As(err, &refusal):
		slog.ErrorContext(r.Context(), "agent's tool call failed", "error", err)
		http.Error(w, again, http.StatusServiceUnavailable)
	case refusal.Kind == runauth.BadToken:
		http.Error(w, refusal.Message, http.StatusUnauthorized)
	case refusal.Kind == runauth.RunOver:
		http.Error(w, refusal.Message, http.StatusForbidden)
	default:
		http.Error(w, refusal.Message, http.StatusServiceUnavailable)
	}
}

const again = "The platform can't do this now. Call the tool again in a moment."

// answer says in a header, for the agent's runner, that the run waits.
type answer struct {
	http.ResponseWriter
	call *call
}

func (a answer) WriteHeader(status int) {
	if a.call.waits.Load() {
		a.Header().Set(agentapi.WaitsHeader, a.call.run.ID)
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a answer) Write(p []byte) (int, error) {
	if a.call.waits.Load() {
		a.Header().Set(agentapi.WaitsHeader, a.call.run.ID) // of no effect once the head is written
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// toolsFor is the server that the run sees.
func (h *handler) toolsFor(c *call) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "codexk8s", Version: "1"}, &mcp.ServerOptions{Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}})
	if c == nil {
		return s
	}
	for _, t := range tool.All() {
		s.AddTool(&mcp.Tool{Name: t.Name, Description: t.Description, InputSchema: t.Schema}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			text, err := h.use(ctx, c, t, r.Params.Arguments)
			if err != nil {
				text = said(ctx, c.run, err)
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}, IsError: err != nil}, nil
		})
	}
	return s
}

// said is an error in words for the model. Ours, or the database's, are none of its business.
func said(ctx context.Context, run store.AgentRun, err error) string {
	wrong := new(tool.Error)
	switch {
	case errors.As(err, &wrong):
		slog.InfoContext(ctx, "agent's tool call refused", "run", run.ID, "error", err)
		return wrong.Error()
	case events.Unstorable(err):
		slog.WarnContext(ctx, "agent's tool call holds what can't be stored", "run", run.ID, "error", err)
		return "The arguments hold what can't be stored: a number out of range, or a text that is too long."
	}
	slog.ErrorContext(ctx, "agent's tool call failed", "run", run.ID, "error", err)
	return again
}

// use calls a tool for the run and carries out what the call leads to.
func (h *handler) use(ctx context.Context, c *call, t tool.Tool, arguments []byte) (string, error) {
	o, err := t.Call(tool.Run{
		RunRef: c.run.Ref(), Stage: c.run.Stage, Role: c.run.Role, IssueURL: c.run.URL, HeadSHA: c.run.HeadSHA,
		RequestedBy: events.GitHubAccount{Login: c.run.RequestedBy, ID: c.run.RequestedByID},
	}, arguments)
	switch {
	case err != nil:
		return "", err
	case o.Ask != nil:
		return h.ask(ctx, c, *o.Ask)
	case o.Progress != "":
		return "People see it.", h.db.SetProgress(ctx, c.run.ID, plain.Text(o.Progress))
	}
	return h.history(ctx, c.run)
}

// ask asks people, and lets the run wait. What it has asked before is the same request: it waits on, or has its answer.
func (h *handler) ask(ctx context.Context, c *call, r events.ApprovalRequested) (string, error) {
	for _, a := range c.run.Asks {
		if a.ID == r.ID && a.Answer != nil {
			return fmt.Sprintf("You have asked this before, as request %s. %s Asking again changes nothing.", a.ID, a.Told()), nil
		}
	}
	r.At = h.db.Now()
	emitted, err := h.db.SaveAsk(ctx, r)
	if errors.Is(err, store.ErrTooMany) {
		return "", &tool.Error{Err: fmt.Errorf("this run has asked people %d times, which is all that it may. Go on with what you know, and say in your summary what is open", store.MaxAsked)}
	}
	if err != nil {
		return "", err
	}
	if err := h.send(ctx, emitted...); err != nil {
		slog.WarnContext(ctx, "the request is stored but not sent; timekeeper sends it", "run", c.run.ID, "request", r.ID, "error", err)
	}
	c.waits.Store(true)
	return fmt.Sprintf("People are asked: request %s. Your work pauses here, and goes on in a new container when they have decided; you are told then. Do nothing more now.", r.ID), nil
}

// history tells of the issue's runs, the newest first.
func (h *handler) history(ctx context.Context, run store.AgentRun) (string, error) {
	past, err := h.db.History(ctx, run)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range past {
		fmt.Fprintf(&b, "%s of stage %s, %s: %s", p.Kind, p.Stage, p.CreatedAt.UTC().Format(time.DateTime), p.State)
		if p.ID == run.ID {
			b.WriteString(", this run")
		}
		if p.Reason != "" {
			fmt.Fprintf(&b, " (%s)", p.Reason)
		}
		b.WriteString("\n")
		for _, a := range p.Asks {
			fmt.Fprintf(&b, "  asked: %s\n  %s\n", a.Title, a.Told())
		}
		if p.Summary != "" {
			fmt.Fprintf(&b, "  summary: %s\n", strings.ReplaceAll(p.Summary, "\n", "\n    "))
		}
	}
	return b.String(), nil
}
