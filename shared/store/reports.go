package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// SaveReport stores the agent's report, unless there is one of the same Job or a later one, and its event
// agent.reported in the same transaction. It returns the report that counts, which is the first of the run's last Job,
// and the events to send.
func (db *DB) SaveReport(ctx context.Context, report events.AgentReported) (events.AgentReported, []event.Event, error) {
	first := report
	cause := Cause{events.Source(db.function) + "/report", report.RunID} // one report per Job, so one event per Job
	if report.Attempt > 0 {
		cause.ID += "/" + strconv.Itoa(report.Attempt)
	}
	emitted, err := db.Emit(ctx, cause, report.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		data, err := json.Marshal(report)
		if err != nil {
			return events.Decision{}, fmt.Errorf("encoding the report: %w", err)
		}
		inserted, err := tx.Exec(ctx, `
			INSERT INTO run_reports (run_id, report, reported_at)
			VALUES ($1, $2, $3)
			ON CONFLICT (run_id) DO UPDATE
			SET report = excluded.report, reported_at = excluded.reported_at
			WHERE coalesce((run_reports.report ->> 'attempt')::int, 0) < coalesce((excluded.report ->> 'attempt')::int, 0)
		`, report.RunID, data, tx.now)
		if err != nil {
			return events.Decision{}, fmt.Errorf("storing the report of run %s: %w", report.RunID, err)
		}
		if inserted.RowsAffected() == 0 {
			if first, err = storedReport(ctx, tx, report.RunID); err != nil {
				return events.Decision{}, err
			}
			return events.Decision{Emit: []events.Draft{events.Now(first)}}, nil
		}
		said := events.Record{Actor: "agent:" + report.RunID, Action: "agent.reported", Run: report.RunID, Reason: report.Reason, Detail: report.Outcome}
		return events.Decision{Emit: []events.Draft{events.Now(first)}, Audit: []events.Record{said}}, nil
	})
	return first, emitted, err
}

// Report reads the agent's report; ErrNotFound if there is none.
func (db *DB) Report(ctx context.Context, runID string) (events.AgentReported, error) {
	return storedReport(ctx, db.pool, runID)
}

// rowQuerier is a pool or a transaction.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func storedReport(ctx context.Context, q rowQuerier, runID string) (events.AgentReported, error) {
	var r events.AgentReported
	err := q.QueryRow(ctx, `
		SELECT report
		FROM run_reports
		WHERE run_id = $1
	`, runID).Scan(&r)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("report of run %s: %w", runID, ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("reading the report of run %s: %w", runID, err)
	}
	return r, nil
}
