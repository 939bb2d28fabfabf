package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// Ticket reads a request and locks its row until the transaction ends, so that one decision is taken at a time. It is
// the zero Ticket if there is no such request, or id is not a UUID.
func (tx *Tx) Ticket(ctx context.Context, id string) (t approval.Ticket, err error) {
	err = optional(tx.QueryRow(ctx, `
		SELECT ticket
		FROM approvals
		WHERE id = $1
		FOR UPDATE
	`, uuidOrNull(id)).Scan(&t))
	if err != nil {
		return t, fmt.Errorf("reading request %s: %w", id, err)
	}
	return t, nil
}

// Ticket reads a request as it is now; the zero Ticket if there is none, or id is not a UUID.
func (db *DB) Ticket(ctx context.Context, id string) (t approval.Ticket, err error) {
	err = optional(db.pool.QueryRow(ctx, `
		SELECT ticket
		FROM approvals
		WHERE id = $1
	`, uuidOrNull(id)).Scan(&t))
	if err != nil {
		return t, fmt.Errorf("reading request %s: %w", id, err)
	}
	return t, nil
}

// OpenTickets reads the undecided requests of a run and locks their rows.
func (tx *Tx) OpenTickets(ctx context.Context, runID string) ([]approval.Ticket, error) {
	rows, err := tx.Query(ctx, `
		SELECT ticket
		FROM approvals
		WHERE run_id = $1 AND decided_at IS NULL
		ORDER BY id
		FOR UPDATE
	`, uuidOrNull(runID))
	if err != nil {
		return nil, fmt.Errorf("reading the open requests of run %s: %w", runID, err)
	}
	tickets, err := pgx.CollectRows(rows, pgx.RowTo[approval.Ticket])
	if err != nil {
		return nil, fmt.Errorf("reading the open requests of run %s: %w", runID, err)
	}
	return tickets, nil
}

// Requests reads what the runs of a work item have asked, the newest first, 200 at most.
func (db *DB) Requests(ctx context.Context, repository Repository, issue int) ([]approval.Ticket, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT a.ticket
		FROM runs r
		JOIN approvals a ON a.run_id = r.id
		WHERE r.repository = $1 AND r.issue = $2
		ORDER BY a.asked_at DESC, a.id
		LIMIT 200
	`, repository.Key, issue)
	if err != nil {
		return nil, fmt.Errorf("looking for requests of %s: %w", repository.Name, err)
	}
	tickets, err := pgx.CollectRows(rows, pgx.RowTo[approval.Ticket])
	if err != nil {
		return nil, fmt.Errorf("looking for requests of %s: %w", repository.Name, err)
	}
	return tickets, nil
}

// OpenRequests reads the undecided requests of runs in the projects (access.Everywhere = all), the oldest first.
func (db *DB) OpenRequests(ctx context.Context, projects []string, limit int) ([]approval.Ticket, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT a.ticket
		FROM approvals a
		JOIN LATERAL (SELECT project_id FROM runs x WHERE x.id = a.run_id LIMIT 1) r ON true
		WHERE a.decided_at IS NULL AND (r.project_id = ANY ($1) OR $2 = ANY ($1))
		ORDER BY a.asked_at
		LIMIT $3
	`, projects, access.Everywhere, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the open requests: %w", err)
	}
	tickets, err := pgx.CollectRows(rows, pgx.RowTo[approval.Ticket])
	if err != nil {
		return nil, fmt.Errorf("reading the open requests: %w", err)
	}
	return tickets, nil
}

// Asking is what a decision must know about a run that asks.
type Asking struct {
	Settings project.Settings // of its project
	Over     bool             // the run has finished
}

// Asking reads what a decision must know about a run that asks; ErrNotFound if there is no such run.
func (tx *Tx) Asking(ctx context.Context, runID string) (a Asking, err error) {
	err = tx.QueryRow(ctx, `
		SELECT p.settings, r.finished_at IS NOT NULL
		FROM runs r
		JOIN projects p ON p.id = r.project_id
		WHERE r.id = $1
	`, uuidOrNull(runID)).Scan(&a.Settings, &a.Over)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return a, fmt.Errorf("reading who asks, run %s: %w", runID, err)
	}
	return a, nil
}

// Voted is a vote on the ticket with what a decision about it must know.
func (tx *Tx) Voted(ctx context.Context, t approval.Ticket, v events.ApprovalVoted) (in approval.Voted, err error) {
	in.Vote = v
	if in.Who, in.Members, err = tx.Voter(ctx, v.By, t.Request.Project); err != nil {
		return in, err
	}
	in.Elsewhere, err = tx.ShownElsewhere(ctx, v.RequestID, v.By)
	return in, err
}

// SaveTicket inserts or updates a request. ErrChanged if it was decided otherwise meanwhile: what is final stays.
func (tx *Tx) SaveTicket(ctx context.Context, t approval.Ticket) error {
	var decided time.Time
	if t.Outcome != nil {
		decided = t.Outcome.At
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO approvals AS a (id, run_id, state, asked_at, decided_at, ticket)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE
		SET state = excluded.state, decided_at = excluded.decided_at, ticket = excluded.ticket
		WHERE a.decided_at IS NULL OR a.state = excluded.state
	`, t.Request.ID, t.Request.RunID, t.State, t.Request.At, orNull(decided), t)
	if err != nil {
		return fmt.Errorf("saving request %s: %w", t.Request.ID, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("saving request %s as %s: %w", t.Request.ID, t.State, ErrChanged)
	}
	return nil
}

// Waiting is how many requests are undecided, and since when the oldest waits; zero = none does. Above a thousand the
// number is about right: the cost does not grow with it.
func (db *DB) Waiting(ctx context.Context) (n int, since time.Time, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT CASE WHEN n < 1000 THEN n ELSE greatest(n, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'approvals_open_by_age'::regclass)) END,
		       (SELECT min(asked_at) FROM approvals WHERE decided_at IS NULL)
		FROM (SELECT count(*) AS n
		      FROM (SELECT FROM approvals WHERE decided_at IS NULL LIMIT 1000) AS found) AS counted
	`).Scan(&n, zero(&since))
	if err != nil {
		return 0, since, fmt.Errorf("counting the open requests: %w", err)
	}
	return n, since, nil
}

// Unshown is an undecided request that people can see nowhere, and why.
type Unshown struct{ ID, WorkItem, Why string }

// Unshown are the undecided requests that no place shows and that a place could not show, the oldest first, 20 at most.
func (db *DB) Unshown(ctx context.Context) ([]Unshown, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT a.id, concat(a.ticket -> 'request' ->> 'repository', '#', a.ticket -> 'request' ->> 'issue'), p.why
		FROM approvals AS a, LATERAL (
			SELECT string_agg(trim(concat_ws(' ', p ->> 'channel', p ->> 'target')) || ': ' || (p ->> 'failed'), ', ') AS why,
				coalesce(max((p ->> 'version')::bigint), 0) AS shown
			FROM json_array_elements(a.ticket -> 'places') AS p
		) AS p
		WHERE a.decided_at IS NULL AND p.shown = 0 AND p.why IS NOT NULL
		ORDER BY a.asked_at
		LIMIT 20
	`)
	if err != nil {
		return nil, fmt.Errorf("looking for requests that nobody sees: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Unshown])
	if err != nil {
		return nil, fmt.Errorf("looking for requests that nobody sees: %w", err)
	}
	return all, nil
}
