package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestTheDataOrTheWeather asks the real driver and the real Postgres for each failure, as its errors are told apart by
// their words and codes.
func TestTheDataOrTheWeather(t *testing.T) {
	db := pgtest.Open(t, pgtest.New(t))
	random := make([]byte, 6000) // nothing that Postgres could press into an index
	for i := range random {
		random[i] = byte('!' + (i*i*7919+i*31)%90)
	}
	item := func(repository string, issue any, title string, labels any) error {
		_, err := db.Exec(t.Context(), `INSERT INTO work_items (repository, issue, full_name, title, labels) VALUES ($1, $2, $1, $3, $4)`,
			repository, issue, title, labels)
		return err
	}
	for name, err := range map[string]error{
		"zero byte in a text":          item("acme/shop", 1, "a\x00b", []string{}),
		"zero byte in a list":          item("acme/shop", 1, "", []string{"a\x00b"}),
		"no UTF-8":                     item("acme/shop", 1, "\xff", []string{}),
		"a number that no int4 holds":  item("acme/shop", 1<<53+1, "", []string{}),
		"the same in a batch":          batched(t.Context(), db, int64(1<<53+1)),
		"no number at all":             item("acme/shop", "twelve", "", []string{}),
		"a number that a CHECK stops":  item("acme/shop", -1, "", []string{}),
		"a list that is NULL":          item("acme/shop", 1, "", nil),
		"too long for its index":       item(string(random), 1, "", []string{}),
		"zero byte in jsonb":           exec(t.Context(), db, `INSERT INTO run_reports (run_id, report) VALUES (gen_random_uuid(), $1)`, []byte(`{"a":"\u0000"}`)),
		"no JSON in jsonb":             exec(t.Context(), db, `INSERT INTO run_reports (run_id, report) VALUES (gen_random_uuid(), $1)`, []byte(`{`)),
		"a run that doesn't exist":     exec(t.Context(), db, `INSERT INTO run_reports (run_id, report) VALUES (gen_random_uuid(), '{}')`),
		"no UUID":                      exec(t.Context(), db, `SELECT 1 FROM runs WHERE id = $1`, "run 1"),
		"a number beyond a bigint":     exec(t.Context(), db, `SELECT $1::bigint + 1`, int64(math.MaxInt64)),
		"wrapped":                      fmt.Errorf("saving: %w", errors.Join(errors.New("x"), item("acme/shop", 1, "\x00", []string{}))),
		"a time that no clock can say": exec(t.Context(), db, `SELECT $1::timestamptz`, "year 99999999"),
	} {
		if !events.Unstorable(err) {
			t.Errorf("%s: taken for an outage: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := item("acme/shop", 7, "", []string{}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"nobody listens":        func() error { _, err := pgx.Connect(t.Context(), "postgres://u@127.0.0.1:1/x"); return err }(),
		"a password refused":    &codeError{"28P01"},
		"the caller has left":   exec(cancelled, db, `SELECT 1`),
		"cancelled by Postgres": &codeError{"57014"},
		"shutting down":         &codeError{"57P01"},
		"no disk":               &codeError{"53100"},
		"too many connections":  &codeError{"53300"},
		"deadlock":              &codeError{"40P01"},
		"locked":                &codeError{"55P03"},
		"two transactions met":  item("acme/shop", 7, "", []string{}),
		"not migrated yet":      exec(t.Context(), db, `SELECT 1 FROM no_such_table`),
		"a deadline":            context.DeadlineExceeded,
		"nothing":               nil,
	} {
		if events.Unstorable(err) {
			t.Errorf("%s: refused for good: %v", name, err)
		}
	}
}

func exec(ctx context.Context, db *pgtest.DB, sql string, args ...any) error {
	_, err := db.Exec(ctx, sql, args...)
	return err
}

// batched sends it as most of the store does.
func batched(ctx context.Context, db *pgtest.DB, issue int64) error {
	var b pgx.Batch
	b.Queue(`SELECT 1`)
	b.Queue(`SELECT 1 FROM work_items WHERE issue = $1`, issue)
	return db.SendBatch(ctx, &b).Close()
}

// A codeError is what Postgres says in moments that a test can't bring about.
type codeError struct{ code string }

func (e *codeError) Error() string    { return "SQLSTATE " + e.code }
func (e *codeError) SQLState() string { return e.code }
