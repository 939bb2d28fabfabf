package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func optional(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// uuidOrNull is NULL, which matches no row, for a text that is not a UUID. Keys are compared as UUIDs, because
// comparing them as text would not use the index.
func uuidOrNull(text string) any {
	id, err := uuid.Parse(text)
	if err != nil {
		return nil
	}
	return id
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func noNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// nullTime scans NULL as the zero time.
type nullTime struct{ to *time.Time }

func zero(t *time.Time) *nullTime { return &nullTime{t} }

// Scan implements sql.Scanner.
func (n *nullTime) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*n.to = time.Time{}
	case time.Time:
		*n.to = v.UTC()
	default:
		return fmt.Errorf("reading a time: got %T", v)
	}
	return nil
}

type pgconnTag = pgconn.CommandTag
