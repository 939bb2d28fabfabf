package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/stage"
)

// A RunRow is a run as lists show it.
type RunRow struct {
	ID, Project, Repository, Title, Stage, Kind, Role, Engine, Model, Reasoning string

	Issue       int
	State       stage.State
	WaitingFor  string
	Reason      string
	Message     string
	RequestedBy string
	Created     time.Time
	Started     time.Time // zero = it has not
	Finished    time.Time // zero = it has not

	PullRequest    int // of the branch on which it works; 0 = none
	PullRequestURL string
	CostMicroUSD   int64 // as far as prices are known
}

const runRowColumns = `r.id::text, r.project_id, coalesce(b.name, w.full_name), w.title, r.stage,
	coalesce(r.kind, CASE WHEN r.revise THEN 'revise' ELSE 'work' END), r.role, r.engine, r.model, r.reasoning,
	r.issue, r.state, r.waiting_for, r.reason, r.message, r.requested_by, r.created_at, r.started_at, r.finished_at,
	o.number, o.url, coalesce((SELECT sum(c.cost_microusd) FROM llm_calls c WHERE c.run_id = r.id), 0)::bigint`

const runRowJoins = `
		JOIN work_items w ON (w.repository, w.issue) = (r.repository, r.issue)
		LEFT JOIN repositories b ON b.full_name = r.repository` + ownPull

func (r *RunRow) fields() []any {
	return []any{&r.ID, &r.Project, &r.Repository, &r.Title, &r.Stage, &r.Kind, &r.Role, &r.Engine, &r.Model, &r.Reasoning,
		&r.Issue, &r.State, &r.WaitingFor, &r.Reason, &r.Message, &r.RequestedBy, zero(&r.Created), zero(&r.Started), zero(&r.Finished),
		&r.PullRequest, &r.PullRequestURL, &r.CostMicroUSD}
}

// A RunFilter chooses runs; what is empty chooses all.
type RunFilter struct {
	Projects []string // access.Everywhere = all there are
	States   []stage.State
	Stage    string
	Role     string
	Model    string
	By       string // login
	Issue    int    // with Repository, as GitHub spells it, in lower case
	Repository,
	Project string

	// Only runs older than this one, as the last of the page before; the zero values = from the newest on.
	Before   time.Time
	BeforeID string
}

// Runs reads the newest runs that the filter chooses, limit at most. It looks limit times into an index for each
// project and state, however long the history; what else the filter says is looked for among them, run by run.
func (db *DB) Runs(ctx context.Context, f RunFilter, limit int) ([]RunRow, error) {
	before, id := f.Before, f.BeforeID
	if before.IsZero() {
		before, id = db.Now().AddDate(100, 0, 0), uuid.Max.String()
	}
	rows, err := db.pool.Query(ctx, `
		WITH page AS (
			SELECT found.id, found.created_at
			FROM (SELECT id FROM projects WHERE (id = ANY ($1) OR $2 = ANY ($1)) AND ($3 = '' OR id = $3)) p
			CROSS JOIN unnest($4::text[]) AS s (state)
			JOIN LATERAL (
				SELECT r.id, r.created_at
				FROM runs r
				LEFT JOIN repositories b ON b.full_name = r.repository
				WHERE r.project_id = p.id AND r.state = s.state AND (r.created_at, r.id) < ($5, $6)
				  AND ($7 = '' OR r.stage = $7) AND ($8 = '' OR r.role = $8) AND ($9 = '' OR r.model = $9)
				  AND ($10 = '' OR lower(r.requested_by) = lower($10))
				  AND ($11 = '' OR (r.issue = $12 AND ($11 = r.repository OR $11 = lower(b.name))))
				ORDER BY r.created_at DESC, r.id DESC
				LIMIT $13
			) found ON true
			ORDER BY found.created_at DESC, found.id DESC
			LIMIT $13
		)
		SELECT `+runRowColumns+`
		FROM page
		JOIN LATERAL (SELECT * FROM runs x WHERE x.id = page.id LIMIT 1) r ON true`+runRowJoins+`
		ORDER BY page.created_at DESC, page.id DESC
	`, f.Projects, access.Everywhere, f.Project, statesOf(f.States), before, id, f.Stage, f.Role, f.Model, f.By, f.Repository, f.Issue, limit)
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r RunRow, err error) {
		err = row.Scan(r.fields()...)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing runs: %w", err)
	}
	return all, nil
}

