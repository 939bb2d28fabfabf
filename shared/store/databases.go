package store

import (
	"context"
	"fmt"
)

// A RunDatabase is one that a tool has made for the runs of a work item, or is making. It is on record before anything
// is made and until all of it is gone, so that it can be removed whatever the project's settings say by then.
type RunDatabase struct {
	Server string // the Secret that lets us in; "" = there is no such database
	Made   bool   // its password and the Secret of the run's namespace fit
}

// PlanDatabase puts on record that the namespace gets a database on the server that the project names, unless it has
// one. Server is "" if there is none and the project names no server.
func (db *DB) PlanDatabase(ctx context.Context, namespace, project string) (RunDatabase, error) {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO run_databases (namespace, server, created_at)
		SELECT $1, settings ->> 'database', $3
		FROM projects
		WHERE id = $2 AND settings ->> 'database' <> ''
		ON CONFLICT DO NOTHING
	`, namespace, project, db.Now())
	if err != nil {
		return RunDatabase{}, fmt.Errorf("planning a database for %s: %w", namespace, err)
	}
	return db.RunDatabase(ctx, namespace)
}

// RunDatabase reads which database belongs to the namespace.
func (db *DB) RunDatabase(ctx context.Context, namespace string) (d RunDatabase, err error) {
	err = optional(db.pool.QueryRow(ctx, `
		SELECT server, made
		FROM run_databases
		WHERE namespace = $1
	`, namespace).Scan(&d.Server, &d.Made))
	if err != nil {
		return d, fmt.Errorf("reading which database %s has: %w", namespace, err)
	}
	return d, nil
}

// DatabaseMade records whether the database's password and the Secret of the namespace fit.
func (db *DB) DatabaseMade(ctx context.Context, namespace string, made bool) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE run_databases
		SET made = $2
		WHERE namespace = $1
	`, namespace, made)
	if err != nil {
		return fmt.Errorf("recording the database of %s: %w", namespace, err)
	}
	return nil
}

// DatabaseGone records that the namespace has no database any more.
func (db *DB) DatabaseGone(ctx context.Context, namespace string) error {
	_, err := db.pool.Exec(ctx, `
		DELETE FROM run_databases
		WHERE namespace = $1
	`, namespace)
	if err != nil {
		return fmt.Errorf("recording that the database of %s is gone: %w", namespace, err)
	}
	return nil
}
