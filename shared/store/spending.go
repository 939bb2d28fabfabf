package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
)

// A Hold is what a call may use at most while it is under way.
type Hold struct {
	// Worst is what the call can use at most; it holds that, or as much of it as is left.
	Worst budget.Amount
	// Need is what must be left for the call to be made at all.
	Need budget.Amount
}

// HoldCall is SaveCall for a call that is about to be made by a run with budgets. It returns what the call holds, and
// the budgets as they are beside it; held is false if one of them does not have what the call needs, and then nothing
// is saved. Calls of one project are let in one after the other, so that no two hold the same money.
func (db *DB) HoldCall(ctx context.Context, run AgentRun, c ModelCall, h Hold) (hold budget.Amount, accounts []budget.Account, held bool, err error) {
	now := db.Now()
	kinds, names, periods := make([]string, len(run.Bounds)), make([]string, len(run.Bounds)), make([]string, len(run.Bounds))
	most := [4][]int64{}
	for i, b := range run.Bounds {
		kinds[i], names[i], periods[i] = b.Kind(), b.Name, b.Period(now)
		most[0], most[1], most[2] = append(most[0], b.Most.Tokens), append(most[1], b.Most.MicroUSD), append(most[2], b.Most.WorkMS)
		most[3] = append(most[3], b.Most.Runs)
	}
	var b pgx.Batch
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended('spending ' || $1, 0))`, run.Project)
	b.Queue(`
		WITH own AS (
			SELECT coalesce(sum(c.held_tokens), 0)::bigint AS tokens, coalesce(sum(c.held_microusd), 0)::bigint AS microusd,
			       coalesce((SELECT floor(extract(epoch FROM $8::timestamptz - r.started_at) * 1000)::bigint
			                 FROM runs r
			                 WHERE r.id = $1 AND r.state = 'running'), 0) AS work_ms
			FROM llm_calls c
			WHERE c.run_id = $1 AND c.status = 0
		), others AS (
			SELECT coalesce(sum(greatest(r.reserved_tokens - coalesce(s.input_tokens + s.output_tokens, 0), h.tokens)), 0)::bigint AS tokens,
			       coalesce(sum(greatest(r.reserved_microusd - coalesce(s.microusd, 0), h.microusd)), 0)::bigint AS microusd
			FROM runs r
			LEFT JOIN spending s ON s.kind = 'run' AND s.project_id = r.project_id AND s.name = r.id::text AND s.period = ''
			CROSS JOIN LATERAL (SELECT coalesce(sum(held_tokens), 0) AS tokens, coalesce(sum(held_microusd), 0) AS microusd
			                    FROM llm_calls
			                    WHERE run_id = r.id AND status = 0) h
			WHERE r.project_id = $2 AND r.finished_at IS NULL AND r.state IN ('starting', 'running') AND r.id <> $1
		), accounts AS (
			SELECT b.n, b.tokens, b.microusd, b.work_ms, b.runs, coalesce(s.runs, 0) AS spent_runs, coalesce(s.more_runs, 0) AS more_runs, coalesce(s.warned, 0) AS warned,
			       coalesce(s.input_tokens + s.output_tokens, 0) AS spent_tokens, coalesce(s.microusd, 0) AS spent_microusd, coalesce(s.work_ms, 0) + own.work_ms AS spent_ms,
			       coalesce(s.more_tokens, 0) AS more_tokens, coalesce(s.more_microusd, 0) AS more_microusd, coalesce(s.more_ms, 0) AS more_ms,
			       own.tokens AS own_tokens, own.microusd AS own_microusd,
			       CASE WHEN b.kind = 'project' THEN others.tokens ELSE 0 END AS others_tokens,
			       CASE WHEN b.kind = 'project' THEN others.microusd ELSE 0 END AS others_microusd
			FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $9::bigint[], $18::bigint[])
			     WITH ORDINALITY AS b (kind, name, period, tokens, microusd, work_ms, runs, n)
			CROSS JOIN own
			CROSS JOIN others
			LEFT JOIN spending s ON s.kind = b.kind AND s.project_id = $2 AND s.name = b.name AND s.period = b.period
		), available AS (
			SELECT min(tokens + more_tokens - spent_tokens - own_tokens - others_tokens) FILTER (WHERE tokens > 0) AS tokens,
			       min(microusd + more_microusd - spent_microusd - own_microusd - others_microusd) FILTER (WHERE microusd > 0) AS microusd,
			       min(work_ms + more_ms - spent_ms) FILTER (WHERE work_ms > 0) AS work_ms,
			       min(runs + more_runs - spent_runs) FILTER (WHERE runs > 0) AS runs
			FROM accounts
		), saved AS (
			INSERT INTO llm_calls (id, run_id, model, endpoint, started_at, status, duration_ms, held_tokens, held_microusd)
			SELECT $10, $1, $11, $12, $13, 0, 0, least($14::bigint, tokens), least($15::bigint, microusd)
			FROM available
			WHERE coalesce(tokens >= greatest($16::bigint, 1), true) AND coalesce(microusd >= greatest($17::bigint, 1), true)
			  AND coalesce(work_ms > 0, true) AND coalesce(runs > 0, true)
			RETURNING held_tokens, held_microusd
		)
		SELECT a.spent_tokens, a.spent_microusd, a.spent_ms, a.spent_runs, a.more_tokens, a.more_microusd, a.more_ms, a.more_runs, a.warned,
		       a.own_tokens, a.own_microusd, a.others_tokens, a.others_microusd,
		       saved.held_tokens IS NOT NULL, coalesce(saved.held_tokens, 0), coalesce(saved.held_microusd, 0)
		FROM accounts a
		LEFT JOIN saved ON true
		ORDER BY a.n
	`, run.ID, run.Project, kinds, names, periods, most[0], most[1], now, most[2],
		c.ID, c.Model, c.Endpoint, c.Started, h.Worst.Tokens, h.Worst.MicroUSD, h.Need.Tokens, h.Need.MicroUSD, most[3]).Query(func(rows pgx.Rows) error {
		for i := 0; rows.Next(); i++ {
			a := budget.Account{Bound: run.Bounds[i], Period: periods[i]}
			if err := rows.Scan(&a.Spent.Tokens, &a.Spent.MicroUSD, &a.Spent.WorkMS, &a.Spent.Runs, &a.More.Tokens, &a.More.MicroUSD, &a.More.WorkMS, &a.More.Runs, &a.Warned,
				&a.Held.Tokens, &a.Held.MicroUSD, &a.Others.Tokens, &a.Others.MicroUSD, &held, &hold.Tokens, &hold.MicroUSD); err != nil {
				return err
			}
			accounts = append(accounts, a)
		}
		return rows.Err()
	})
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return hold, nil, false, fmt.Errorf("holding what model call %s may use: %w", c.ID, err)
	}
	return hold, accounts, held, nil
}

// Extend adds to a budget what people have granted. The caller's Step has locked the project.
func (tx *Tx) Extend(ctx context.Context, project string, e events.BudgetExtension) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO spending AS s (kind, project_id, name, period, more_tokens, more_microusd, more_ms, more_runs)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (kind, project_id, name, period) DO UPDATE
		SET more_tokens = s.more_tokens + excluded.more_tokens, more_microusd = s.more_microusd + excluded.more_microusd, more_ms = s.more_ms + excluded.more_ms,
		    more_runs = s.more_runs + excluded.more_runs
	`, e.Kind, project, e.Name, e.Period, e.Tokens, e.MicroUSD, e.WorkMS, e.Runs)
	if err != nil {
		return fmt.Errorf("extending the budget of %s %s: %w", e.Kind, e.Name, err)
	}
	return nil
}

