package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PauseGitHub keeps every instance from using the credential until then. A longer pause stays.
func (db *DB) PauseGitHub(ctx context.Context, credential string, until time.Time, reason string) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO github_pauses AS p (credential, until, reason)
		VALUES ($1, $2, $3)
		ON CONFLICT (credential) DO UPDATE
		SET until = excluded.until, reason = excluded.reason
		WHERE p.until < excluded.until
	`, credential, until, reason)
	if err != nil {
		return fmt.Errorf("recording the pause of %s: %w", credential, err)
	}
	return nil
}

// GitHubPause is until when the credential must not be used; zero when it may be.
func (db *DB) GitHubPause(ctx context.Context, credential string) (time.Time, error) {
	var until time.Time
	err := db.pool.QueryRow(ctx, `
		SELECT until
		FROM github_pauses
		WHERE credential = $1 AND until > $2
	`, credential, db.Now()).Scan(&until)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for a pause of %s: %w", credential, err)
	}
	return until, nil
}

// A Pause is until when a GitHub credential must not be used.
type Pause struct {
	Credential string    `json:"credential"`
	Until      time.Time `json:"until"`
	Reason     string    `json:"reason"`
}

// Pauses reads the pauses that are in force.
func (db *DB) Pauses(ctx context.Context) ([]Pause, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT credential, until, reason
		FROM github_pauses
		WHERE until > $1
		ORDER BY credential
	`, db.Now())
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	pauses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	if err != nil {
		return nil, fmt.Errorf("reading GitHub's pauses: %w", err)
	}
	return pauses, nil
}
