package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a test's own way into its database, beside that of the code under test.
type DB struct {
	*pgxpool.Pool
	t testing.TB
}

// Open connects to the database of that URL. It is closed when the test ends.
func Open(t testing.TB, url string) *DB {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &DB{pool, t}
}

// Do runs a statement that must succeed, and returns how many rows it touched.
func (db *DB) Do(statement string, args ...any) int64 {
	db.t.Helper()
	done, err := db.Exec(db.t.Context(), statement, args...)
	if err != nil {
		db.t.Fatalf("%s: %v", statement, err)
	}
	return done.RowsAffected()
}

// Copy inserts many rows at once.
func (db *DB) Copy(table string, columns []string, rows [][]any) {
	db.t.Helper()
	if _, err := db.CopyFrom(db.t.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows)); err != nil {
		db.t.Fatalf("copying %d rows into %s: %v", len(rows), table, err)
	}
}

// Lines returns the rows of a query of one text column.
func (db *DB) Lines(query string, args ...any) []string { return Column[string](db, query, args...) }

// One returns the one value that a query gives.
func One[T any](db *DB, query string, args ...any) T {
	db.t.Helper()
	all := Column[T](db, query, args...)
	if len(all) != 1 {
		db.t.Fatalf("%s: got %d rows, want one", query, len(all))
	}
	return all[0]
}

// Column returns the rows of a query of one column.
func Column[T any](db *DB, query string, args ...any) []T {
	db.t.Helper()
	rows, err := db.Query(db.t.Context(), query, args...)
	if err != nil {
		db.t.Fatalf("%s: %v", query, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		db.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// Rows returns the rows of a query as structs, column by column.
func Rows[T any](db *DB, query string, args ...any) []T {
	db.t.Helper()
	rows, err := db.Query(db.t.Context(), query, args...)
	if err != nil {
		db.t.Fatalf("%s: %v", query, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		db.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// Log writes an event into the log of events, as its sender does before it sends: what is not there, a function
// refuses. An event that is there already stays as it is.
func (db *DB) Log(source, id, eventType string, data []byte) {
	db.t.Helper()
	if data == nil {
		data = []byte{}
	}
	db.Do(`
		INSERT INTO events (source, id, type, time, data)
		VALUES ($1, $2, $3, now(), $4)
		ON CONFLICT DO NOTHING
	`, source, id, eventType, data)
}
