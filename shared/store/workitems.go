package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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

func queueRun(b *pgx.Batch, w Wanted, item *stage.Item) {
	scan := func(row pgx.Row) error {
		r, err := scanRun(row)
		if err != nil {
			return optional(err)
		}
		item.Run = &r
		return nil
	}
	if w.Run != "" {
		b.Queue(`SELECT `+runColumns+` FROM runs WHERE id = $1`, w.Run).QueryRow(scan)
		return
	}
	b.Queue(`
		SELECT `+runColumns+`
		FROM runs
		WHERE repository = $1 AND issue = $2
		ORDER BY created_at DESC
		LIMIT 1
	`, w.Repository.Key, w.Issue).QueryRow(scan)
}

const runColumns = `id::text, project_id, stage, revise, role, state, reason, message, engine, model, reasoning,
	requested_by, intent, namespace, attempt, task, review, thread_id, summary, deadline, heartbeat_at, created_at, started_at, finished_at`

func scanRun(row pgx.Row) (stage.Run, error) {
	var r stage.Run
	err := row.Scan(&r.ID, &r.Project, &r.Stage, &r.Revise, &r.Role, &r.State, &r.Reason, &r.Message, &r.Engine, &r.Model, &r.Reasoning,
		&r.RequestedBy, &r.Intent, &r.Namespace, &r.Attempt, &r.Task, &r.Review, &r.ThreadID, &r.Summary,
		zero(&r.Deadline), zero(&r.HeartbeatAt), &r.CreatedAt, zero(&r.StartedAt), zero(&r.FinishedAt))
	return r, err
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

// Places loads a project's settings and its active runs, the input of admission.
// The caller's Step has locked the project.
func (tx *Tx) Places(ctx context.Context, project string) (s stage.Settings, places []stage.Place, err error) {
	var b pgx.Batch
	b.Queue(`SELECT settings FROM projects WHERE id = $1`, project).QueryRow(func(row pgx.Row) error { return row.Scan(&s) })
	b.Queue(`
		SELECT r.id::text, r.project_id, r.stage, r.role, r.state, r.engine, r.namespace, r.attempt, r.created_at,
		       coalesce(b.name, w.full_name), coalesce(b.github_id, 0), w.issue, w.base_branch
		FROM runs r
		JOIN work_items w USING (repository, issue)
		LEFT JOIN repositories b ON b.full_name = w.repository
		WHERE r.project_id = $1 AND r.state IN ('requested', 'queued', 'starting', 'running', 'waiting')
		ORDER BY r.created_at, r.id
	`, project).Query(func(rows pgx.Rows) error {
		places, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (stage.Place, error) {
			var p stage.Place
			err := row.Scan(&p.ID, &p.Project, &p.Stage, &p.Role, &p.State, &p.Engine, &p.Namespace, &p.Attempt, &p.CreatedAt, &p.Repository, &p.RepositoryID, &p.Issue, &p.BaseBranch)
			return p, err
		})
		return err
	})
	err = tx.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return s, nil, fmt.Errorf("project %s: %w", project, ErrNotFound)
	}
	if err != nil {
		return s, nil, fmt.Errorf("loading the runs of project %s: %w", project, err)
	}
	return s, places, nil
}

// Admit moves a waiting run to starting, or to queued when no deadline is given;
// ErrChanged when it was stopped meanwhile.
func (tx *Tx) Admit(ctx context.Context, runID string, deadline time.Time) error {
	next := stage.Starting
	if deadline.IsZero() {
		next = stage.Queued
	}
	ct, err := tx.Exec(ctx, `
		UPDATE runs
		SET state = $2, deadline = $3
		WHERE id = $1 AND state IN ('requested', 'queued')
	`, runID, next, orNull(deadline))
	if err == nil {
		err = mustChange(runID)(ct)
	}
	if err != nil {
		return fmt.Errorf("admitting run %s: %w", runID, err)
	}
	return nil
}

// ReportOf returns the agent's final word on its run as it is stored; ErrNotFound when there is none.
func (tx *Tx) ReportOf(ctx context.Context, runID string) (report []byte, err error) {
	err = tx.QueryRow(ctx, `SELECT convert_to(report::text, 'UTF8') FROM run_reports WHERE run_id = $1`, runID).Scan(&report)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading the report of run %s: %w", runID, err)
	}
	return report, nil
}

func mustChange(runID string) func(pgconnTag) error {
	return func(ct pgconnTag) error {
		if ct.RowsAffected() != 1 {
			return fmt.Errorf("run %s: %w", runID, ErrChanged)
		}
		return nil
	}
}

func optional(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// nullTime scans NULL as the zero time.
type nullTime struct{ to *time.Time }

func zero(t *time.Time) *nullTime { return &nullTime{t} }

// Scan implements sql.Scanner.
func (n *nullTime) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*n.to = time.Time{}
	case time.Time:
		*n.to = v.UTC()
	default:
		return fmt.Errorf("reading a time: got %T", v)
	}
	return nil
}

func noNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