// WarnOfBudget stores that people are told of a percent of a run's budget, and the event that has it told. It returns
// the events to send: none if somebody else was faster.
func (db *DB) WarnOfBudget(ctx context.Context, w events.BudgetWarned, b budget.Account) ([]event.Event, error) {
	cause := Cause{events.Source(db.function) + "/budget", fmt.Sprintf("%s %s %s %s %d %v", b.Kind(), w.Project, b.Name, b.Period, w.Percent, b.Limit())}
	return db.Emit(ctx, cause, w.Correlation(), func(ctx context.Context, tx *Tx) (events.Decision, error) {
		ct, err := tx.Exec(ctx, `
			UPDATE spending
			SET warned = $5
			WHERE kind = $1 AND project_id = $2 AND name = $3 AND period = $4 AND warned < $5
		`, b.Kind(), w.Project, b.Name, b.Period, w.Percent)
		if err != nil || ct.RowsAffected() == 0 {
			return events.Decision{}, err
		}
		return events.Decision{Emit: []events.Draft{events.Now(w)}}, nil
	})
}

// queueMerged has the issue's breaker begin anew.
func queueMerged(b *pgx.Batch, project, issue string) {
	b.Queue(`
		DELETE FROM spending
		WHERE kind = 'issue' AND project_id = $1 AND name = $2 AND period = 'unmerged'
	`, project, issue)
}