func statesOf(chosen []stage.State) []string {
	if len(chosen) == 0 {
		chosen = stage.States
	}
	names := make([]string, len(chosen))
	for i, s := range chosen {
		names[i] = string(s)
	}
	return names
}

// Usage is what the model calls of a run came to.
type Usage struct {
	Calls, Input, Cached, Output int64
	CostMicroUSD                 int64
	Unpriced                     int64 // calls whose price is not known
}

// A RunView is a run as its page shows it.
type RunView struct {
	RunRow
	Key   string // of its work item
	Usage Usage

	Namespace string
	Attempt   int // how many Jobs it had before its present one
	Deadline  time.Time
	Heartbeat time.Time
	Progress  string // the agent's last word about its work
	Summary   string // its final word
	IssueURL  string
	Base      string // branch
	Head      string // commit of the pull request
	Task      *stage.Task
	Grant     *stage.Grant
	Prompt    map[string]any
	Asks      []stage.Ask
	LastLine  int64 // of its log; 0 = none
}

// RunView reads a run; ErrNotFound if there is none, or id is not a UUID.
func (db *DB) RunView(ctx context.Context, id string) (v RunView, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT `+runRowColumns+`, r.repository || '#' || r.issue,
		       u.calls, u.input, u.cached, u.output, u.unpriced,
		       r.namespace, r.attempt, r.deadline, r.heartbeat_at, r.progress, r.summary,
		       w.url, coalesce(nullif(r.base, ''), w.base_branch), o.head_sha, r.task, r.granted, r.prompt, r.asks,
		       coalesce((SELECT max(seq) FROM run_logs WHERE run_id = r.id), 0)
		FROM runs r`+runRowJoins+`
		CROSS JOIN LATERAL (
			SELECT count(*) AS calls, coalesce(sum(input_tokens), 0)::bigint AS input, coalesce(sum(cached_tokens), 0)::bigint AS cached,
			       coalesce(sum(output_tokens), 0)::bigint AS output, count(*) FILTER (WHERE cost_microusd IS NULL) AS unpriced
			FROM llm_calls
			WHERE run_id = r.id
		) u
		WHERE r.id = $1
	`, uuidOrNull(id)).Scan(append(v.fields(), &v.Key,
		&v.Usage.Calls, &v.Usage.Input, &v.Usage.Cached, &v.Usage.Output, &v.Usage.Unpriced,
		&v.Namespace, &v.Attempt, zero(&v.Deadline), zero(&v.Heartbeat), &v.Progress, &v.Summary,
		&v.IssueURL, &v.Base, &v.Head, &v.Task, &v.Grant, &v.Prompt, &v.Asks, &v.LastLine)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, ErrNotFound
	}
	if err != nil {
		return v, fmt.Errorf("reading run %s: %w", id, err)
	}
	v.Usage.CostMicroUSD = v.CostMicroUSD
	return v, nil
}

// RunActs reads what the audit says about a run, the oldest first: the newest limit lines.
func (db *DB) RunActs(ctx context.Context, id string, limit int) ([]Act, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT *
		FROM (SELECT seq, at, actor, action, reason, detail, function
		      FROM audit
		      WHERE run_id = $1 AND run_id IS NOT NULL
		      ORDER BY seq DESC
		      LIMIT $2) newest
		ORDER BY seq
	`, uuidOrNull(id), limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit of run %s: %w", id, err)
	}
	acts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Act, error) {
		a := Act{Run: id}
		err := row.Scan(&a.Seq, zero(&a.At), &a.Actor, &a.Action, &a.Reason, &a.Detail, &a.Function)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the audit of run %s: %w", id, err)
	}
	return acts, nil
}
