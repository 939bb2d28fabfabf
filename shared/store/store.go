// Package store is the platform's memory in Postgres: the log of events and who still has to handle them, the audit,
// and one file per aggregate.
//
// A decider handles an event in one transaction, Step: lock the aggregate; if the inbox has (function, event), return
// what was emitted then; else load, decide, save, append audit, store the new events; commit. A doer first acts, in a
// way that can be repeated, and then records the result with Step (Act).
//
// Every stored event has one row in pending per function that the Catalog names as its consumer. The consumer's Step
// deletes the row; a row left past its due_at was lost or is a timer, and Due hands it out to be sent. So the Broker
// may forget everything, and looking for lost events costs as much as there is outstanding, however long the history.
//
// The log is also what tells our events from forged ones. All Services of a cluster share the address of its ingress,
// so no network policy keeps a pod that may call one function from calling another, and Knative's Broker proves nothing
// to whom it delivers. So Step and Handled reject what is not in the log with the same type and the same data: only
// somebody with the database's credentials can write there.
//
// Time has one source, the clock of the function's process (Now, SetClock). Store and handlers alike compare with it
// what is due, late or over, and it stamps every row that is compared later. No statement asks Postgres for the time,
// so there are no two clocks in one decision; a column's DEFAULT now() is for people and for rows of earlier releases.
// The clocks of several nodes differ by what NTP leaves, far less than any bound here.
//
// A transaction's closure sees only the transaction (Tx). SQL is written at its call site.
package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotFound says that the row asked for does not exist.
var ErrNotFound = errors.New("not found")

// DB is one function's access to Postgres.
type DB struct {
	function string
	pool     *pgxpool.Pool
	now      func() time.Time
	unlogged []string

	processes *processes
}

// Open prepares the connection pool of the named function. dsn is a libpq URL or DSN; unless it says otherwise the pool
// is small (4 connections, idle ones closed after half a minute), because many functions share one Postgres. It does
// not connect yet.
func Open(ctx context.Context, function, dsn string) (*DB, error) {
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil || dsn == "" {
		return nil, errors.New("DATABASE_URL is not a Postgres URL (postgres://user:password@host:5432/name)") // the error would show the password
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = function
	}
	if c.MaxConns > 4 && !poolSizeSet(dsn) {
		c.MaxConns = 4
	}
	if c.MaxConnIdleTime > 30*time.Second {
		c.MaxConnIdleTime = 30 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection pool: %w", err)
	}
	return &DB{function: function, pool: pool, now: time.Now, processes: newProcesses()}, nil
}

// poolSizeSet reports whether the operator chose the pool's size.
func poolSizeSet(url string) bool { return strings.Contains(url, "pool_max_conns") }

// Address is where the Postgres of a DSN listens, host:port; "" for a Unix socket, which no pod can reach, or for no
// DSN.
func Address(dsn string) string {
	c, err := pgconn.ParseConfig(dsn)
	if err != nil || strings.HasPrefix(c.Host, "/") {
		return ""
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// Close closes the pool; its signature is that of serve's OnStop.
func (db *DB) Close(context.Context) error {
	db.pool.Close()
	return nil
}

// Ping reports whether Postgres answers.
func (db *DB) Ping(ctx context.Context) error { return db.pool.Ping(ctx) }

// SetClock replaces the process's clock.
func (db *DB) SetClock(now func() time.Time) { db.now = now }

// Now is the time by the function's one clock: UTC, to the microsecond as Postgres keeps it.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }
