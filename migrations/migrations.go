// Package migrations holds the schema: SQL files named NNN_sentence.sql, applied in order, forward only. Each works
// with the release before it still running, so a roll-out needs no downtime.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Latest is the number of the newest file: the version of the schema that this release wants.
func Latest() (version int64) {
	names, _ := fs.Glob(files, "*.sql") // the pattern is valid
	for _, name := range names {
		if n, err := goose.NumericComponent(name); err == nil {
			version = max(version, n)
		}
	}
	return version
}

// Up applies what is missing to the database of that URL and returns the version of the schema afterwards. Any number
// may start at once: one works under an advisory lock of the session, the others wait for it (five minutes at most) and
// find nothing to do.
func Up(ctx context.Context, url string) (version int64, err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return 0, fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return 0, fmt.Errorf("preparing the migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("reading the migrations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if _, err := p.Up(ctx); err != nil {
		return 0, fmt.Errorf("applying the migrations: %w", err)
	}
	version, err = p.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the schema version: %w", err)
	}
	return version, nil
}
