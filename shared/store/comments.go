package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"codexk8s.dev/shared/events"
)

// A GitHubView is what GitHub shows of one work item as far as we put it there:
// the status comment and the commit statuses, each with the version of the work
// item that it shows. It is valid inside WithGitHubView only.
type GitHubView struct {
	CommentID int64 // 0 = none yet
	Version   int64 // that the comment shows

	db         *DB
	tx         pgx.Tx
	repository string
	issue      int
}

// ErrLocked says that another instance is at the same work item now.
var ErrLocked = errors.New("another instance is at the same work item")

// lockWait is how long to wait for another instance before ErrLocked.
const lockWait = 5 * time.Second

// WithGitHubView calls act while no other instance is in it for the same work
// item, so that a comment is created once and an older state never lands on top
// of a newer one. The lock is that of the row and is held while act calls GitHub:
// a lease could run out under a slow call, the row's lock can't.
//
// What act has saved is kept even when it returns an error, for it has happened.
func (db *DB) WithGitHubView(ctx context.Context, repository string, issue int, act func(context.Context, *GitHubView) error) error {
	repository = strings.ToLower(repository)
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it is a no-op
	v := &GitHubView{db: db, tx: tx, repository: repository, issue: issue}
	if err := v.lock(ctx); err != nil {
		return err
	}
	err = act(ctx, v)
	if commit := tx.Commit(context.WithoutCancel(ctx)); commit != nil {
		err = errors.Join(err, fmt.Errorf("recording what GitHub shows of %s: %w", events.WorkItem(repository, issue), commit))
	}
	return err
}

func (v *GitHubView) lock(ctx context.Context) error {
	var b pgx.Batch
	b.Queue(fmt.Sprintf(`SET LOCAL lock_timeout = %d`, lockWait.Milliseconds()))
	// Of two first comers one waits here, for the other's row.
	b.Queue(`
		INSERT INTO github_comments (repository, issue)
		VALUES ($1, $2)
		ON CONFLICT DO NOTHING
	`, v.repository, v.issue)
	b.Queue(`
		SELECT coalesce(comment_id, 0), version
		FROM github_comments
		WHERE repository = $1 AND issue = $2
		FOR UPDATE
	`, v.repository, v.issue).QueryRow(func(row pgx.Row) error { return row.Scan(&v.CommentID, &v.Version) })
	err := v.tx.SendBatch(ctx, &b).Close()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("locking what GitHub shows of %s: %w", events.WorkItem(v.repository, v.issue), err)
	}
	return nil
}

// SaveComment records that the comment shows the version; the recorded version never falls.
func (v *GitHubView) SaveComment(ctx context.Context, id, version int64) error {
	_, err := v.tx.Exec(ctx, `
		UPDATE github_comments
		SET comment_id = $3, version = greatest(version, $4), updated_at = $5
		WHERE repository = $1 AND issue = $2
	`, v.repository, v.issue, id, version, v.db.Now())
	if err != nil {
		return fmt.Errorf("recording comment %d: %w", id, err)
	}
	v.CommentID, v.Version = id, max(v.Version, version)
	return nil
}

// StatusVersion is the version that the commit's status of that name shows; 0 when we have set none.
func (v *GitHubView) StatusVersion(ctx context.Context, sha, name string) (version int64, err error) {
	err = v.tx.QueryRow(ctx, `
		SELECT coalesce((SELECT (result ->> 'version')::bigint FROM actions WHERE key = $1), 0)
	`, v.statusKey(sha, name)).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("reading the version of status %s: %w", name, err)
	}
	return version, nil
}

// SaveStatus records that the commit's status of that name shows the version.
func (v *GitHubView) SaveStatus(ctx context.Context, sha, name string, version int64) error {
	_, err := v.tx.Exec(ctx, `
		INSERT INTO actions (key, function, state, result, done_at)
		VALUES ($1, $2, 'done', jsonb_build_object('version', $3::bigint), $4)
		ON CONFLICT (key) DO UPDATE
		SET result = excluded.result, done_at = excluded.done_at
		WHERE (actions.result ->> 'version')::bigint < (excluded.result ->> 'version')::bigint
	`, v.statusKey(sha, name), v.db.function, version, v.db.Now())
	if err != nil {
		return fmt.Errorf("recording status %s: %w", name, err)
	}
	return nil
}

func (v *GitHubView) statusKey(sha, name string) string {
	return strings.Join([]string{"github-status", events.WorkItem(v.repository, v.issue), sha, name}, " ")
}

// PauseGitHub keeps every instance from using the credential until then. A pause
// that is longer already stays.
func (db *DB) PauseGitHub(ctx context.Context, credential string, until time.Time, reason string) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO github_pauses AS p (credential, until, reason)
		VALUES ($1, $2, $3)
		ON CONFLICT (credential) DO UPDATE
		SET until = excluded.until, reason = excluded.reason
		WHERE p.until < excluded.until
	`, credential, until, reason)
	if err != nil {
		return fmt.Errorf("recording the pause of %s: %w", credential, err)
	}
	return nil
}

// GitHubPause is until when the credential must not be used; zero when it may be.
func (db *DB) GitHubPause(ctx context.Context, credential string) (time.Time, error) {
	var until time.Time
	err := db.pool.QueryRow(ctx, `
		SELECT until
		FROM github_pauses
		WHERE credential = $1 AND until > $2
	`, credential, db.Now()).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for a pause of %s: %w", credential, err)
	}
	return until, nil
}
