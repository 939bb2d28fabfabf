package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/stage"
)

// queueRun reads the run with that id, "" = the newest.
func (tx *Tx) queueRun(b *pgx.Batch, id string, item *stage.Item) {
	scan := func(row pgx.Row) error {
		r, err := tx.scanRun(row)
		if err != nil {
			return optional(err)
		}
		item.Run = &r
		return nil
	}
	if id != "" {
		b.Queue(`SELECT `+runColumns+` FROM runs WHERE id = $2`, tx.processes.known(), id).QueryRow(scan)
		return
	}
	b.Queue(`
		SELECT `+runColumns+`
		FROM runs
		WHERE repository = $2 AND issue = $3
		ORDER BY created_at DESC
		LIMIT 1
	`, tx.processes.known(), item.RepositoryKey, item.Issue).QueryRow(scan)
}

// worked reads the newest run of a stage for an item whose run is a turn of a discussion.
func (tx *Tx) worked(ctx context.Context, item *stage.Item) error {
	if item.Run == nil || item.Run.Kind != events.KindDiscussion {
		return nil
	}
	r, err := tx.scanRun(tx.QueryRow(ctx, `
		SELECT `+runColumns+`
		FROM runs
		WHERE repository = $2 AND issue = $3 AND kind IS DISTINCT FROM 'discussion'
		ORDER BY created_at DESC
		LIMIT 1
	`, tx.processes.known(), item.RepositoryKey, item.Issue))
	switch {
	case err == nil:
		item.Worked = &r
	case optional(err) != nil:
		return fmt.Errorf("loading the run before the discussion of %s: %w", item.Key(), err)
	}
	return nil
}

// maxTurns is how many turns are looked at for what was said: more than a stage is told.
const maxTurns = 50

// queueSaid reads what was said in the turns of the item's discussions: what people asked, and the answer to it.
func queueSaid(b *pgx.Batch, item *stage.Item) {
	b.Queue(`
		SELECT coalesce(talk, '[]'), summary, finished_at
		FROM runs
		WHERE repository = $1 AND issue = $2 AND kind = 'discussion' AND state = $3
		ORDER BY created_at DESC
		LIMIT $4
	`, item.RepositoryKey, item.Issue, stage.Succeeded, maxTurns).Query(func(rows pgx.Rows) error {
		turns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]stage.Remark, error) {
			var talk []stage.Remark
			var answer stage.Remark
			err := row.Scan(&talk, &answer.Body, zero(&answer.At))
			return append(talk, answer), err
		})
		slices.Reverse(turns)
		item.Said = slices.Concat(turns...)
		return err
	})
}

// processText selects the text of the process that a run was requested under; NULL if $1, processes.known, has its
// hash.
const processText = `(SELECT text FROM processes WHERE hash = granted ->> 'process' AND hash <> ALL ($1))`

const runColumns = `id::text, project_id, stage, coalesce(kind, CASE WHEN revise THEN 'revise' ELSE 'work' END), role, state, reason, message, engine, model, reasoning,
	requested_by, intent, namespace, attempt, position, waiting_for, granted, task, base, base_commit, review, talk, reopens, delivered, exit, thread_id, summary, deadline, heartbeat_at, created_at, started_at, finished_at,
	asks, calls, paused_at, job_over, resumed_at, work_ms, limited, not_before, bounds, warned, ` + spentByRun + `, coalesce(` + processText + `, '')`

// spentByRun selects what a run has spent in all.
const spentByRun = `coalesce((SELECT jsonb_build_object('tokens', input_tokens + output_tokens, 'microusd', microusd, 'workMs', s.work_ms)
	          FROM spending s
	          WHERE s.kind = 'run' AND s.project_id = runs.project_id AND s.name = runs.id::text AND s.period = ''), '{}')`

