package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/stage"
)

// queueLately reads what was asked for lately in the item's repository. The item's own row comes before it in the
// batch. With lock, nobody else in the repository reads it until the transaction is over: two requests at once would
// both be the last one that is allowed.
func (tx *Tx) queueLately(b *pgx.Batch, item *stage.Item, lock bool) {
	rule := item.Process.Storm
	if rule.Runs == 0 {
		return
	}
	if lock {
		b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "storm/"+item.RepositoryKey)
	}
	since := tx.now.Add(-rule.Within)
	b.Queue(`
		SELECT (SELECT count(*)
		        FROM (SELECT FROM runs WHERE repository = $1 AND created_at > $2 AND coalesce(kind, 'work') IN ('work', 'revise') LIMIT $3) AS r),
		       EXISTS (SELECT 1
		               FROM work_items
		               WHERE repository = $1 AND held_at > $2 AND issue <> $4 AND held @> '{"told": true}')
	`, item.RepositoryKey, since, rule.Runs, item.Issue).QueryRow(func(row pgx.Row) error {
		return row.Scan(&item.Lately.Runs, &item.Lately.Led)
	})
	if rule.Policy != stage.ReplaceStorm {
		return
	}
	b.Queue(`
		SELECT id::text, project_id, issue
		FROM runs
		WHERE repository = $1 AND state IN ('requested', 'queued') AND attempt = 0 AND coalesce(kind, 'work') IN ('work', 'revise')
		ORDER BY created_at, id
		LIMIT 1
	`, item.RepositoryKey).QueryRow(func(row pgx.Row) error {
		w := item.RepositoryRef()
		if err := row.Scan(&w.RunID, &w.Project, &w.Issue); err != nil {
			return optional(err)
		}
		item.Lately.Waiting = &w
		return nil
	})
}

// queueHeld reads what is held on other issues of the repository since something is on this one.
func queueHeld(b *pgx.Batch, item *stage.Item) {
	b.Queue(`
		SELECT issue, coalesce(held ->> 'label', '')
		FROM work_items
		WHERE repository = $1 AND issue <> $2
		  AND held_at >= (SELECT held_at FROM work_items WHERE repository = $1 AND issue = $2)
		ORDER BY held_at, issue
		LIMIT $3
	`, item.RepositoryKey, item.Issue, stage.MaxHeld+1).Query(func(rows pgx.Rows) (err error) {
		item.Lately.Held, err = pgx.CollectRows(rows, pgx.RowToStructByPos[stage.HeldIssue])
		return err
	})
}

// HeldBack is what storms hold in one repository.
type HeldBack struct {
	Repository string    `json:"repository"`
	Issues     int       `json:"issues"`
	First      int       `json:"first"` // issue
	Since      time.Time `json:"since"`
}

// HeldBack reads what is held in all repositories and can be let go.
func (db *DB) HeldBack(ctx context.Context) ([]HeldBack, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT repository, count(*), (array_agg(issue ORDER BY held_at, issue))[1], min(held_at)
		FROM work_items
		WHERE held_at IS NOT NULL AND NOT held @> '{"skipped": true}'
		GROUP BY repository
		ORDER BY repository
	`)
	if err != nil {
		return nil, fmt.Errorf("counting what is held back: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[HeldBack])
	if err != nil {
		return nil, fmt.Errorf("counting what is held back: %w", err)
	}
	return all, nil
}
