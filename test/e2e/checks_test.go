package e2e

import (
	"strings"
	"testing"

	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestARequiredCheckIsPutRight: the repository requires a check of what goes into main. The run waits for it without a
// pod; a red one goes back to the same session, and the run has succeeded when it is green.
func TestARequiredCheckIsPutRight(t *testing.T) {
	ctx, s := start(t, codex(t))
	w := gates{t: t, ctx: ctx, s: s, sql: pgtest.Open(t, s.Platform.DatabaseURL())}
	w.must(s.GitHub.RequireChecks(stack.Repository, "main", "build"))
	issue := w.issue("Let customers search the shop")
	waits := func(attempt string) {
		t.Helper()
		await(ctx, t, "the run to wait for the check", func() bool {
			state := w.sql.Lines(`SELECT state || ' ' || waiting_for || ' ' || job_over || ' ' || attempt FROM runs WHERE issue = $1`, issue)
			return len(state) == 1 && state[0] == "waiting checks true "+attempt
		})
	}
	w.label(issue, "run:dev")
	waits("0")
	w.comment(issue, "waiting for the required checks `build`")
	first := w.pull(issue, "").Pull.HeadSHA
	w.must(s.GitHub.Check(stack.Repository, first, "build", "failure", "2 tests failed"))

	waits("1")
	second := w.pull(issue, "")
	if second.Pull.HeadSHA == first {
		t.Fatal("the agent has changed nothing")
	}
	w.comment(issue, "The work went back to the agent", "the required check `build` has failed: `failure: 2 tests failed`")
	w.must(s.GitHub.Check(stack.Repository, second.Pull.HeadSHA, "build", "success", ""))
	w.ended(issue, 1, "dev succeeded ")
	if text, err := s.GitHub.File(stack.Repository, second.Pull.Head, "search-in-the-shop.md"); err != nil || !strings.Contains(text, "has failed: `failure: 2 tests failed`") {
		t.Errorf("the agent was told nothing of the check: %v\n%s", err, text)
	}
	if log := strings.Join(w.sql.Lines(`SELECT l.line FROM run_logs l JOIN runs r ON r.id = l.run_id WHERE r.issue = $1 ORDER BY l.seq`, issue), "\n"); !strings.Contains(log, "Resuming session") {
		t.Errorf("it was another session:\n%s", log)
	}
}
