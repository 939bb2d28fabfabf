package e2e

import (
	"context"
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/stack"
)

// explained asks the doctor about a story that the platform has just lived through: its acts have their reasons, and a
// replay of the recorded events by the same process starts the same runs.
func explained(ctx context.Context, t *testing.T, s *stack.Stack) {
	t.Helper()
	doctor := newDoctor(ctx, t, s)
	text := doctor("explain", stack.Repository+"#1")
	for _, want := range []string{"run:dev:revise is succeeded", "run requested by owner", "run admitted", "pull request approved by owner", "the installation's", "nothing (nothing_to_abort)"} {
		if !strings.Contains(text, want) {
			t.Errorf("explained without %q:\n%s", want, text)
		}
	}
	// GitHub may not have told yet that the issue has the label for its state.
	await(ctx, t, "the simulated revise takes "+stack.LabelApproved+" off", func() bool {
		text = doctor("simulate", stack.Repository+"#1", "label run:dev:revise by "+stack.Owner)
		return strings.Contains(text, "starts a run of dev (revise)") && strings.Contains(text, "-"+stack.LabelApproved)
	})
	text = doctor("backtest", base64.StdEncoding.EncodeToString([]byte(stage.Default().Text)))
	if !strings.Contains(text, " 0 issues would") || !strings.Contains(text, "2 runs were requested; the changed process starts 2.") || strings.Contains(text, "left out") {
		t.Errorf("the present process replays otherwise than it was recorded:\n%s", text)
	}
}

// newDoctor builds the doctor, and runs it on the platform's database. One that finds a fault may exit as it does.
func newDoctor(ctx context.Context, t *testing.T, s *stack.Stack) func(args ...string) (said string) {
	t.Helper()
	const program = "codexk8s.dev/functions/doctor"
	built, err := build.Images(ctx, "../..", t.TempDir(), []string{program}, false)
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, built["ko://"+program], args...)
		cmd.Env = append(cmd.Environ(), "DATABASE_URL="+s.Platform.DatabaseURL())
		said, err := cmd.CombinedOutput()
		if err != nil && len(args) > 0 {
			t.Errorf("doctor %s: %v", args[0], err)
		}
		return string(said)
	}
}
