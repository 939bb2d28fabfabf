// Package pgtest gives a test a database of its own on a real PostgreSQL.
//
// The first test of a process that asks starts a throw-away server, which ends with the process; with TEST_DATABASE_URL
// set, its server is used instead. The migrations run once per process, into a template database, and each test gets a
// clone of it, which takes some milliseconds. A machine without PostgreSQL fails the test: a skipped store test would
// say nothing.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codexk8s.dev/migrations"
	"codexk8s.dev/test/local/pg"
	"github.com/jackc/pgx/v5"
)

// server is the one server of this process: the URL of its maintenance database, or why there is none.
var server = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TEST_DATABASE_URL"); given != "" {
		return given, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// Nobody stops it: the guard does when the process ends, since a test process has no last line of its own.
	s, err := pg.Start(ctx, pg.Options{MaxConnections: 300})
	if err != nil {
		return "", err
	}
	return s.URL(""), nil
})

// Databases of one server must have names that differ between processes as well.
var (
	number atomic.Int64
	prefix = fmt.Sprintf("test_%d_%d", os.Getpid(), time.Now().UnixNano())
)

// template is the migrated database that New clones. CREATE DATABASE needs it to itself, hence the lock.
var template struct {
	sync.Mutex
	name string
	err  error
}

// URL returns the connection string of an empty database, dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	admin := adminURL(t)
	name := fmt.Sprintf("%s_%d", prefix, number.Add(1))
	execute(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { drop(t, admin, name) })
	return withDatabase(t, admin, name)
}

// New returns the connection string of a database with the migrations applied, dropped when the test ends.
func New(t testing.TB) string {
	t.Helper()
	admin := adminURL(t)
	template.Lock()
	defer template.Unlock()
	if template.name == "" {
		template.name = prefix + "_template"
		execute(t, admin, "CREATE DATABASE "+template.name)
		_, template.err = migrations.Up(t.Context(), withDatabase(t, admin, template.name))
	}
	if template.err != nil {
		t.Fatalf("applying the migrations to the template database: %v", template.err)
	}
	name := fmt.Sprintf("%s_%d", prefix, number.Add(1))
	execute(t, admin, "CREATE DATABASE "+name+" TEMPLATE "+template.name)
	t.Cleanup(func() { drop(t, admin, name) })
	return withDatabase(t, admin, name)
}

// Durable returns the connection string of a migrated database on a server of its own that truly syncs to disk, which
// is what a measured commit has to do. Both end with the test.
func Durable(t testing.TB) string {
	t.Helper()
	s, err := pg.Start(t.Context(), pg.Options{Durable: true})
	if err != nil {
		t.Fatalf("starting a postgres that syncs: %v", err)
	}
	t.Cleanup(s.Stop)
	if _, err := migrations.Up(t.Context(), s.URL("")); err != nil {
		t.Fatal(err)
	}
	return s.URL("")
}

func adminURL(t testing.TB) string {
	t.Helper()
	admin, err := server()
	if err != nil {
		t.Fatalf("starting postgres for the tests: %v", err)
	}
	return admin
}

func withDatabase(t testing.TB, admin, name string) string {
	t.Helper()
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("TEST_DATABASE_URL must be a URL like postgres://user@host:5432/postgres: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

func drop(t testing.TB, admin, name string) {
	t.Helper()
	execute(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// execute runs one statement. The test's own context is over in its cleanups, so it is not used.
func execute(t testing.TB, admin, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		t.Fatalf("connecting to postgres: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