// queueNet reads what a project has spent from its own budgets, without what people have added to them. The map is
// filled when the batch has been read.
func queueNet(b *pgx.Batch, project string, now time.Time) map[budget.Scope]budget.Amount {
	net := map[budget.Scope]budget.Amount{}
	for _, scope := range []budget.Scope{budget.Project, budget.Day, budget.Month} {
		b.Queue(`
			SELECT input_tokens + output_tokens - more_tokens, microusd - more_microusd, work_ms - more_ms
			FROM spending
			WHERE kind = 'project' AND project_id = $1 AND name = $1 AND period = $2
		`, project, budget.Bound{Scope: scope}.Period(now)).QueryRow(func(row pgx.Row) error {
			var a budget.Amount
			err := row.Scan(&a.Tokens, &a.MicroUSD, &a.WorkMS)
			net[scope] = a
			return optional(err)
		})
	}
	return net
}

// lostAfter is when a call that has not ended is known to belong to a process that is dead.
const lostAfter = 20 * time.Minute

// SettleLost ends calls whose process died. Nobody knows what they used, so they count as all that they held.
func (db *DB) SettleLost(ctx context.Context) (int64, error) {
	ct, err := db.pool.Exec(ctx, `
		UPDATE llm_calls
		SET status = 499, estimated = true, input_tokens = held_tokens, cost_microusd = held_microusd
		WHERE status = 0 AND started_at < $1 AND held_tokens > 0
	`, db.Now().Add(-lostAfter))
	if err != nil {
		return 0, fmt.Errorf("settling model calls that never ended: %w", err)
	}
	return ct.RowsAffected(), nil
}

// Spent is what a run has spent in all.
func (db *DB) Spent(ctx context.Context, run AgentRun) (a budget.Amount, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT input_tokens + output_tokens, microusd, work_ms
		FROM spending
		WHERE kind = 'run' AND project_id = $1 AND name = $2 AND period = ''
	`, run.Project, run.ID).Scan(&a.Tokens, &a.MicroUSD, &a.WorkMS)
	if err = optional(err); err != nil {
		return a, fmt.Errorf("reading what run %s has spent: %w", run.ID, err)
	}
	return a, nil
}

// SpentOn is what the runs of a work item have spent in all.
func (tx *Tx) SpentOn(ctx context.Context, project, workItem string) (calls, microusd int64, err error) {
	err = optional(tx.QueryRow(ctx, `
		SELECT calls, microusd
		FROM spending
		WHERE kind = 'issue' AND project_id = $1 AND name = $2 AND period = ''
	`, project, workItem).Scan(&calls, &microusd))
	if err != nil {
		return 0, 0, fmt.Errorf("looking for what %s has spent: %w", workItem, err)
	}
	return calls, microusd, nil
}
