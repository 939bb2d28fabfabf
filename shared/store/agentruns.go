package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// An AgentRun is a run as its agent sees it: what to do, in the words of the request.
type AgentRun struct {
	ID           string `db:"id"` // UUID
	State        string
	Reason       string
	Namespace    string
	Project      string `db:"project_id"`
	Key          string `db:"repository"` // of the repository, see Repository
	Repository   string `db:"full_name"`  // "owner/name" as GitHub spells it now
	RepositoryID int64  `db:"github_id"`  // GitHub's number; 0 = not known
	Issue        int
	Title        string
	Body         string
	URL          string
	CloneURL     string
	BaseBranch   string // that its pull request is to be merged into
	Branch       string // where it works
	BaseCommit   string `db:"base_commit"` // of the base branch, on which the run is based; "" = not known yet
	PullRequest  int    // 0 = none known
	Stage        string
	Kind         events.Kind
	Role         string
	Attempt      int // how many Jobs it had before this one
	Exit         stage.Exit
	Engine       string
	Model        string
	Reasoning    string
	Deadline     time.Time      // zero = none
	Review       *stage.Review  // what a revise answers; nil = none
	Talk         []stage.Remark // what a turn of a discussion answers; else what was discussed before
	// Instructions are the project's own rules for agents, from its settings.
	Instructions string
	Labels       []string // of the issue, as last told by GitHub
	PullLabels   []string // of the pull request
	// Grant is what it may do; nil for a run of the previous release, which may do what process and project say now.
	Grant         *stage.Grant
	HeadSHA       string `db:"head_sha"`        // of the pull request's branch; "" = none is known
	RequestedBy   string `db:"requested_by"`    // GitHub login
	RequestedByID int64  `db:"requested_by_id"` // GitHub's number of the account; 0 = not known
	// Asks are what it asked people, as far as stage-router knows, oldest first.
	Asks []stage.Ask
	// HostedTools are the tools that it may let OpenAI run, by type.
	HostedTools []string
	Prompted    bool // what its task was written from is known
	// HiddenText says what happens to text that people do not see: project.MarkHidden or DropHidden; "" = the former.
	HiddenText string
	// Bounds are the budgets that it is under, as of its admission.
	Bounds           []budget.Bound
	Progress         string // what its agent has said of its work
	ReservedTokens   int64  `db:"reserved_tokens"`   // up to where its spending is reserved
	ReservedMicroUSD int64  `db:"reserved_microusd"` // likewise
	// ModelUntil is until when its model's provider is not to be asked; nil = it may be. ModelTries is how often in a row
	// it has said so, ModelReason why.
	ModelUntil  *time.Time `db:"model_until"`
	ModelTries  int        `db:"model_tries"`
	ModelReason string     `db:"model_reason"`
	// FallbackUntil is the same of the model that may stand in for it (Grant.Fallback). Limited is what was told of a
	// limit last.
	FallbackUntil *time.Time `db:"fallback_until"`
	FallbackTries int        `db:"fallback_tries"`
	Limited       *events.LLMLimited
}

// Ref names the run in events.
func (r AgentRun) Ref() events.RunRef {
	return events.RunRef{RunID: r.ID, Project: r.Project, Repository: r.Repository, RepositoryID: r.RepositoryID, Issue: r.Issue}
}

