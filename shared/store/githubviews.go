package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// A GitHubView is what we have made GitHub show of one work item: the status comment and other named parts, each with
// the version of the work item that it shows. Only one caller can hold it, so that a comment is created once and an
// older state never overwrites a newer one.
//
// The lock is the row's and is held while GitHub is called: a lease could expire during a slow call, a row's lock
// can't. It takes a connection of the pool, so a caller that holds a view must ask the DB for nothing else.
type GitHubView struct {
	CommentID int64 // 0 = none yet

	comment    int64            // the version that the comment shows
	parts      map[string]int64 // the version that each other part shows
	db         *DB
	tx         pgx.Tx
	repository string
	issue      int
}

// ErrLocked says that another instance holds the lock.
var ErrLocked = errors.New("another instance is at the same work item")

// lockWait is how long to wait for another instance before ErrLocked.
const lockWait = 5 * time.Second

// GitHubView locks the work item's view; ErrLocked if that takes too long. Close unlocks it. repository is the key.
func (db *DB) GitHubView(ctx context.Context, repository string, issue int) (*GitHubView, error) {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to Postgres: %w", err)
	}
	v := &GitHubView{db: db, tx: tx, repository: repository, issue: issue}
	if err := v.lock(ctx); err != nil {
		return nil, errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	return v, nil
}

func (v *GitHubView) lock(ctx context.Context) error {
	var b pgx.Batch
	// If two instances insert the row at once, one waits here for the other.
	b.Queue(`
		INSERT INTO github_comments (repository, issue)
		VALUES ($1, $2)
		ON CONFLICT DO NOTHING
	`, v.repository, v.issue)
	b.Queue(`
		SELECT coalesce(comment_id, 0), version, parts
		FROM github_comments
		WHERE repository = $1 AND issue = $2
		FOR UPDATE
	`, v.repository, v.issue).QueryRow(func(row pgx.Row) error { return row.Scan(&v.CommentID, &v.comment, &v.parts) })
	err := alone(ctx, v.tx, &b)
	if err != nil && !errors.Is(err, ErrLocked) {
		return fmt.Errorf("locking what GitHub shows of %s: %w", events.WorkItem(v.repository, v.issue), err)
	}
	return err
}

// alone sends a batch that waits for a row while another instance holds it, for lockWait at most, then ErrLocked.
// Giving up closes the connection, so that Postgres stops waiting too.
func alone(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error {
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	err := tx.SendBatch(wait, b).Close()
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return ErrLocked
	}
	return err
}

// Close commits what was saved and unlocks the view.
func (v *GitHubView) Close(ctx context.Context) error {
	if err := v.tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("recording what GitHub shows of %s: %w", events.WorkItem(v.repository, v.issue), err)
	}
	return nil
}

// Shows reports whether the part shows the version or a newer one. Version 0 is unversioned and always written.
func (v *GitHubView) Shows(part string, version int64) bool {
	return version > 0 && v.parts[part] >= version
}

// Note is the comment of the note with that key; 0 = none yet.
func (v *GitHubView) Note(key string) int64 { return v.parts["id of note "+key] }

// SaveNote records that the note's comment shows the version.
func (v *GitHubView) SaveNote(ctx context.Context, key string, id, version int64) error {
	v.parts["id of note "+key] = id
	return v.Save(ctx, "note "+key, version)
}

// ShowsComment is Shows for the status comment.
func (v *GitHubView) ShowsComment(version int64) bool {
	return v.CommentID != 0 && version > 0 && v.comment >= version
}

// Save records that the part shows the version; the recorded version never falls.
func (v *GitHubView) Save(ctx context.Context, part string, version int64) error {
	if v.parts[part] >= version {
		return nil
	}
	v.parts[part] = version
	_, err := v.tx.Exec(context.WithoutCancel(ctx), `
		UPDATE github_comments
		SET parts = $3, updated_at = $4
		WHERE repository = $1 AND issue = $2
	`, v.repository, v.issue, v.parts, v.db.Now())
	if err != nil {
		return fmt.Errorf("recording the %s: %w", part, err)
	}
	return nil
}

// SaveComment records that the comment shows the version; the recorded version never falls.
func (v *GitHubView) SaveComment(ctx context.Context, id, version int64) error {
	v.CommentID, v.comment = id, max(v.comment, version)
	_, err := v.tx.Exec(context.WithoutCancel(ctx), `
		UPDATE github_comments
		SET comment_id = $3, version = $4, updated_at = $5
		WHERE repository = $1 AND issue = $2
	`, v.repository, v.issue, id, v.comment, v.db.Now())
	if err != nil {
		return fmt.Errorf("recording comment %d: %w", id, err)
	}
	return nil
}
