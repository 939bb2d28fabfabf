package main

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/runtoken"
)

// pod is the agent's client in a pod with that secret.
func (f *fixture) pod(secret string) agentapi.SessionServiceClient {
	return f.agentWith(token(f.t, func(*runtoken.Claims) {}), connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			req.Header().Set(agentapi.PodHeader, secret)
			return next(ctx, req)
		}
	})))
}

const (
	mayRead  = "ghs_Acme/Shop_read"
	mayWrite = "ghs_Acme/Shop_write"
)

// A stolen run token is worth a look at the repository: to write takes the secret of the pod that has claimed the run.
func TestOnlyThePodThatClaimedTheRunMayWrite(t *testing.T) {
	f := setup(t)
	credential := func(who agentapi.SessionServiceClient) string {
		t.Helper()
		got, err := who.GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
		if err != nil {
			if connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("refused with %v", err)
			}
			return "later"
		}
		return got.GetPassword()
	}
	beat := func(who agentapi.SessionServiceClient) {
		t.Helper()
		if _, err := who.Heartbeat(t.Context(), &agentapi.HeartbeatRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	thief, first, second, old := f.agent(), f.pod("first"), f.pod("second"), f.agent()

	if got := credential(old); got != mayWrite {
		t.Errorf("a runner of an earlier release, which claims nothing: %s", got)
	}
	if _, err := first.GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		who  agentapi.SessionServiceClient
		want string
	}{
		"the run token alone": {thief, mayRead}, "a secret of its own": {f.pod("thief"), "later"},
		"the pod": {first, mayWrite}, "another pod": {second, "later"},
	} {
		if got := credential(c.who); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}

	silent := func(d time.Duration) {
		f.exec(`UPDATE runs SET pod_seen_at = $1 WHERE id = $2`, f.db.Now().Add(-d), runID)
	}
	silent(40 * time.Second)
	beat(first)
	silent(0)
	if got := credential(second); got != "later" {
		t.Errorf("another pod while the first lives: %s", got)
	}
	silent(time.Minute)
	beat(second)
	if got := credential(second); got != mayWrite {
		t.Errorf("the pod after one that was lost: %s", got)
	}
	if got := credential(first); got != "later" {
		t.Errorf("the lost pod, should it come back: %s", got)
	}
	if got := credential(thief); got != mayRead {
		t.Errorf("the run token alone: %s", got)
	}
}