func (tx *Tx) scanRun(row pgx.Row) (stage.Run, error) {
	var r stage.Run
	var process string
	err := row.Scan(&r.ID, &r.Project, &r.Stage, &r.Kind, &r.Role, &r.State, &r.Reason, &r.Message, &r.Engine, &r.Model, &r.Reasoning,
		&r.RequestedBy, &r.Intent, &r.Namespace, &r.Attempt, &r.Position, &r.WaitingFor, &r.Grant, &r.Task, &r.Base, &r.BaseCommit, &r.Review, &r.Talk, &r.Reopens, &r.Delivered, &r.Exit, &r.ThreadID, &r.Summary,
		zero(&r.Deadline), zero(&r.HeartbeatAt), &r.CreatedAt, zero(&r.StartedAt), zero(&r.FinishedAt),
		&r.Asks, &r.Calls, zero(&r.PausedAt), &r.JobOver, zero(&r.ResumedAt), &r.WorkMS, &r.Limited, zero(&r.NotBefore), &r.Bounds, &r.Warned, &r.Spent, &process)
	r.Process = tx.processes.ofRun(r.Grant, process)
	return r, err
}

// Places loads a project's settings and its active runs, the input of admission.
// The caller's Step has locked the project.
func (tx *Tx) Places(ctx context.Context, project string) (s project.Settings, places []stage.Place, err error) {
	var b pgx.Batch
	var present *stage.Process
	known := tx.processes.known()
	b.Queue(`
		SELECT r.settings, coalesce(p.hash, ''), coalesce(p.text, '')
		FROM (SELECT id AS project_id, settings FROM projects WHERE id = $1) r`+inForce, project, known).QueryRow(func(row pgx.Row) error {
		var hash, text string
		err := row.Scan(&s, &hash, &text)
		present = tx.processes.ofProject(hash, text)
		return err
	})
	b.Queue(`
		SELECT r.id::text, r.project_id, r.repository || '#' || r.issue, r.stage, coalesce(r.kind, CASE WHEN r.revise THEN 'revise' ELSE 'work' END), r.role,
		       r.state, r.engine, r.namespace, r.attempt, r.position, r.granted, r.base, r.base_commit, r.created_at,
		       r.deadline, r.paused_at, r.job_over, r.resumed_at, r.model, r.waiting_for,
		       jsonb_build_object('tokens', r.reserved_tokens, 'microusd', r.reserved_microusd),
		       jsonb_build_object('tokens', s.input_tokens + s.output_tokens, 'microusd', s.microusd, 'workMs', s.work_ms), coalesce(past.spent, '[]'),
		       CASE WHEN m.until IS NULL OR r.granted ->> 'fallback' IS NULL THEN m.until ELSE least(m.until, coalesce(f.until, '0001-01-01Z')) END,
		       coalesce(b.name, w.full_name), coalesce(b.github_id, 0), w.issue, w.base_branch, coalesce(`+processText+`, '')
		FROM runs r
		JOIN work_items w USING (repository, issue)
		LEFT JOIN repositories b ON b.full_name = w.repository
		LEFT JOIN spending s ON r.state <> 'waiting' AND s.kind = 'run' AND s.project_id = r.project_id AND s.name = r.id::text AND s.period = ''
		LEFT JOIN model_pauses m ON r.state IN ('requested', 'queued') AND m.model = r.model
		LEFT JOIN model_pauses f ON r.state IN ('requested', 'queued') AND f.model = r.granted ->> 'fallback'
		LEFT JOIN LATERAL (
			SELECT jsonb_agg(jsonb_build_object('tokens', p.input_tokens + p.output_tokens, 'microusd', p.microusd, 'workMs', p.work_ms)) AS spent
			FROM (SELECT id
			      FROM runs
			      WHERE project_id = r.project_id AND stage = r.stage AND model = r.model AND finished_at IS NOT NULL
			      ORDER BY finished_at DESC
			      LIMIT 20) AS before
			JOIN spending p ON p.kind = 'run' AND p.project_id = r.project_id AND p.name = before.id::text AND p.period = ''
		) past ON r.state IN ('requested', 'queued')
		WHERE r.project_id = $2 AND r.finished_at IS NULL
		ORDER BY r.created_at, r.id
	`, known, project).Query(func(rows pgx.Rows) error {
		places, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (stage.Place, error) {
			var p stage.Place
			var process string
			err := row.Scan(&p.ID, &p.Project, &p.WorkItem, &p.Stage, &p.Kind, &p.Role, &p.State, &p.Engine, &p.Namespace, &p.Attempt, &p.Run.Position, &p.Grant, &p.Base, &p.BaseCommit, &p.CreatedAt,
				zero(&p.Deadline), zero(&p.PausedAt), &p.JobOver, zero(&p.ResumedAt), &p.Model, &p.WaitingFor, &p.Reserved, &p.Spent, &p.Past, zero(&p.ModelUntil), &p.Repository, &p.RepositoryID, &p.Issue, &p.BaseBranch, &process)
			p.Process = cmp.Or(tx.processes.ofRun(p.Grant, process), present)
			return p, err
		})
		return err
	})
	net := queueNet(&b, project, tx.now)
	err = tx.SendBatch(ctx, &b).Close()
	for i := range places {
		places[i].Net = net
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return s, nil, fmt.Errorf("project %s: %w", project, ErrNotFound)
	}
	if err != nil {
		return s, nil, fmt.Errorf("loading the runs of project %s: %w", project, err)
	}
	return s, places, nil
}

