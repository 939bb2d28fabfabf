package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"
)

// grace is how long an event may take to arrive before it counts as lost.
const grace = time.Minute

// Due hands out events whose time has come: timers, and events that a consumer has not recorded in time. Each goes to
// one caller, and again at growing intervals (one minute, doubling, an hour at most) until it is recorded.
func (db *DB) Due(ctx context.Context, limit int) ([]event.Event, error) {
	rows, err := db.pool.Query(ctx, `
		WITH due AS (
			SELECT function, source, id
			FROM pending
			WHERE due_at <= $2
			ORDER BY due_at
			LIMIT $1
			FOR UPDATE SKIP LOCKED
		), claimed AS (
			UPDATE pending p
			SET attempts = p.attempts + 1,
			    due_at = $2 + least(interval '1 hour', interval '1 minute' * power(2, least(p.attempts, 10)))
			FROM due
			WHERE (p.function, p.source, p.id) = (due.function, due.source, due.id)
			RETURNING p.source, p.id
		)
		SELECT `+eventColumns+`
		FROM (SELECT DISTINCT source, id FROM claimed) c
		JOIN events e USING (source, id)
	`, limit, db.Now())
	if err != nil {
		return nil, fmt.Errorf("looking for due events: %w", err)
	}
	es, err := pgx.CollectRows(rows, rowEvent)
	if err != nil {
		return nil, fmt.Errorf("looking for due events: %w", err)
	}
	return es, nil
}

// Postpone records that this function can't handle the event before a time, for example because of a rate limit: until
// then Due does not hand it out. It never makes an event due sooner, so asking for a minute again and again does not
// defeat the growing intervals.
func (db *DB) Postpone(ctx context.Context, e event.Event, until time.Time) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE pending
		SET due_at = greatest(due_at, $4)
		WHERE function = $1 AND source = $2 AND id = $3
	`, db.function, e.Source(), e.ID(), until)
	if err != nil {
		return fmt.Errorf("postponing %s %s: %w", e.Type(), e.ID(), err)
	}
	return nil
}

// A Backlog is what a function has not recorded yet.
type Backlog struct {
	Function string `json:"function"`
	Planned  int    `json:"planned"` // timers, and what was sent less than a minute ago
	Overdue  int    `json:"overdue"` // past its time, or sent again already
	Unsent   int    `json:"unsent"`  // of these: due for twelve minutes, two ticks, and not sent
	// Since is when the oldest overdue event should have been handled; zero = none is overdue.
	Since time.Time `json:"since,omitzero"`
}

// Overdue counts, by function, the events that it should have recorded. Its cost does not grow with the timers that are
// set: Planned and Unsent are left out.
func (db *DB) Overdue(ctx context.Context) ([]Backlog, error) {
	rows, err := db.pool.Query(ctx, `
		WITH overdue AS (
			SELECT function, source, id FROM pending WHERE due_at <= $1
			UNION
			SELECT function, source, id FROM pending WHERE attempts > 0
		)
		SELECT o.function, count(*), min(greatest(e.stored_at, e.not_before))
		FROM overdue o
		JOIN events e USING (source, id)
		GROUP BY o.function
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading what is overdue: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Backlog, error) {
		var b Backlog
		err := row.Scan(&b.Function, &b.Overdue, zero(&b.Since))
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading what is overdue: %w", err)
	}
	return all, nil
}

// Backlogs counts, by function, the events it has not recorded yet. Its cost grows with those, not with history.
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
