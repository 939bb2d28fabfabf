package e2e

import (
	"testing"
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
