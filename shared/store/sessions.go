package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// A Session is the agent's conversation about one work item in one stage with one engine. Who reviews has another one
// than who made what is reviewed. All discussions of a work item are one conversation.
type Session struct {
	Version  int64 // 0 = there is none
	ThreadID string
	SHA256   []byte // of Data
	Data     []byte
	RunID    string // the run that saved it
}

// ErrConflict says that somebody else was faster: the stored version is not the expected one.
var ErrConflict = errors.New("it was changed meanwhile")

// topic is what the run's conversation is about. No stage has a blank in its name.
func topic(run AgentRun) string {
	switch run.Kind {
	case events.KindReview:
		return run.Stage + " review"
	case events.KindDiscussion:
		return "the issue"
	}
	return run.Stage
}

// LoadSession reads the session of the run's work item, stage and engine, whichever run saved it; the zero Session if
// there is none.
func (db *DB) LoadSession(ctx context.Context, run AgentRun) (Session, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT version, thread_id, sha256, data, run_id::text AS run_id
		FROM conversations
		WHERE repository = $1 AND issue = $2 AND stage = $3 AND engine = $4
	`, run.Key, run.Issue, topic(run), run.Engine)
	if err != nil {
		return Session{}, fmt.Errorf("loading the session: %w", err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Session])
	if errors.Is(err, pgx.ErrNoRows) {
		return Session{}, nil
	}
	if err != nil {
		return Session{}, fmt.Errorf("loading the session: %w", err)
	}
	return s, nil
}

// SaveSession replaces the session if its version is still the expected one (0 = there is none yet), and returns the
// new version. Otherwise ErrConflict, unless exactly this was saved before and the answer got lost.
func (db *DB) SaveSession(ctx context.Context, run AgentRun, expected int64, s Session) (int64, error) {
	var version int64
	err := db.pool.QueryRow(ctx, `
		WITH saved AS (
			INSERT INTO conversations AS c (repository, issue, stage, engine, version, thread_id, sha256, data, run_id, saved_at)
			SELECT $1, $2, $3, $4, $5::bigint + 1, $6, $7, $8, $9, $10
			WHERE $5::bigint = 0 OR EXISTS (SELECT 1 FROM conversations WHERE repository = $1 AND issue = $2 AND stage = $3 AND engine = $4)
			ON CONFLICT (repository, issue, stage, engine) DO UPDATE
			SET version = c.version + 1, thread_id = excluded.thread_id, sha256 = excluded.sha256,
			    data = excluded.data, run_id = excluded.run_id, saved_at = excluded.saved_at
			WHERE c.version = $5
			RETURNING *
		), for_the_release_before AS (
			INSERT INTO sessions (repository, issue, engine, version, thread_id, sha256, data, run_id, saved_at)
			SELECT repository, issue, engine, version, thread_id, sha256, data, run_id, saved_at
			FROM saved
			WHERE $11 IN ('work', 'revise') -- that release knows of no others
			ON CONFLICT (repository, issue, engine) DO UPDATE
			SET version = excluded.version, thread_id = excluded.thread_id, sha256 = excluded.sha256,
			    data = excluded.data, run_id = excluded.run_id, saved_at = excluded.saved_at
		)
		SELECT version
		FROM saved
	`, run.Key, run.Issue, topic(run), run.Engine, expected, s.ThreadID, s.SHA256, s.Data, run.ID, db.Now(), run.Kind).Scan(&version)
	if err == nil {
		return version, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("saving the session: %w", err)
	}
	stored, err := db.LoadSession(ctx, run)
	if err != nil {
		return 0, err
	}
	if stored.Version == expected+1 && stored.RunID == run.ID && bytes.Equal(stored.SHA256, s.SHA256) {
		return stored.Version, nil
	}
	return 0, fmt.Errorf("saving the session: version %d is stored, not %d: %w", stored.Version, expected, ErrConflict)
}