// Admit stores whether a waiting run got its place, or where it waits; ErrChanged if it was stopped meanwhile.
func (tx *Tx) Admit(ctx context.Context, a stage.Admission) error {
	if a.State == a.Was && len(a.Emit) == 0 {
		return nil
	}
	ct, err := tx.Exec(ctx, `
		UPDATE runs
		SET state = $3, deadline = $4, paused_at = $5, job_over = $6, bounds = $7, reserved_tokens = $8, reserved_microusd = $9, position = $10
		WHERE id = $1 AND state = $2
	`, a.ID, a.Was, a.State, orNull(a.Deadline), orNull(a.PausedAt), a.JobOver, noNil(a.Bounds), a.Reserved.Tokens, a.Reserved.MicroUSD, a.Run.Position)
	if err == nil {
		err = mustChange(a.ID)(ct)
	}
	if err != nil {
		return fmt.Errorf("admitting run %s: %w", a.ID, err)
	}
	return nil
}

func mustChange(runID string) func(pgconnTag) error {
	return func(ct pgconnTag) error {
		if ct.RowsAffected() != 1 {
			return fmt.Errorf("run %s: %w", runID, ErrChanged)
		}
		return nil
	}
}

// A Queue is what is active in one project.
type Queue struct {
	Project string              `json:"project"`
	Limit   int                 `json:"limit"` // runs at a time
	States  map[stage.State]int `json:"states"`
	// Since is since when the run that has waited longest waits for a place; zero = none waits.
	Since time.Time `json:"since,omitzero"`
}

