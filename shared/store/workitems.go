package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/stage"
)

// ErrChanged says that a run, or who a name is, was changed by somebody else between
// load and save; the transaction rolls back and the event is delivered again.
var ErrChanged = errors.New("it was changed meanwhile by somebody else")

// Wanted is what of a work item a decision needs.
type Wanted struct {
	Repository Repository
	Issue      int
	Run        string  // the id of a run; "" = the newest
	Sender     Account // who caused the event; zero where nobody did
	Intent     string  // whether it was decided before
}

// Item loads the work item with the run asked for, its project, and the role of
// the sender. Unknown rows leave zero values: the item of a first event has only
// its key. The caller's Step has locked it, and SeeAccount has seen the sender.
func (tx *Tx) Item(ctx context.Context, w Wanted) (stage.Item, error) {
	item := stage.Item{RepositoryKey: w.Repository.Key, RepositoryID: w.Repository.ID, Issue: w.Issue, Repository: w.Repository.Name, NameTaken: w.Repository.Taken}
	var b pgx.Batch
	b.Queue(`
		SELECT title, body, url, base_branch, clone_url, labels, closed, github_updated_at,
		       pull_request, pull_request_url, head_sha, pull, person_at, acted_at, answered, note, version, approved
		FROM work_items
		WHERE repository = $1 AND issue = $2
	`, w.Repository.Key, w.Issue).QueryRow(func(row pgx.Row) error {
		return optional(row.Scan(&item.Title, &item.Body, &item.URL, &item.BaseBranch, &item.CloneURL,
			&item.Labels, &item.Closed, zero(&item.UpdatedAt), &item.PullRequest, &item.PullRequestURL, &item.HeadSHA,
			&item.Pull, zero(&item.PersonAt), zero(&item.ActedAt), &item.Answered, &item.Note, &item.Version, &item.Approved))
	})
	queueProject(&b, w, &item)
	b.Queue(`SELECT EXISTS (SELECT 1 FROM runs WHERE intent = $1)`, w.Intent).QueryRow(func(row pgx.Row) error {
		return row.Scan(&item.IntentKnown)
	})
	queueRun(&b, w, &item)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return item, fmt.Errorf("loading %s: %w", item.Key(), err)
	}
	return item, nil
}

// queueProject asks for the repository's project with the sender's role in it: that of the account, and by its login
// only where GitHub's number is known on neither side.
func queueProject(b *pgx.Batch, w Wanted, item *stage.Item) {
	b.Queue(`
		SELECT p.id, p.settings,
		       coalesce((SELECT m.role
		                 FROM members m
		                 WHERE (m.github_id = $2 OR $2 = 0 AND m.login = $3 AND m.github_id IS NULL)
		                   AND m.project_id IN (p.id, '*')
		                 ORDER BY array_position($4, m.role)
		                 LIMIT 1), ''),
		       coalesce((SELECT m.github_id
		                 FROM members m
		                 WHERE m.login = $3 AND m.github_id <> $2 AND m.project_id IN (p.id, '*')
		                 LIMIT 1), 0)
		FROM repositories r
		JOIN projects p ON p.id = r.project_id
		WHERE r.full_name = $1
	`, w.Repository.Key, w.Sender.ID, strings.ToLower(w.Sender.Login), access.Roles).QueryRow(func(row pgx.Row) error {
		var p stage.Project
		if err := row.Scan(&p.ID, &p.Settings, &p.SenderRole, &p.LoginTaken); err != nil {
			return optional(err)
		}
		item.Project = &p
		return nil
	})
}

// SaveItem writes the work item and its run back. was is the state of the run as
// it was loaded, "" for a new run; ErrChanged when it is no longer that.
func (tx *Tx) SaveItem(ctx context.Context, i stage.Item, was stage.State) error {
	var b pgx.Batch
	repository := i.RepositoryKey
	b.Queue(`
		INSERT INTO work_items (repository, issue, full_name, title, body, url, base_branch, clone_url, labels, closed,
		                        pull_request, pull_request_url, head_sha, version, github_updated_at, pull, acted_at, answered, note, approved, person_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (repository, issue) DO UPDATE
		SET full_name = excluded.full_name, title = excluded.title, body = excluded.body, url = excluded.url,
		    base_branch = excluded.base_branch, clone_url = excluded.clone_url,
		    labels = excluded.labels, closed = excluded.closed,
		    pull_request = excluded.pull_request, pull_request_url = excluded.pull_request_url,
		    head_sha = excluded.head_sha, version = excluded.version, github_updated_at = excluded.github_updated_at,
		    pull = excluded.pull, acted_at = excluded.acted_at, answered = excluded.answered, note = excluded.note,
		    approved = excluded.approved, person_at = excluded.person_at
	`, repository, i.Issue, i.Repository, i.Title, i.Body, i.URL, i.BaseBranch, i.CloneURL, noNil(i.Labels), i.Closed,
		i.PullRequest, i.PullRequestURL, i.HeadSHA, i.Version, orNull(i.UpdatedAt), i.Pull, orNull(i.ActedAt), noNil(i.Answered), i.Note, i.Approved, orNull(i.PersonAt))
	if r := i.Run; r != nil && was == "" {
		b.Queue(`
			INSERT INTO runs (id, repository, issue, project_id, stage, revise, role, state, engine, model, reasoning,
			                  requested_by, intent, namespace, task, review, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		`, r.ID, repository, i.Issue, r.Project, r.Stage, r.Revise, r.Role, r.State, r.Engine, r.Model, r.Reasoning,
			r.RequestedBy, r.Intent, r.Namespace, r.Task, r.Review, r.CreatedAt)
	} else if r != nil {
		b.Queue(`
			UPDATE runs
			SET state = $3, reason = $4, message = $5, namespace = $6, thread_id = $7, summary = $8,
			    started_at = $9, finished_at = $10, attempt = $11, task = $12
			WHERE id = $1 AND state = $2
		`, r.ID, was, r.State, r.Reason, r.Message, r.Namespace, r.ThreadID, r.Summary, orNull(r.StartedAt), orNull(r.FinishedAt), r.Attempt, r.Task).
			Exec(mustChange(r.ID))
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("saving %s: %w", i.Key(), err)
	}
	return nil
}

// IssueOfPull returns the issue whose pull request that is; ErrNotFound when it is none of ours. key is the repository's.
func (db *DB) IssueOfPull(ctx context.Context, key string, pull int) (issue int, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT issue
		FROM work_items
		WHERE repository = $1 AND pull_request = $2 AND pull_request > 0
	`, key, pull).Scan(&issue)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("pull request %s#%d: %w", key, pull, ErrNotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the issue of pull request %s#%d: %w", key, pull, err)
	}
	return issue, nil
}
