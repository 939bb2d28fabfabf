package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type runKey struct{}

type podKey struct{}

// podOf is the hash of the calling pod's secret; nil if it sent none.
func podOf(ctx context.Context) []byte {
	pod, _ := ctx.Value(podKey{}).([]byte)
	return pod
}

// withPod stores the hash of the calling pod's secret.
func withPod(ctx context.Context, secret string) context.Context {
	if secret == "" {
		return ctx
	}
	pod := sha256.Sum256([]byte(secret))
	return context.WithValue(ctx, podKey{}, pod[:])
}

// runOf is the run whose agent calls; authenticate has put it there.
func runOf(ctx context.Context) store.AgentRun {
	run, _ := ctx.Value(runKey{}).(store.AgentRun)
	return run
}

// admit reads no message without a token of ours, and limits each run to one large message and a few calls at a time.
// Connect calls authenticate only after it has read the whole message.
func (h *handler) admit(session http.Handler, bodies *serve.Bodies) http.Handler {
	errorsOf := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run, err := h.gate.Holder(r.Header.Get("Authorization"))
		if err != nil {
			slog.InfoContext(r.Context(), "agent's call refused", "path", r.URL.Path, "error", err)
			_ = errorsOf.Write(w, r, coded(err)) // the caller may have gone
			return
		}
		defer bodies.Guard(w, r, run)()
		session.ServeHTTP(w, r)
	})
}

// authenticate finds out whose agent calls, for every procedure, and turns every error into one that the agent can act
// on.
func (h *handler) authenticate(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		run, err := h.gate.Caller(ctx, req.Header().Get("Authorization"))
		if err == nil {
			var res connect.AnyResponse
			if res, err = next(context.WithValue(withPod(ctx, req.Header().Get(agentapi.PodHeader)), runKey{}, run), req); err == nil {
				return res, nil
			}
		}
		err = coded(err)
		procedure := req.Spec().Procedure[strings.LastIndexByte(req.Spec().Procedure, '/')+1:]
		if answer := new(connect.Error); errors.As(err, &answer) {
			slog.InfoContext(ctx, "agent's call refused", "call", procedure, "run", run.ID, "code", answer.Code().String(), "error", answer.Message())
			return nil, answer
		}
		if events.Unstorable(err) {
			slog.WarnContext(ctx, "agent's call holds what can't be stored", "call", procedure, "run", run.ID, "error", err)
			return nil, invalid("the call holds what can't be stored: a number out of range, or a text that is too long")
		}
		// Our own or the database's error; its details are not the agent's business.
		slog.ErrorContext(ctx, "agent's call failed", "call", procedure, "run", run.ID, "error", err)
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the platform cannot do this now, try again"))
	}
}

// coded gives a refusal the code that tells the agent what it can do about it; other errors stay as they are.
func coded(err error) error {
	refusal := new(runauth.Refusal)
	if !errors.As(err, &refusal) {
		return err
	}
	return connect.NewError(codes[refusal.Kind], refusal)
}

var codes = map[runauth.Kind]connect.Code{
	runauth.BadToken: connect.CodeUnauthenticated, runauth.RunMissing: connect.CodeUnavailable,
	runauth.RunEarly: connect.CodeUnavailable, runauth.RunOver: connect.CodePermissionDenied,
}

// needActive refuses a run that has ended.
func needActive(run store.AgentRun) error { return coded(runauth.Active(run)) }
