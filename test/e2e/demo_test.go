package e2e

import (
	"strings"
	"testing"

	"codexk8s.dev/test/local/stack"
)

// TestAnAgentAsksForLessAfterADenial plays `make demo STORY=approval`, which checks itself.
func TestAnAgentAsksForLessAfterADenial(t *testing.T) {
	ctx, s := start(t, codex(t))
	end, err := s.PlayApproval(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if len(end.Runs) != 1 || end.Runs[0].State != "succeeded" || end.Runs[0].Engine != "codex" {
		t.Errorf("the runs are %+v, want one of Codex that succeeded", end.Runs)
	}
	if end.Greeting != "Bonjour, le monde !\n" {
		t.Errorf("the new file is %q", end.Greeting)
	}
}

// TestAnIdeaGoesThroughAllStages plays `make demo STORY=idea-to-ops`, which checks itself.
func TestAnIdeaGoesThroughAllStages(t *testing.T) {
	ctx, s := start(t, codex(t))
	end, err := s.PlayIdea(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range end.Runs {
		if r.Engine != "codex" {
			t.Errorf("run %+v is not of Codex", r)
		}
	}
	if len(end.Documents) != 37 {
		t.Errorf("there are %d documents", len(end.Documents))
	}
}

// TestARunReachesItsBudgetAndGoesOn plays `make demo STORY=budget`, which checks itself.
func TestARunReachesItsBudgetAndGoesOn(t *testing.T) {
	o := codex(t)
	o.Budgets = &stack.DemoBudget
	ctx, s := start(t, o)
	end, err := s.PlayBudget(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if len(end.Runs) != 1 || end.Runs[0].State != "succeeded" || end.Runs[0].Engine != "codex" {
		t.Errorf("the runs are %+v, want one of Codex that succeeded", end.Runs)
	}
	if n := strings.Count(end.Diff, "+And then somebody said hello"); n < 350 {
		t.Errorf("the page has %d lines of the 24 KiB", n)
	}
}