// Queues reads the active runs of all projects that have any.
func (db *DB) Queues(ctx context.Context) ([]Queue, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT r.project_id, p.settings, r.state, r.n, r.since
		FROM (SELECT project_id, state, count(*) AS n, min(coalesce(resumed_at, created_at)) AS since
		      FROM runs
		      WHERE finished_at IS NULL
		      GROUP BY project_id, state) r
		JOIN projects p ON p.id = r.project_id
		ORDER BY r.project_id, r.state
	`)
	if err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	all := []Queue{}
	var id string
	var settings project.Settings
	var state stage.State
	var n int
	var since time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &settings, &state, &n, &since}, func() error {
		if len(all) == 0 || all[len(all)-1].Project != id {
			all = append(all, Queue{Project: id, Limit: settings.Limit(), States: map[stage.State]int{}})
		}
		q := &all[len(all)-1]
		q.States[state] = n
		if waits := state == stage.Requested || state == stage.Queued; waits && (q.Since.IsZero() || since.Before(q.Since)) {
			q.Since = since.UTC()
		}
		settings = project.Settings{}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	return all, nil
}

// ActiveRuns counts the active runs of all projects, by state. Of those that wait for people it is about right when
// they are more than a thousand: the cost does not grow with them.
func (db *DB) ActiveRuns(ctx context.Context) (map[stage.State]int, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT state, count(*)
		FROM runs
		WHERE finished_at IS NULL AND state <> 'waiting'
		GROUP BY state
		UNION ALL
		SELECT 'waiting', CASE WHEN n < 1000 THEN n ELSE greatest(n, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'runs_waiting'::regclass)) END
		FROM (SELECT count(*) AS n
		      FROM (SELECT FROM runs WHERE finished_at IS NULL AND state = 'waiting' LIMIT 1000) AS found) AS counted
	`)
	if err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	states := map[stage.State]int{}
	var state stage.State
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error { states[state] = n; return nil }); err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	return states, nil
}

// A SilentRun is running and has sent no heartbeat.
type SilentRun struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Issue      int       `json:"issue"`
	Heard      time.Time `json:"heard"` // the last heartbeat, or else the start
}

// SilentRuns reads the running runs whose agent has been silent that long, the longest first.
func (db *DB) SilentRuns(ctx context.Context, silence time.Duration) ([]SilentRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text, repository, issue, coalesce(heartbeat_at, started_at, created_at) AS heard
		FROM runs
		WHERE finished_at IS NULL AND state = 'running' AND coalesce(heartbeat_at, started_at, created_at) < $1
		ORDER BY heard
	`, db.Now().Add(-silence))
	if err != nil {
		return nil, fmt.Errorf("looking for silent runs: %w", err)
	}
	silent, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SilentRun])
	if err != nil {
		return nil, fmt.Errorf("looking for silent runs: %w", err)
	}
	return silent, nil
}

// RunStatus is what the functions that act for a run need to know about it.
type RunStatus struct {
	State     stage.State // "" = there is no such run
	Namespace string
	Attempt   int       // how many Jobs it had before its present one
	Started   time.Time // zero = it has not
	Finished  time.Time // zero = it has not
}

// RunStatus reads a run; zero if the database doesn't know it, or id is not a UUID.
func (db *DB) RunStatus(ctx context.Context, id string) (s RunStatus, err error) {
	err = optional(db.pool.QueryRow(ctx, `
		SELECT state, namespace, attempt, started_at, finished_at
		FROM runs
		WHERE id = $1
	`, uuidOrNull(id)).Scan(&s.State, &s.Namespace, &s.Attempt, zero(&s.Started), zero(&s.Finished)))
	if err != nil {
		return s, fmt.Errorf("reading the state of run %s: %w", id, err)
	}
	return s, nil
}

// BesideActive reports whether the work item of that run has a run that goes on and has had a Job: that one has the
// namespace now.
func (db *DB) BesideActive(ctx context.Context, id string) (active bool, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT 1
			FROM runs r
			JOIN runs a USING (repository, issue)
			WHERE r.id = $1 AND a.finished_at IS NULL AND (a.state NOT IN ($2, $3) OR a.attempt > 0)
		)
	`, uuidOrNull(id), stage.Requested, stage.Queued).Scan(&active)
	if err != nil {
		return false, fmt.Errorf("looking for an active run beside run %s: %w", id, err)
	}
	return active, nil
}

// UnknownRuns returns those of the run ids (UUIDs) that the database doesn't have.
func (db *DB) UnknownRuns(ctx context.Context, ids []string) ([]string, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT i.id::text
		FROM unnest($1::uuid[]) AS i (id)
		WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = i.id)
	`, ids)
	if err != nil {
		return nil, fmt.Errorf("looking for runs: %w", err)
	}
	unknown, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("looking for runs: %w", err)
	}
	return unknown, nil
}
