package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Log writes an event into the log of events, as its sender does before it sends: what is not there, a function refuses.
// An event that is there already stays as it is.
func Log(t testing.TB, db interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
}, source, id, eventType string, data []byte) {
	t.Helper()
	if data == nil {
		data = []byte{}
	}
	_, err := db.Exec(t.Context(), `
		INSERT INTO events (source, id, type, time, data)
		VALUES ($1, $2, $3, now(), $4)
		ON CONFLICT DO NOTHING
	`, source, id, eventType, data)
	if err != nil {
		t.Fatalf("writing event %s into the log: %v", id, err)
	}
}
