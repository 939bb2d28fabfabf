package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// start starts the platform, for five minutes at most. A test that fails shows the ends of the functions' logs.
func start(t *testing.T, o stack.Options) (context.Context, *stack.Stack) {
	t.Helper()
	s, err := stack.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("5 minutes are over"))
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			s.WriteTails(t.Output(), 25)
		}
		s.Stop()
	})
	return ctx, s
}

// codex has agents run the real Codex CLI.
func codex(t *testing.T) stack.Options {
	t.Helper()
	path, err := stack.FindCodex()
	if err != nil || path == "" {
		t.Fatalf("there is no Codex CLI: run make tools (%v)", err)
	}
	return stack.Options{Codex: path}
}

// asked labels a new issue, and waits until its agent has asked people in Telegram and its run waits without a Job.
func asked(ctx context.Context, t *testing.T, s *stack.Stack, sql *pgtest.DB, body string) (issue int, post fakechat.Post) {
	t.Helper()
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, body, stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, stack.LabelDev, stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the request in Telegram", func() bool {
		all := s.Chat.Posts(fakechat.Telegram)
		if len(all) > 0 {
			post = all[0]
		}
		return len(all) > 0
	})
	await(ctx, t, "the run to wait, its Job over", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1 AND state = 'waiting' AND job_over`, issue) == 1
	})
	return issue, post
}

func await(ctx context.Context, t *testing.T, what string, there func() bool) {
	t.Helper()
	for !there() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
