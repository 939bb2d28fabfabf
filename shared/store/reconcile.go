package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A BoundRepository is a project's repository as far as comparing with GitHub needs it.
type BoundRepository struct {
	Repository
	HookID     int64     // 0 = not known
	Reconciled time.Time // up to when it was compared; zero = never
}

// Unreconciled reads the bound repositories that were not compared since then, the longest waiting first.
func (db *DB) Unreconciled(ctx context.Context, since time.Time) ([]BoundRepository, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT `+repositoryColumns+`, r.hook_id, r.reconciled_at
		FROM repositories r`+inForce+`
		WHERE r.reconciled_at IS NULL OR r.reconciled_at <= $1
		ORDER BY r.reconciled_at NULLS FIRST, r.full_name
	`, since, db.processes.known())
	if err != nil {
		return nil, fmt.Errorf("reading the repositories: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (BoundRepository, error) {
		var r BoundRepository
		var err error
		r.Repository, err = db.scanRepository(row, &r.HookID, zero(&r.Reconciled))
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the repositories: %w", err)
	}
	return found, nil
}

// Reconciled records up to when the repository (by its key) was compared, and which hook is ours (0 = not known).
func (db *DB) Reconciled(ctx context.Context, key string, hook int64, until time.Time) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE repositories
		SET reconciled_at = $3, hook_id = $2
		WHERE full_name = $1
	`, key, hook, until)
	if err != nil {
		return fmt.Errorf("noting that %s was compared: %w", key, err)
	}
	return nil
}

// AppReconciled reads up to when the hook of a GitHub App, named by its credential, was compared; zero = never.
func (db *DB) AppReconciled(ctx context.Context, credential string) (until time.Time, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT reconciled_at
		FROM app_hooks
		WHERE credential = $1
	`, credential).Scan(&until)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("reading when the App's hook was compared: %w", err)
	}
	return until, nil
}

// ReconcileApp records up to when the hook of a GitHub App was compared.
func (db *DB) ReconcileApp(ctx context.Context, credential string, until time.Time) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO app_hooks (credential, reconciled_at)
		VALUES ($1, $2)
		ON CONFLICT (credential) DO UPDATE
		SET reconciled_at = excluded.reconciled_at
	`, credential, until)
	if err != nil {
		return fmt.Errorf("noting that the App's hook was compared: %w", err)
	}
	return nil
}

// HookHeard returns the one of the hooks from which a delivery has arrived before; 0 = none.
func (db *DB) HookHeard(ctx context.Context, hooks []int64) (hook int64, err error) {
	// One look-up in the index per hook: for a join on d.hook_id = h.id Postgres expects an early hit and scans the
	// table.
	err = db.pool.QueryRow(ctx, `
		SELECT h.id
		FROM unnest($1::bigint[]) AS h (id)
		CROSS JOIN LATERAL (SELECT d.hook_id FROM deliveries d WHERE d.hook_id >= h.id ORDER BY d.hook_id LIMIT 1) AS next
		WHERE next.hook_id = h.id
		LIMIT 1
	`, hooks).Scan(&hook)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("looking for deliveries of the hooks %v: %w", hooks, err)
	}
	return hook, nil
}

// MissingDeliveries returns those of the GUIDs that never arrived, with one look-up each: ask for a page at a time.
func (db *DB) MissingDeliveries(ctx context.Context, guids []string) ([]string, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT DISTINCT g.guid
		FROM unnest($1::text[]) AS g (guid)
		WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.guid = g.guid)
	`, guids)
	if err != nil {
		return nil, fmt.Errorf("comparing deliveries: %w", err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("comparing deliveries: %w", err)
	}
	return missing, nil
}

// LabelAnswered reports whether a trigger label was dealt with: the issue has an active run, or one that is newer than
// the label, or this function has reported the label before (cause is the id that it gave as the cause). An active run
// is no answer to a label that means something beside it, such as one that aborts. key is the repository's.
func (db *DB) LabelAnswered(ctx context.Context, key string, issue int, labeled time.Time, cause string, beside bool) (bool, error) {
	var answered bool
	err := db.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM runs
		               WHERE repository = $1 AND issue = $2 AND (created_at >= $3 OR NOT $6 AND finished_at IS NULL))
		    OR EXISTS (SELECT 1 FROM events
		               WHERE cause_id = $4 AND cause_id <> '' AND function = $5) -- as the index says
	`, key, issue, labeled, cause, db.function, beside).Scan(&answered)
	if err != nil {
		return false, fmt.Errorf("looking for runs of %s#%d: %w", key, issue, err)
	}
	return answered, nil
}
