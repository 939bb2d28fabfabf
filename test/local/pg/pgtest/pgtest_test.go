package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// migrate counts its calls in the database itself: a second call would fail.
func migrate(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE TABLE run (id int PRIMARY KEY)")
	return err
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := pgx.Connect(t.Context(), New(t, migrate))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			// The same key in both: it would collide in a shared database.
			if _, err := conn.Exec(t.Context(), "INSERT INTO run VALUES (1)"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestURLIsAnEmptyDatabase(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var tables int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("an empty database has %d tables", tables)
	}
}
