package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestARunInFlightOutlivesTheUpgradeFromNames: while an agent is at work the database is as a release left it that knew
// names only. The run ends well, its review and its approval are heard, and the numbers are known in the end.
func TestARunInFlightOutlivesTheUpgradeFromNames(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("5 minutes are over"))
	defer cancel()
	s, err := stack.Start(ctx, stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	s.Model.Behave(model.Behaviour{Mode: model.Slow, Delay: 200 * time.Millisecond})
	db, err := pgx.Connect(ctx, s.Platform.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	forgotten := make(chan error, 1)
	go func() { forgotten <- forget(ctx, s, db) }()
	end, err := s.Play(ctx, t.Logf)
	if err := errors.Join(err, <-forgotten); err != nil {
		s.WriteTails(t.Output(), 15)
		t.Fatal(err)
	}
	var states []string
	for _, r := range end.Runs {
		states = append(states, r.State)
	}
	if diff := cmp.Diff([]string{"succeeded", "succeeded"}, states); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	var nameless, items, letters int
	err = db.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM repositories WHERE github_id IS NULL OR name IS NULL) + (SELECT count(*) FROM members WHERE github_id IS NULL AND login = $1),
		       (SELECT count(*) FROM work_items), (SELECT count(*) FROM dead_letters)
	`, stack.Owner).Scan(&nameless, &items, &letters)
	if err != nil || nameless != 0 || items != 1 || letters != 0 {
		t.Errorf("%d are known by name alone, %d work items of 1, %d dead letters (%v)", nameless, items, letters, err)
	}
}

// forget takes the numbers out of the database once an agent is at work, and has timekeeper ask GitHub for them.
func forget(ctx context.Context, s *stack.Stack, db *pgx.Conn) error {
	for {
		var atWork bool
		err := db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'running' AND heartbeat_at IS NOT NULL)`).Scan(&atWork)
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if atWork {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, statement := range []string{
		`UPDATE repositories SET github_id = NULL, name = NULL, named_at = NULL, clone_url = NULL, reconciled_at = NULL`,
		`UPDATE members SET github_id = NULL`,
		`UPDATE work_items SET person_at = NULL, approved = jsonb_build_object('title', title, 'body', body, 'at', now())`,
		`UPDATE runs SET task = NULL, base_commit = ''`,
	} {
		if _, err := db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return s.Platform.Tick(ctx)
}
