package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"codexk8s.dev/shared/stage"
)

// A Backlog is what a function has still to record.
type Backlog struct {
	Function string `json:"function"`
	Planned  int    `json:"planned"` // timers, and what was sent less than a minute ago
	Overdue  int    `json:"overdue"` // past its time, or sent again already
	Unsent   int    `json:"unsent"`  // of these: due for twelve minutes, two ticks, and nobody has sent them
	// Since is when the oldest overdue event was to be handled; zero without one.
	Since time.Time `json:"since,omitzero"`
}

// Backlogs reads what each function that has any has still to record, by name. Its cost is that of what is outstanding.
func (db *DB) Backlogs(ctx context.Context) ([]Backlog, error) {
	rows, err := db.pool.Query(ctx, `
		WITH owed AS (
			SELECT function, source, id, due_at, attempts, due_at <= $1 OR attempts > 0 AS overdue
			FROM pending
		), oldest AS (
			SELECT o.function, min(greatest(e.stored_at, e.not_before)) AS since
			FROM owed o
			JOIN events e USING (source, id)
			WHERE o.overdue
			GROUP BY o.function
		)
		SELECT function, count(*) FILTER (WHERE NOT overdue), count(*) FILTER (WHERE overdue),
		       count(*) FILTER (WHERE attempts = 0 AND due_at <= $1 - interval '12 minutes'),
		       oldest.since
		FROM owed
		LEFT JOIN oldest USING (function)
		GROUP BY function, oldest.since
		ORDER BY function
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading what is outstanding: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Backlog, error) {
		var b Backlog
		err := row.Scan(&b.Function, &b.Planned, &b.Overdue, &b.Unsent, zero(&b.Since))
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading what is outstanding: %w", err)
	}
	return all, nil
}

// OpenDeadLetters counts the dead letters whose event is not handled yet, by function.
func (db *DB) OpenDeadLetters(ctx context.Context) (map[string]int, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT function, count(*)
		FROM dead_letters d
		WHERE handled_at IS NULL
		  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE (i.function, i.source, i.id) = (d.function, d.source, d.id))
		GROUP BY function
	`)
	if err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	open := map[string]int{}
	var function string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&function, &n}, func() error { open[function] = n; return nil }); err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	return open, nil
}

// A Queue is what is active in one project.
type Queue struct {
	Project string              `json:"project"`
	Limit   int                 `json:"limit"` // runs at a time
	States  map[stage.State]int `json:"states"`
	// Since is when the run was requested that waits longest for its place; zero when none waits.
	Since time.Time `json:"since,omitzero"`
}

// Queues reads the active runs of all projects that have any.
func (db *DB) Queues(ctx context.Context) ([]Queue, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT r.project_id, p.settings, r.state, r.n, r.since
		FROM (SELECT project_id, state, count(*) AS n, min(created_at) AS since
		      FROM runs
		      WHERE state IN ('requested', 'queued', 'starting', 'running', 'waiting')
		      GROUP BY project_id, state) r
		JOIN projects p ON p.id = r.project_id
		ORDER BY r.project_id, r.state
	`)
	if err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	all := []Queue{}
	var project string
	var settings stage.Settings
	var state stage.State
	var n int
	var since time.Time
	if _, err := pgx.ForEachRow(rows, []any{&project, &settings, &state, &n, &since}, func() error {
		if len(all) == 0 || all[len(all)-1].Project != project {
			all = append(all, Queue{Project: project, Limit: settings.Limit(), States: map[stage.State]int{}})
		}
		q := &all[len(all)-1]
		q.States[state] = n
		if waits := state == stage.Requested || state == stage.Queued; waits && (q.Since.IsZero() || since.Before(q.Since)) {
			q.Since = since.UTC()
		}
		settings = stage.Settings{}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("counting the active runs: %w", err)
	}
	return all, nil
}

// Bound counts the projects, and the repositories that are bound to one.
func (db *DB) Bound(ctx context.Context) (projects, repositories int, err error) {
	if err := db.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM repositories)
	`).Scan(&projects, &repositories); err != nil {
		return 0, 0, fmt.Errorf("counting the projects: %w", err)
	}
	return projects, repositories, nil
}

// A SilentRun runs and has not been heard of.
type SilentRun struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Issue      int       `json:"issue"`
	Heard      time.Time `json:"heard"` // the last heartbeat, or else the start
}

// SilentRuns reads the running runs whose agent was not heard of for as long, the longest first.
func (db *DB) SilentRuns(ctx context.Context, silence time.Duration) ([]SilentRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text, repository, issue, coalesce(heartbeat_at, started_at, created_at) AS heard
		FROM runs
		WHERE state = 'running' AND coalesce(heartbeat_at, started_at, created_at) < $1
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

// UnknownRuns returns those of the run ids (UUIDs) of which the database has no run.
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

// Ticked notes that this function has done its round.
func (db *DB) Ticked(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO ticks (function, ticked_at)
		VALUES ($1, $2)
		ON CONFLICT (function) DO UPDATE
		SET ticked_at = excluded.ticked_at
	`, db.function, db.Now())
	if err != nil {
		return fmt.Errorf("noting the tick: %w", err)
	}
	return nil
}

// Seen is when things happened last; zero = never.
type Seen struct {
	Now      time.Time `json:"now"`               // by the clock that all of this was noted with
	Tick     time.Time `json:"tick,omitzero"`     // timekeeper's last round
	Delivery time.Time `json:"delivery,omitzero"` // the last webhook of GitHub that was stored
}

// Seen reads when things happened last.
func (db *DB) Seen(ctx context.Context) (Seen, error) {
	s := Seen{Now: db.Now()}
	err := db.pool.QueryRow(ctx, `
		SELECT (SELECT ticked_at FROM ticks WHERE function = 'timekeeper'), (SELECT max(received_at) FROM deliveries)
	`).Scan(zero(&s.Tick), zero(&s.Delivery))
	if err != nil {
		return s, fmt.Errorf("reading what happened last: %w", err)
	}
	return s, nil
}

// A Pause is until when a GitHub credential must not be used.
type Pause struct {
	Credential string    `json:"credential"`
	Until      time.Time `json:"until"`
	Reason     string    `json:"reason"`
}

// Pauses reads the pauses that hold.
func (db *DB) Pauses(ctx context.Context) ([]Pause, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT credential, until, reason
		FROM github_pauses
		WHERE until > $1
		ORDER BY credential
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	pauses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	return pauses, nil
}

// Unsealed is what of the audit no seal covers yet.
type Unsealed struct {
	Rows  int       `json:"rows"`
	Since time.Time `json:"since,omitzero"` // of the oldest such row
}

// UnsealedAudit reads what of the audit no seal covers yet. It looks at the whole audit.
func (db *DB) UnsealedAudit(ctx context.Context) (Unsealed, error) {
	var u Unsealed
	err := db.pool.QueryRow(ctx, `
		SELECT count(*), min(a.at)
		FROM audit a
		WHERE NOT EXISTS (SELECT 1 FROM audit_sealed s WHERE s.seq = a.seq)
	`).Scan(&u.Rows, zero(&u.Since))
	if err != nil {
		return u, fmt.Errorf("reading the unsealed audit: %w", err)
	}
	return u, nil
}

// SchemaVersion is the number of the newest migration in the database; 0 when there is none.
func (db *DB) SchemaVersion(ctx context.Context) (int64, error) {
	var version int64
	err := db.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	const undefinedTable = "42P01"
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == undefinedTable {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the schema's version: %w", err)
	}
	return version, nil
}
