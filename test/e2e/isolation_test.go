package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/stack"
)

// TestARunThatIsNotIsolatedFailsClosed: agents are processes here, in the machine's own network, so the probe finds
// what no agent may reach. The agent never starts.
func TestARunThatIsNotIsolatedFailsClosed(t *testing.T) {
	s, err := stack.Start(t.Context(), stack.Options{Change: func(o *local.Options) {
		o.Env["agent-launcher"]["ISOLATION_PROBE"] = "required"
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Minute, errors.New("3 minutes are over"))
	defer cancel()
	db, err := pgx.Connect(ctx, s.Platform.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	if err := s.GitHub.AddLabel(stack.Repository, stack.Issue, stack.LabelDev, stack.Owner); err != nil {
		t.Fatal(err)
	}
	var state, reason, message string
	for state != "failed" {
		time.Sleep(200 * time.Millisecond)
		err := db.QueryRow(ctx, `SELECT state, reason, message FROM runs`).Scan(&state, &reason, &message)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) || state == "succeeded" {
			s.WriteTails(t.Output(), 15)
			t.Fatalf("the run is %s %s: %v", state, reason, err)
		}
	}
	if reason != "isolation_broken" {
		t.Errorf("the run failed for %s: %s", reason, message)
	}
	if pulls := s.GitHub.PullRequests(stack.Repository); len(pulls) != 0 {
		t.Errorf("an agent worked: %+v", pulls)
	}
	var heard int
	if err := db.QueryRow(ctx, `SELECT (SELECT count(*) FROM run_logs) + (SELECT count(*) FROM llm_calls)`).Scan(&heard); err != nil || heard != 0 {
		t.Errorf("an agent was heard of %d times (%v)", heard, err)
	}
	for {
		comments := s.GitHub.Comments(stack.Repository, stack.Issue)
		if len(comments) == 1 && strings.Contains(comments[0].Body, "isolation_broken") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the issue's comments are %+v", comments)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
