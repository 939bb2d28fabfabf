package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// A ProjectRun is a run of a project as those are told who learn from it.
type ProjectRun struct {
	ID         string `db:"id"` // UUID
	Repository string // "owner/name"
	Issue      int
	Stage      string
	Kind       events.Kind
	Role       string
	State      stage.State
	Reason     string
	Attempt    int           // how many Jobs it had before the last one
	Took       time.Duration // from its start to its end, or to now; with the time that it has waited for people
	CreatedAt  time.Time

	// Of its model calls.
	Calls, Input, Output int64 // calls, tokens
	CostMicroUSD         int64 // as far as prices are known
}

// projectRuns selects ProjectRuns; $1 is the project, $2 the time.
const projectRuns = `
	SELECT r.id::text AS id, coalesce(b.name, w.full_name) AS repository, r.issue, r.stage,
	       coalesce(r.kind, CASE WHEN r.revise THEN 'revise' ELSE 'work' END) AS kind, r.role, r.state, r.reason, r.attempt,
	       coalesce(coalesce(r.finished_at, $2) - r.started_at, '0') AS took, r.created_at,
	       c.calls, c.input, c.output, c.cost_micro_usd
	FROM runs r
	JOIN work_items w USING (repository, issue)
	LEFT JOIN repositories b ON b.full_name = r.repository
	CROSS JOIN LATERAL (
		SELECT count(*) AS calls, coalesce(sum(input_tokens), 0)::bigint AS input, coalesce(sum(output_tokens), 0)::bigint AS output,
		       coalesce(sum(cost_microusd), 0)::bigint AS cost_micro_usd
		FROM llm_calls
		WHERE run_id = r.id
	) c
`

// ProjectRuns reads up to limit runs of a project, the newest first: those before the run with that id, "" = from the
// newest on. Its cost grows with limit, not with history.
func (db *DB) ProjectRuns(ctx context.Context, project, before string, limit int) ([]ProjectRun, error) {
	rows, err := db.pool.Query(ctx, projectRuns+`
		WHERE r.project_id = $1 AND (r.created_at, r.id) < (
			coalesce((SELECT o.created_at FROM runs o WHERE o.id = $3 AND o.project_id = $1), 'infinity'),
			coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
		ORDER BY r.created_at DESC, r.id DESC
		LIMIT $4
	`, project, db.Now(), uuidOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("reading the runs of project %s: %w", project, err)
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByName[ProjectRun])
	if err != nil {
		return nil, fmt.Errorf("reading the runs of project %s: %w", project, err)
	}
	return runs, nil
}

// A RunStory is all that is told of one run.
type RunStory struct {
	ProjectRun
	Title   string // of the issue, as the run was asked for
	Message string // why it is in its state, for a person: the faults that the gates have found, say
	Summary string // the agent's last message
	Review  *stage.Review
	Talk    []stage.Remark
	Asks    []stage.Ask
	Calls   []stage.Call `db:"tools"`
	Prompt  string       // what its task was written from: template, source, version
	Log     []string     // its last lines, oldest first
}

// RunStory reads one run of a project with its last lines; ErrNotFound if the project has none with that id.
func (db *DB) RunStory(ctx context.Context, project, id string, lines int) (RunStory, error) {
	var b pgx.Batch
	var s RunStory
	b.Queue(`
		SELECT p.*, coalesce(r.task ->> 'title', '') AS title, r.message, r.summary, r.review, r.talk, r.asks, r.calls AS tools,
		       concat_ws(' ', r.prompt ->> 'template', r.prompt ->> 'language', r.prompt ->> 'source', r.prompt ->> 'version', left(r.prompt ->> 'hash', 12)) AS prompt
		FROM (`+projectRuns+` WHERE r.project_id = $1 AND r.id = $3) p
		JOIN runs r ON r.id::text = p.id AND r.id = $3
	`, project, db.Now(), uuidOrNull(id)).Query(func(rows pgx.Rows) (err error) {
		s, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[RunStory])
		return err
	})
	b.Queue(`
		SELECT stream || ': ' || line
		FROM (SELECT l.seq, l.stream, l.line
		      FROM run_logs l
		      WHERE l.run_id = $2 AND EXISTS (SELECT FROM runs r WHERE r.id = $2 AND r.project_id = $1)
		      ORDER BY l.seq DESC
		      LIMIT $3) newest
		ORDER BY seq
	`, project, uuidOrNull(id), lines).Query(func(rows pgx.Rows) (err error) {
		s.Log, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	err := db.pool.SendBatch(ctx, &b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return RunStory{}, fmt.Errorf("run %s of project %s: %w", id, project, ErrNotFound)
	}
	if err != nil {
		return RunStory{}, fmt.Errorf("reading run %s: %w", id, err)
	}
	return s, nil
}
