package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

// MaxAsked is how often one run may ask, answered or not: people have to decide each.
const MaxAsked = 20

// ErrTooMany says that the limit is reached.
var ErrTooMany = errors.New("there are as many as there may be")

// SaveAsk stores what a run asks people, and its event approval.requested in the same transaction. Asking the same
// again is the same request with the same event. It returns the events to send; ErrTooMany if the run has asked too
// often.
func (db *DB) SaveAsk(ctx context.Context, r events.ApprovalRequested) ([]event.Event, error) {
	cause := Cause{events.Source(db.function) + "/ask", r.ID} // which is derived from the run and what is asked
	return db.Emit(ctx, cause, r.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		data, err := json.Marshal(r)
		if err != nil {
			return events.Decision{}, fmt.Errorf("encoding request %s: %w", r.ID, err)
		}
		var asked int
		var known bool
		var b pgx.Batch
		b.Queue(`SELECT id FROM runs WHERE id = $1 FOR UPDATE`, r.RunID)
		b.Queue(`
			SELECT count(*), coalesce(bool_or(id = $2), false)
			FROM run_asks
			WHERE run_id = $1
		`, r.RunID, r.ID).QueryRow(func(row pgx.Row) error { return row.Scan(&asked, &known) })
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return events.Decision{}, fmt.Errorf("counting what run %s asks: %w", r.RunID, err)
		}
		if !known && asked >= MaxAsked {
			return events.Decision{}, ErrTooMany
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO run_asks (run_id, id, request, asked_at)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING
		`, r.RunID, r.ID, data, tx.now); err != nil {
			return events.Decision{}, fmt.Errorf("storing request %s of run %s: %w", r.ID, r.RunID, err)
		}
		d := events.Decision{Emit: []events.Draft{events.Now(r)}}
		if !known {
			d.Audit = []events.Record{{Actor: "agent:" + r.RunID, Action: "approval.requested", Run: r.RunID, Detail: r.Action + " " + r.Title}}
		}
		return d, nil
	})
}

// queueAsked reads what the run asked people, oldest first.
func queueAsked(b *pgx.Batch, runID string, asked *[]events.ApprovalRequested) {
	b.Queue(`
		SELECT request
		FROM run_asks
		WHERE run_id = $1
		ORDER BY asked_at, id
	`, runID).Query(func(rows pgx.Rows) (err error) {
		*asked, err = pgx.CollectRows(rows, pgx.RowTo[events.ApprovalRequested])
		return err
	})
}

// A PastRun is a run of a work item, as its agents are told about it.
type PastRun struct {
	ID        string `db:"id"` // UUID
	Stage     string
	Kind      events.Kind
	State     stage.State
	Reason    string
	Summary   string
	Asks      []stage.Ask
	Calls     []stage.Call
	CreatedAt time.Time
}

// History reads the last ten runs of the run's work item, this one among them, the newest first.
func (db *DB) History(ctx context.Context, run AgentRun) ([]PastRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text AS id, stage, coalesce(kind, CASE WHEN revise THEN 'revise' ELSE 'work' END) AS kind, state, reason,
		       left(summary, 2000) AS summary, asks, calls, created_at
		FROM runs
		WHERE repository = $1 AND issue = $2
		ORDER BY created_at DESC
		LIMIT 10
	`, run.Key, run.Issue)
	if err != nil {
		return nil, fmt.Errorf("reading the runs of %s#%d: %w", run.Repository, run.Issue, err)
	}
	past, err := pgx.CollectRows(rows, pgx.RowToStructByName[PastRun])
	if err != nil {
		return nil, fmt.Errorf("reading the runs of %s#%d: %w", run.Repository, run.Issue, err)
	}
	return past, nil
}
