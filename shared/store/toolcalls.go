package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
)

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

// ToolCall reads what came of a call that needed nobody's yes; false as long as nothing is known.
func (db *DB) ToolCall(ctx context.Context, runID, callID string) (stage.Call, bool, error) {
	_, calls, err := db.uses(ctx, runID)
	if i := slices.IndexFunc(calls, func(c stage.Call) bool { return c.ID == callID }); i >= 0 {
		return calls[i], true, err
	}
	return stage.Call{}, false, err
}

// Made reads what the platform has made that stands beside the run's agent, as stage.Made.
func (db *DB) Made(ctx context.Context, runID string) ([]stage.Call, error) {
	asks, calls, err := db.uses(ctx, runID)
	return stage.Made(asks, calls), err
}

func (db *DB) uses(ctx context.Context, runID string) (asks []stage.Ask, calls []stage.Call, err error) {
	err = optional(db.pool.QueryRow(ctx, `
		SELECT asks, calls
		FROM runs
		WHERE id = $1
	`, uuidOrNull(runID)).Scan(&asks, &calls))
	if err != nil {
		return nil, nil, fmt.Errorf("reading what run %s had done: %w", runID, err)
	}
	return asks, calls, nil
}
