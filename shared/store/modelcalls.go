package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/plain"
)

// A ModelCall is one call of a model. It is saved before it is made, with Status 0, and again when it ends. If it stays
// at 0 its process ended first, and what it used is not known.
type ModelCall struct {
	ID       string // UUID
	RunID    string // UUID; "" = not for a run
	Model    string // that was asked for
	Endpoint string // such as "responses"
	Started  time.Time

	// Known at the end.
	Status                           int    // HTTP
	ResponseID                       string // the provider's
	Input, Cached, Output, Reasoning int64  // tokens
	Estimated                        bool   // the tokens, in part
	CostMicroUSD                     int64  // millionths of a dollar
	Assumed                          bool   // the price is not known, and the dearest known one counts
	Took                             time.Duration
}

// SaveCall inserts a call, or updates it.
func (db *DB) SaveCall(ctx context.Context, c ModelCall) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO llm_calls (id, run_id, model, endpoint, started_at, status, response_id,
		                       input_tokens, cached_tokens, output_tokens, reasoning_tokens, estimated, cost_microusd, assumed, duration_ms)
		VALUES ($1, nullif($2, '')::uuid, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (id) DO UPDATE
		SET status = excluded.status, response_id = excluded.response_id,
		    input_tokens = excluded.input_tokens, cached_tokens = excluded.cached_tokens,
		    output_tokens = excluded.output_tokens, reasoning_tokens = excluded.reasoning_tokens,
		    estimated = excluded.estimated, cost_microusd = excluded.cost_microusd, assumed = excluded.assumed, duration_ms = excluded.duration_ms
	`, c.ID, c.RunID, c.Model, c.Endpoint, c.Started, c.Status, plain.Text(c.ResponseID),
		c.Input, c.Cached, c.Output, c.Reasoning, c.Estimated, c.CostMicroUSD, c.Assumed, c.Took.Milliseconds())
	if err != nil {
		return fmt.Errorf("recording model call %s: %w", c.ID, err)
	}
	return nil
}

// ErrClaimed says that another instance is doing it now.
var ErrClaimed = errors.New("another instance is at it")

// Claim reserves for the caller, by a key, what costs money or can't be repeated. ErrClaimed if somebody claimed it
// after since; an older claim belongs to a process that is dead.
func (db *DB) Claim(ctx context.Context, key string, since time.Time) error {
	var claimed time.Time
	err := db.pool.QueryRow(ctx, `
		INSERT INTO actions AS a (key, function, state, planned_at)
		VALUES ($1, $2, 'planned', $3)
		ON CONFLICT (key) DO UPDATE
		SET planned_at = excluded.planned_at
		WHERE a.planned_at < $4
		RETURNING planned_at
	`, key, db.function, db.Now(), since).Scan(&claimed)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrClaimed
	}
	if err != nil {
		return fmt.Errorf("claiming %s: %w", key, err)
	}
	return nil
}

// Unclaim lets the next caller claim the key at once.
func (db *DB) Unclaim(ctx context.Context, key string) error {
	_, err := db.pool.Exec(ctx, `
		DELETE FROM actions
		WHERE key = $1
	`, key)
	if err != nil {
		return fmt.Errorf("taking the claim of %s back: %w", key, err)
	}
	return nil
}
