package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/store"
)

// active are the states in which a run's agent may act.
var active = []string{"starting", "running", "waiting"}

type runKey struct{}

type podKey struct{}

// podOf is the hash of the calling pod's secret; nil when it sent none.
func podOf(ctx context.Context) []byte {
	pod, _ := ctx.Value(podKey{}).([]byte)
	return pod
}

// withPod notes the calling pod's secret, by its hash.
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

// authenticate finds out whose agent calls, for every procedure, and makes of every error one that the agent can act on.
func (h *handler) authenticate(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		run, err := h.caller(ctx, req.Header().Get("Authorization"))
		if err == nil {
			var res connect.AnyResponse
			if res, err = next(context.WithValue(withPod(ctx, req.Header().Get(agentapi.PodHeader)), runKey{}, run), req); err == nil {
				return res, nil
			}
		}
		procedure := req.Spec().Procedure[strings.LastIndexByte(req.Spec().Procedure, '/')+1:]
		if coded := new(connect.Error); errors.As(err, &coded) {
			slog.InfoContext(ctx, "agent's call refused", "call", procedure, "run", run.ID, "code", coded.Code().String(), "error", coded.Message())
			return nil, coded
		}
		if events.Unstorable(err) {
			slog.WarnContext(ctx, "agent's call holds what can't be stored", "call", procedure, "run", run.ID, "error", err)
			return nil, invalid("the call holds what can't be stored: a number out of range, or a text that is too long")
		}
		// Ours or the database's; details are not the agent's business.
		slog.ErrorContext(ctx, "agent's call failed", "call", procedure, "run", run.ID, "error", err)
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the platform cannot do this now, try again"))
	}
}

// caller checks the bearer token and loads the run that it names. A token that we signed for a run that isn't there, or
// hasn't begun, is ahead of the database: that was restored from a backup, and GitHub's deliveries will bring the run back.
func (h *handler) caller(ctx context.Context, authorization string) (store.AgentRun, error) {
	kind, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(kind, "Bearer") || token == "" {
		return store.AgentRun{}, connect.NewError(connect.CodeUnauthenticated, errors.New("send the run token as Authorization: Bearer"))
	}
	claims, err := runtoken.Verify(h.key, strings.TrimSpace(token), h.db.Now())
	if errors.Is(err, runtoken.ErrInvalid) || errors.Is(err, runtoken.ErrExpired) {
		return store.AgentRun{}, connect.NewError(connect.CodeUnauthenticated, err)
	}
	if err != nil {
		return store.AgentRun{}, err
	}
	run, err := h.db.AgentRun(ctx, claims.RunID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.AgentRun{}, connect.NewError(connect.CodeUnavailable, fmt.Errorf("run %s is not in the database; try again", claims.RunID))
	case err != nil:
		return store.AgentRun{}, err
	case run.Namespace != claims.Namespace:
		return store.AgentRun{}, connect.NewError(connect.CodeUnauthenticated, errors.New("the run token belongs to another namespace"))
	case run.State == "requested" || run.State == "queued":
		return store.AgentRun{}, connect.NewError(connect.CodeUnavailable, fmt.Errorf("run %s is %s; try again", run.ID, run.State))
	}
	return run, nil
}

// needActive refuses a run that has ended.
func needActive(run store.AgentRun) error {
	if slices.Contains(active, run.State) {
		return nil
	}
	return connect.NewError(connect.CodePermissionDenied, fmt.Errorf("run %s is %s", run.ID, run.State))
}
