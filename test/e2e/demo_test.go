package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"codexk8s.dev/test/local/stack"
)

// TestAnAgentAsksForLessAfterADenial plays `make demo STORY=approval`, which checks itself.
func TestAnAgentAsksForLessAfterADenial(t *testing.T) {
	codex, err := stack.FindCodex()
	if err != nil || codex == "" {
		t.Fatalf("there is no Codex CLI: run make tools (%v)", err)
	}
	s, err := stack.Start(t.Context(), stack.Options{Codex: codex})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("5 minutes are over"))
	defer cancel()
	end, err := s.PlayApproval(ctx, t.Logf)
	if err != nil {
		s.WriteTails(t.Output(), 15)
		t.Fatal(err)
	}
	if len(end.Runs) != 1 || end.Runs[0].State != "succeeded" || end.Runs[0].Engine != "codex" {
		t.Errorf("the runs are %+v, want one of Codex that succeeded", end.Runs)
	}
	if end.Greeting != "Bonjour, le monde !\n" {
		t.Errorf("the new file is %q", end.Greeting)
	}
}
