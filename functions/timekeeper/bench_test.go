package main

import (
	"context"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// BenchmarkTick does the regular work of a platform where nobody waits, and of one where 10,000 runs wait for people,
// each with a request and its timer. The price must be the same.
func BenchmarkTick(b *testing.B) {
	for _, many := range []bool{false, true} {
		name := "empty"
		url := pgtest.Durable(b)
		db, err := store.Open(b.Context(), "timekeeper", url)
		if err != nil {
			b.Fatal(err)
		}
		if many {
			name = "10,000 wait"
			sql := pgtest.Open(b, url)
			sql.Do(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
			sql.Do(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/many', 'p')`)
			sql.Do(manyWait)
			sql.Do(`VACUUM ANALYZE`)
		}
		h := &handler{db: db, send: func(context.Context, ...event.Event) error { return nil }}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := h.tick(b.Context(), event.New()); err != nil {
					b.Fatal(err)
				}
			}
		})
		_ = db.Close(context.Background())
	}
}
