package store

import (
	"context"
	"fmt"
	"time"
)

// Ticked records that this function has done its round.
func (db *DB) Ticked(ctx context.Context) error {
	_, err := db.pool.Exec(ctx, `
		INSERT INTO ticks (function, ticked_at)
		VALUES ($1, $2)
		ON CONFLICT (function) DO UPDATE
		SET ticked_at = excluded.ticked_at
	`, db.function, db.Now())
	if err != nil {
		return fmt.Errorf("noting the tick: %w", err)
	}
	return nil
}

// Seen is when things happened last; zero = never.
type Seen struct {
	Now      time.Time `json:"now"`               // by the clock that stamped the others
	Tick     time.Time `json:"tick,omitzero"`     // timekeeper's last round
	Delivery time.Time `json:"delivery,omitzero"` // the last webhook of GitHub that was stored
}

// Seen reads when things happened last.
func (db *DB) Seen(ctx context.Context) (Seen, error) {
	s := Seen{Now: db.Now()}
	err := db.pool.QueryRow(ctx, `
		SELECT (SELECT ticked_at FROM ticks WHERE function = 'timekeeper'), (SELECT max(received_at) FROM deliveries)
	`).Scan(zero(&s.Tick), zero(&s.Delivery))
	if err != nil {
		return s, fmt.Errorf("reading what happened last: %w", err)
	}
	return s, nil
}
