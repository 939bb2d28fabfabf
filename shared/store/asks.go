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
	CreatedAt time.Time
}

// History reads the last ten runs of the run's work item, this one among them, the newest first.
func (db *DB) History(ctx context.Context, run AgentRun) ([]PastRun, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text AS id, stage, coalesce(kind, CASE WHEN revise THEN 'revise' ELSE 'work' END) AS kind, state, reason,
		       left(summary, 2000) AS summary, asks, created_at
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

// MaxToolCalls bounds what a run may have done, or tries to have done, without that anybody is asked.
const MaxToolCalls = 200

// SaveToolCall stores what a run may have done without anybody's yes, as the event tool.approved: call's CallID is its
// own. It returns the events to send; ErrTooMany if the run has had enough done.
func (db *DB) SaveToolCall(ctx context.Context, call events.ToolApproved) ([]event.Event, error) {
	return db.toolCall(ctx, call.RunRef, call.CallID, events.Decision{
		Emit:  []events.Draft{events.Now(call)},
		Audit: []events.Record{{Actor: "agent:" + call.RunID, Action: "tool.called", Run: call.RunID, Detail: call.Tool + " " + string(call.Arguments)}},
	})
}

// RefuseTool audits that the run's agent called a tool that it doesn't have; ErrTooMany if there are enough such lines.
func (db *DB) RefuseTool(ctx context.Context, run events.RunRef, name string) error {
	_, err := db.toolCall(ctx, run, "", events.Decision{
		Audit: []events.Record{{Actor: "agent:" + run.RunID, Action: "tool.refused", Run: run.RunID, Reason: "unknown_tool", Detail: name}},
	})
	return err
}

func (db *DB) toolCall(ctx context.Context, run events.RunRef, id string, d events.Decision) ([]event.Event, error) {
	return db.Emit(ctx, Cause{events.Source(db.function) + "/tool", id}, run.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		tag, err := tx.Exec(ctx, `
			UPDATE runs
			SET tool_calls = tool_calls + 1
			WHERE id = $1 AND tool_calls < $2
		`, run.RunID, MaxToolCalls)
		if err != nil {
			return d, fmt.Errorf("counting the tool calls of run %s: %w", run.RunID, err)
		}
		if tag.RowsAffected() == 0 {
			return d, ErrTooMany
		}
		return d, nil
	})
}