// AgentRun reads a run for its agent; ErrNotFound when there is none, or id is not a UUID.
func (db *DB) AgentRun(ctx context.Context, id string) (AgentRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT r.id::text AS id, r.attempt, r.exit, r.state, r.reason, r.namespace, r.project_id, r.repository, r.issue,
		       coalesce(b.name, w.full_name) AS full_name, coalesce(b.github_id, 0) AS github_id, coalesce(b.clone_url, w.clone_url) AS clone_url,
		       coalesce(r.task ->> 'title', w.title) AS title, coalesce(r.task ->> 'body', w.body) AS body,
		       w.url, coalesce(nullif(r.base, ''), w.base_branch) AS base_branch, r.base_commit, o.branch, o.number AS pull_request,
		       r.stage, coalesce(r.kind, CASE WHEN r.revise THEN 'revise' ELSE 'work' END) AS kind, r.role, r.engine, r.model, r.reasoning,
		       coalesce(r.deadline, '0001-01-01Z'::timestamptz) AS deadline, r.review, r.talk,
		       coalesce(p.settings ->> 'instructions', '') AS instructions,
		       coalesce(p.settings ->> 'hiddenText', '') AS hidden_text, r.prompt IS NOT NULL AS prompted,
		       w.labels, ARRAY(SELECT jsonb_array_elements_text(coalesce(nullif(o.pull -> 'labels', 'null'), '[]'))) AS pull_labels,
		       r.granted AS grant, r.asks, r.bounds, r.progress, m.until AS model_until, coalesce(m.tries, 0) AS model_tries, coalesce(m.reason, '') AS model_reason,
		       f.until AS fallback_until, coalesce(f.tries, 0) AS fallback_tries, r.limited,
		       r.reserved_tokens, r.reserved_microusd, o.head_sha, r.requested_by,
		       coalesce(r.requested_by_id, (SELECT m.github_id
		                                    FROM members m
		                                    WHERE m.login = lower(r.requested_by) AND m.project_id IN (r.project_id, '*')
		                                    LIMIT 1), 0) AS requested_by_id,
		       ARRAY(SELECT jsonb_array_elements_text(coalesce(r.granted -> 'hostedTools', p.settings -> 'hostedTools', '[]'))) AS hosted_tools
		FROM runs r
		JOIN work_items w USING (repository, issue)
		JOIN projects p ON p.id = r.project_id
		LEFT JOIN model_pauses m ON m.model = r.model
		LEFT JOIN model_pauses f ON f.model = r.granted ->> 'fallback'
		LEFT JOIN repositories b ON b.full_name = r.repository`+ownPull+`
		WHERE r.id = $1
	`, uuidOrNull(id))
	if err != nil {
		return AgentRun{}, fmt.Errorf("reading run %s: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[AgentRun])
	if errors.Is(err, pgx.ErrNoRows) {
		return AgentRun{}, fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return AgentRun{}, fmt.Errorf("reading run %s: %w", id, err)
	}
	r.Deadline = r.Deadline.UTC()
	return r, nil
}

// Heartbeat records that the run's agent is alive.
func (db *DB) Heartbeat(ctx context.Context, runID string) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET heartbeat_at = $2
		WHERE id = $1
	`, runID, db.Now())
	if err != nil {
		return fmt.Errorf("noting the heartbeat of run %s: %w", runID, err)
	}
	return nil
}

// podSilence is how long a pod that claimed a run must be silent before another may claim it: three heartbeats.
const podSilence = 45 * time.Second

// ClaimRun gives the run to the pod whose secret has that hash, or records that the pod is alive if it has the run. It
// reports false while another pod has it.
func (db *DB) ClaimRun(ctx context.Context, runID string, pod []byte) (bool, error) {
	now := db.Now()
	tag, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET pod = $2, pod_seen_at = $3
		WHERE id = $1 AND (pod IS NULL OR pod = $2 OR pod_seen_at < $4)
	`, runID, pod, now, now.Add(-podSilence))
	if err != nil {
		return false, fmt.Errorf("claiming run %s for a pod: %w", runID, err)
	}
	return tag.RowsAffected() > 0, nil
}

// RunClaimed says whether a pod has ever claimed the run.
func (db *DB) RunClaimed(ctx context.Context, runID string) (claimed bool, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT pod IS NOT NULL
		FROM runs
		WHERE id = $1
	`, runID).Scan(&claimed)
	if err != nil {
		return false, fmt.Errorf("reading whose pod run %s is: %w", runID, err)
	}
	return claimed, nil
}

// KeepBase records the commit that the run is based on, once and for all: the one that its agent's pod reports (pod),
// or the one looked up before any pod began. It reports whether that is now its commit.
func (db *DB) KeepBase(ctx context.Context, runID, commit string, pod bool) (bool, error) {
	tag, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET base_commit = $2
		WHERE id = $1 AND base_commit = '' AND finished_at IS NULL AND ($3 OR pod IS NULL)
	`, uuidOrNull(runID), commit, pod)
	if err != nil {
		return false, fmt.Errorf("keeping the base commit of run %s: %w", runID, err)
	}
	return tag.RowsAffected() > 0, nil
}

// SetProgress replaces the one line that people see while the run is at work.
func (db *DB) SetProgress(ctx context.Context, runID, text string) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE runs
		SET progress = $2, heartbeat_at = $3
		WHERE id = $1
	`, runID, text, db.Now())
	if err != nil {
		return fmt.Errorf("noting the progress of run %s: %w", runID, err)
	}
	return nil
}
