package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/stage"
)

// looked bounds what is looked at of runs that spend or wait; more say nothing new to people.
const looked = 1000

// A Fund is a budget from which runs spend, or wait to spend.
type Fund struct {
	Project string `json:"project"`
	budget.Account
}

// Funds are the budgets of the runs that are at work, or wait for money or a limit, with what was spent.
func (db *DB) Funds(ctx context.Context) ([]Fund, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT DISTINCT r.project_id, b.bound
		FROM ((SELECT project_id, bounds
		       FROM runs
		       WHERE finished_at IS NULL AND state <> 'waiting' AND state IN ('starting', 'running')
		       LIMIT $1)
		      UNION ALL
		      (SELECT project_id, bounds
		       FROM runs
		       WHERE finished_at IS NULL AND state = 'waiting' AND waiting_for IN ('budget', 'rate_limit')
		       LIMIT $1)) r, jsonb_array_elements(r.bounds) AS b (bound)
		ORDER BY 1, 2
	`, looked)
	var funds []Fund
	var project string
	var bound json.RawMessage
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&project, &bound}, func() error {
			f := Fund{Project: project}
			if err := json.Unmarshal(bound, &f.Bound); err != nil {
				return err
			}
			f.Period = f.Bound.Period(db.Now())
			funds = append(funds, f)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading the budgets of active runs: %w", err)
	}
	var b pgx.Batch
	for i := range funds {
		f := &funds[i]
		b.Queue(`
			SELECT input_tokens + output_tokens, microusd, work_ms, runs, more_tokens, more_microusd, more_ms, more_runs
			FROM spending
			WHERE kind = $1 AND project_id = $2 AND name = $3 AND period = $4
		`, f.Kind(), f.Project, f.Name, f.Period).QueryRow(func(row pgx.Row) error {
			return optional(row.Scan(&f.Spent.Tokens, &f.Spent.MicroUSD, &f.Spent.WorkMS, &f.Spent.Runs, &f.More.Tokens, &f.More.MicroUSD, &f.More.WorkMS, &f.More.Runs))
		})
	}
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("reading what was spent of the budgets of active runs: %w", err)
	}
	return funds, nil
}

// A Standstill is a run that waits without a pod for money, or for its model's limit.
type Standstill struct {
	RunID      string           `json:"runId"`
	Repository string           `json:"repository"`
	Issue      int              `json:"issue"`
	For        stage.WaitingFor `json:"for"`
	Since      time.Time        `json:"since"`
	Until      time.Time        `json:"until,omitzero"` // of a limit: when it goes on
}

// Standstills are the runs that wait for money or a limit, the longest first.
func (db *DB) Standstills(ctx context.Context) ([]Standstill, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT id::text, repository, issue, waiting_for, coalesce(paused_at, created_at), not_before
		FROM runs
		WHERE finished_at IS NULL AND state = 'waiting' AND waiting_for IN ('budget', 'rate_limit')
		ORDER BY paused_at
		LIMIT $1
	`, looked)
	if err == nil {
		var all []Standstill
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Standstill, err error) {
			return s, row.Scan(&s.RunID, &s.Repository, &s.Issue, &s.For, &s.Since, zero(&s.Until))
		})
		if err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("looking for runs that wait for money or a limit: %w", err)
}

// A ModelPause is until when a model is not to be asked.
type ModelPause struct {
	Model  string    `json:"model"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// ModelPauses are those in force.
func (db *DB) ModelPauses(ctx context.Context) ([]ModelPause, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT model, until, reason
		FROM model_pauses
		WHERE until > $1
		ORDER BY model
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading the models' pauses: %w", err)
	}
	pauses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ModelPause])
	if err != nil {
		return nil, fmt.Errorf("reading the models' pauses: %w", err)
	}
	return pauses, nil
}
