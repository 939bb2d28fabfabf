package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentAsksAndAClickAnswers: Codex asks by its tool, the run waits without a pod, somebody clicks an answer in a
// chat, and the same conversation goes on with it to its pull request.
func TestAnAgentAsksAndAClickAnswers(t *testing.T) {
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
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, "One more language.\n\nAsk first: Which words? Bonjour | Salut", stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, stack.LabelDev, stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	run := func() string {
		return strings.Join(sql.Lines(`SELECT concat_ws(' ', state, nullif(waiting_for, ''), attempt) FROM runs WHERE issue = $1`, issue), ", ")
	}
	defer func() {
		if t.Failed() {
			t.Logf("the run is %s", run())
			s.WriteTails(t.Output(), 25)
		}
	}()
	var post fakechat.Post
	await(ctx, t, "the question in Telegram", func() bool {
		all := s.Chat.Posts(fakechat.Telegram)
		if len(all) > 0 {
			post = all[0]
		}
		return len(all) > 0
	})
	await(ctx, t, "the run to wait, its Job over", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1 AND state = 'waiting' AND job_over`, issue) == 1
	})
	if !strings.Contains(post.Text, "Which words?") || len(s.GitHub.PullRequests(stack.Repository)) != 0 {
		t.Fatalf("before the answer, Telegram shows %q and there are %d pull requests", post.Text, len(s.GitHub.PullRequests(stack.Repository)))
	}
	if _, err := s.Chat.Click(ctx, post, "Salut", stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the pull request", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1 AND state = 'succeeded'`, issue) == 1
	})
	if diff := cmp.Diff("succeeded 1", run()); diff != "" {
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
