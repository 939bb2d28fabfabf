// Package engine does the thinking: the Codex CLI or our own tool loop, and the driver that carries either over
// failures.
//
//	Driver ──message──▶ codex ──process──▶ CLI ──key──▶ model.Line ──▶ LLM_URL
//	               └──▶ builtin ──────────────────────▶ model.Line ──▶ LLM_URL
//
// An engine's memory is a Conversation, which another pod can continue.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/functions/agent-runner/internal/model"
	"codexk8s.dev/functions/agent-runner/internal/outcome"
	"codexk8s.dev/shared/reason"
)

// An Engine does the thinking: the Codex CLI or our own tool loop.
type Engine interface {
	// Resume continues an earlier conversation instead of beginning one; called before Run.
	Resume(Conversation) error
	// Run says message in the conversation and works until the agent has finished. It returns the agent's last message.
	Run(ctx context.Context, message string) (string, error)
	// Forget leaves the conversation: the next run begins a new one.
	Forget()
	// Conversation is the present state, for Resume in another pod. It may be called while Run works. Empty before the
	// start.
	Conversation() (Conversation, error)
}

// Conversation is an engine's memory.
type Conversation struct {
	ThreadID string // the engine's own name for it
	Name     string // where the engine keeps it, relative; for the Codex CLI a path below CODEX_HOME
	Data     []byte
}

// Options are what an engine works with.
type Options struct {
	Line     *model.Line
	Log      *gateway.Log
	Dir      string // the checkout, which the agent works in
	Home     string // CODEX_HOME, a folder that is emptied
	CodexBin string // the Codex CLI

	Model     string
	Reasoning string // effort; empty = the model's own default
	Searches  bool   // the project allows web_search
}

// New returns the engine of that name. An error that is an *outcome.Failure is final.
func New(name string, o Options) (Engine, error) {
	switch name {
	case "codex":
		e, err := newCodex(o)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return nil, &outcome.Failure{Reason: reason.Engine, Summary: err.Error()}
		}
		return e, err
	case "builtin":
		return newBuiltin(o)
	}
	return nil, &outcome.Failure{Reason: reason.Assignment, Summary: fmt.Sprintf("There is no engine %q; use codex or builtin.", name)}
}
