package store

import (
	"context"
	"fmt"
)

// Bound counts the projects, and the repositories that are bound to one.
func (db *DB) Bound(ctx context.Context) (projects, repositories int, err error) {
	if err := db.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM projects), (SELECT count(*) FROM repositories)
	`).Scan(&projects, &repositories); err != nil {
		return 0, 0, fmt.Errorf("counting the projects: %w", err)
	}
	return projects, repositories, nil
}
