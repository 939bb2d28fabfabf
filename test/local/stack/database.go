package stack

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Run is a run as Postgres has it.
type Run struct {
	ID, Stage, State, Reason, Message, Engine, Model, ThreadID, Namespace string
	Revise                                                                bool
}

// Usage is what the model calls of all runs took.
type Usage struct {
	Calls, Input, Cached, Output int64
	Cost                         float64 // US dollars, of the calls with a known price
}

func (s Story) connect(ctx context.Context) (*pgx.Conn, error) {
	db, err := pgx.Connect(ctx, s.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return db, nil
}

// readRuns returns the runs of an issue, oldest first.
func readRuns(ctx context.Context, db *pgx.Conn, repository string, issue int) ([]Run, error) {
	rows, err := db.Query(ctx, `SELECT id::text, stage, state, reason, message, engine, model, thread_id, namespace, revise
		FROM runs WHERE repository = $1 AND issue = $2 ORDER BY created_at`, repository, issue)
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Run])
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	return runs, nil
}

func readUsage(ctx context.Context, db *pgx.Conn) (u Usage, err error) {
	err = db.QueryRow(ctx, `SELECT count(*), coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(cached_tokens), 0)::bigint,
		coalesce(sum(output_tokens), 0)::bigint, coalesce(sum(cost_microusd), 0)::float8 / 1e6 FROM llm_calls`).
		Scan(&u.Calls, &u.Input, &u.Cached, &u.Output, &u.Cost)
	if err != nil {
		return u, fmt.Errorf("reading the usage: %w", err)
	}
	return u, nil
}

// pending is the number of receipts that are owed for events which are due: 0 when all came to rest.
func pending(ctx context.Context, db *pgx.Conn) (n int64, err error) {
	err = db.QueryRow(ctx, `SELECT count(*) FROM pending JOIN events USING (source, id)
		WHERE not_before IS NULL OR not_before <= now()`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("reading what is pending: %w", err)
	}
	return n, nil
}
