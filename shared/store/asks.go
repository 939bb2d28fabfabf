package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// maxAsked bounds what one run may ask, answered or not: people decide on each.
const maxAsked = 20

// ErrTooMany says that there are as many already as there may be.
var ErrTooMany = errors.New("there are as many as there may be")

// SaveAsk stores what a run asks people, and its event approval.requested in the same transaction. What it has asked
// before is the same request, and has the same event. It returns the events to send; ErrTooMany if the run has asked
// enough.
func (db *DB) SaveAsk(ctx context.Context, r events.ApprovalRequested) ([]event.Event, error) {
	cause := Cause{events.Source(db.function) + "/ask", r.ID} // which is made of the run and what is asked
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
		if !known && asked >= maxAsked {
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

// queueAsked asks for what the run has asked people, oldest first.
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
