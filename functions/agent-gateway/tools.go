package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"

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
	s.AddReceivingMiddleware(h.auditUnknown(c.run))
	for _, t := range tool.Of(toolsOf(c.run)) {
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

// toolsOf names the tools that the run has, nil where its grant does not say.
func toolsOf(run store.AgentRun) []string {
	if run.Grant == nil {
		return nil
	}
	return run.Grant.Tools
}

// auditUnknown writes down that the agent calls a tool which its run doesn't have. It is answered as one that there is
// not.
func (h *handler) auditUnknown(run store.AgentRun) mcp.Middleware {
	return func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			p, ok := r.GetParams().(*mcp.CallToolParamsRaw)
			if ok && !slices.ContainsFunc(tool.Of(toolsOf(run)), func(t tool.Tool) bool { return t.Name == p.Name }) {
				name := plain.Cut(plain.Text(p.Name), 100)
				slog.InfoContext(ctx, "agent's tool call refused", "run", run.ID, "tool", name, "error", "the run has no such tool")
				if err := h.db.RefuseTool(ctx, run.Ref(), name); err != nil && !errors.Is(err, store.ErrTooMany) {
					slog.ErrorContext(ctx, "agent's tool call failed", "run", run.ID, "error", err)
					return nil, errors.New(again)
				}
			}
			return next(ctx, method, r)
		}
	}
}
