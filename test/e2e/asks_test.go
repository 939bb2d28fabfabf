package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentAsksAndAClickAnswers: Codex asks by its tool, the run waits without a pod, somebody clicks an answer in a
// chat, and the same conversation goes on with it to its pull request.
func TestAnAgentAsksAndAClickAnswers(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	issue, post := asked(ctx, t, s, sql, "One more language.\n\nAsk first: Which words? Bonjour | Salut")
	if !strings.Contains(post.Text, "Which words?") || len(s.GitHub.PullRequests(stack.Repository)) != 0 {
		t.Fatalf("before the answer, Telegram shows %q and there are %d pull requests", post.Text, len(s.GitHub.PullRequests(stack.Repository)))
	}
	if _, err := s.Chat.Click(ctx, post, "Salut", stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the pull request", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1 AND state = 'succeeded'`, issue) == 1
	})
	if diff := cmp.Diff([]string{"succeeded 1"}, sql.Lines(`SELECT state || ' ' || attempt FROM runs WHERE issue = $1`, issue)); diff != "" {
		t.Errorf("one run with two Jobs (-want +got):\n%s", diff)
	}
	pulls := s.GitHub.PullRequests(stack.Repository)
	if len(pulls) != 1 {
		t.Fatalf("there are %d pull requests", len(pulls))
	}
	greeting, err := s.GitHub.File(stack.Repository, fmt.Sprintf("codexk8s/issue-%d", issue), "greetings/french.txt")
	if err != nil || !strings.Contains(greeting, "Salut") {
		t.Errorf("the new file is %q, which the answer should be seen in: %v", greeting, err)
	}
	if all := s.Chat.Posts(fakechat.Telegram); len(all) != 1 || len(all[0].Buttons) != 0 || !strings.Contains(all[0].Text, "Salut") {
		t.Errorf("Telegram shows %+v", all)
	}
}
