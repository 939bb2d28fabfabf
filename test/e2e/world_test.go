package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/stage"
	fakechat "codexk8s.dev/test/fakes/chat"
	fakegithub "codexk8s.dev/test/fakes/github"
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

// label opens an issue and labels it for an agent.
func label(t *testing.T, s *stack.Stack, body string) (issue int) {
	t.Helper()
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, body, stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, stack.LabelDev, stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	return issue
}

// waits returns when the issue's run waits without a Job.
func waits(ctx context.Context, t *testing.T, sql *pgtest.DB, issue int) {
	t.Helper()
	await(ctx, t, "the run to wait, its Job over", func() bool {
		return pgtest.One[int](sql, `SELECT count(*) FROM runs WHERE issue = $1 AND state = 'waiting' AND job_over`, issue) == 1
	})
}

// asked labels a new issue, and waits until its agent has asked people in Telegram and its run waits without a Job.
func asked(ctx context.Context, t *testing.T, s *stack.Stack, sql *pgtest.DB, body string) (issue int, post fakechat.Post) {
	t.Helper()
	issue = label(t, s, body)
	await(ctx, t, "the request in Telegram", func() bool {
		all := s.Chat.Posts(fakechat.Telegram)
		if len(all) > 0 {
			post = all[0]
		}
		return len(all) > 0
	})
	waits(ctx, t, sql, issue)
	return issue, post
}

// ends returns when the issue's run is over.
func ends(ctx context.Context, t *testing.T, sql *pgtest.DB, issue int) {
	t.Helper()
	await(ctx, t, "the end of the run", func() bool {
		return stage.State(pgtest.One[string](sql, `SELECT state FROM runs WHERE issue = $1`, issue)).Final()
	})
}

// postsWith are the messages of a chat that hold the words.
func postsWith(s *stack.Stack, channel, words string) []fakechat.Post {
	return slices.DeleteFunc(s.Chat.Posts(channel), func(p fakechat.Post) bool { return !strings.Contains(p.Text, words) })
}

// holds says of comments whether they hold the words.
func holds(words string) func(fakegithub.Comment) bool {
	return func(c fakegithub.Comment) bool { return strings.Contains(c.Body, words) }
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
