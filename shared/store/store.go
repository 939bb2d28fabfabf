// Package store is the platform's memory in Postgres: the log of events and who
// has still to handle them, the audit, and one file per aggregate.
//
// A decider handles an event in one transaction, Step: lock the aggregate; if
// the inbox has (function, event), return what was emitted then; else load,
// decide, save, append audit, store the new events; commit. A doer first acts,
// in a way that can be repeated, and then records with Step what came of it.
//
// Every stored event has one row in pending per function that the Catalog names
// as its consumer. The consumer's Step deletes the row; whatever is left past
// its due_at was lost or is a timer, and Due hands it out to be sent. So the
// Broker may forget everything, and the cost of looking is that of what is
// outstanding, never of history.
//
// The log is also what tells our events from forged ones. All Services of a cluster
// share the address of its ingress, so no network policy keeps a pod that may call
// one function from calling another, and Knative's Broker proves nothing to whom it
// delivers. So Step and Handled refuse what is not in the log with the same type and
// the same data: whoever can write there holds the database's credentials.
//
// Time has one source, the clock of the function's process (Now, SetClock). What is
// due, late or over is compared with it, by the store and by the handler alike, and it
// stamps every row that is compared later. No statement asks Postgres for the time, so
// there are no two clocks in one decision; a column's DEFAULT now() is for people and
// for rows of earlier releases. Clocks of several nodes differ by what NTP leaves, which
// is far below every bound here.
//
// A transaction's closure sees only the transaction (Tx). The SQL stands at its
// call site.
package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"codexk8s.dev/shared/events"
)

// ErrNotFound says that the row asked for does not exist.
var ErrNotFound = errors.New("not found")

// DB is one function's access to Postgres.
type DB struct {
	function string
	pool     *pgxpool.Pool
	now      func() time.Time
	unlogged []string
}

// Open prepares the connection pool of the named function. dsn is a libpq URL or
// DSN; unless it says otherwise the pool is small (4 connections, idle ones closed
// after half a minute): many functions share one Postgres. Nothing is dialled yet.
func Open(ctx context.Context, function, dsn string) (*DB, error) {
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL is no Postgres URL (postgres://user:password@host:5432/name)") // the error would show the password
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
	return &DB{function: function, pool: pool, now: time.Now}, nil
}

// Close closes the pool; its signature is that of serve's OnStop.
func (db *DB) Close(context.Context) error {
	db.pool.Close()
	return nil
}

// SetClock hands in another clock than the process's.
func (db *DB) SetClock(now func() time.Time) { db.now = now }

// Now is the time by the function's one clock: UTC, to the microsecond as Postgres keeps it.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// AllowUnlogged lets events in that are not in the log: those of other systems whose
// source begins with one of the prefixes, such as "https://github.com/acme/" where a
// GitHubSource feeds the Broker instead of webhook-adapter. Whoever reaches the
// function can forge them. Types of ours are never let in this way.
func (db *DB) AllowUnlogged(prefixes []string) error {
	for _, p := range prefixes {
		if u, err := url.Parse(p); err != nil || u.Scheme == "" || u.Host == "" {
			return fmt.Errorf("source prefix %q would let in too much: give scheme and host, https://github.com/acme/", p)
		}
	}
	db.unlogged = prefixes
	return nil
}

// MayBeUnlogged reports whether the event is let in without being in the log.
func (db *DB) MayBeUnlogged(e event.Event) bool {
	return !events.IsOurs(e.Type()) && slices.ContainsFunc(db.unlogged, func(p string) bool { return strings.HasPrefix(e.Source(), p) })
}

// notInLog refuses an event: sent by somebody who is not the platform, or changed on its way.
func notInLog(e event.Event) error {
	return events.Reject("not_in_log", fmt.Errorf("event %s of type %s from %s is not in the platform's log of events as it came: it was forged, or sent past webhook-adapter", e.ID(), e.Type(), e.Source()))
}

// Pool is the connection pool, for readers that need no aggregate.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Tx is a transaction of one function, handed to the closures of Step and Emit.
type Tx struct {
	pgx.Tx
	function string
	now      time.Time
}

// Now is the time of the transaction's start by the function's clock, UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// Step handles one event for this function, once. It locks the aggregate (a work
// item, "project/<id>", a run id), and calls decide unless the inbox has the
// event already. It returns the events to send: those of the decision that are
// due, or on a redelivery those of the first time that nobody has received yet.
// An event that is not in the log is rejected: not_in_log.
//
// An error of decide rolls everything back and is returned as it is.
func (db *DB) Step(ctx context.Context, cause event.Event, aggregate string,
	decide func(context.Context, *Tx) (events.Decision, error)) (emitted []event.Event, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		fresh, err := tx.receive(ctx, cause, aggregate, db.MayBeUnlogged(cause))
		if err != nil {
			return err
		}
		if !fresh {
			emitted, err = tx.emittedBy(ctx, cause)
			return err
		}
		d, err := decide(ctx, tx)
		if err != nil {
			return err
		}
		emitted, err = tx.record(ctx, cause, aggregate, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return emitted, nil
}

// Emit stores what an edge has to say about something outside: cause need not be
// an event of ours, its source and id only make the new ids repeatable. The same
// cause a second time stores no event twice and returns the same events again: the
// inbox of whoever had them already recognises them.
func (db *DB) Emit(ctx context.Context, cause event.Event, correlation string, save func(context.Context, *Tx) (events.Decision, error)) ([]event.Event, error) {
	var emitted []event.Event
	err := db.inTx(ctx, func(tx *Tx) error {
		d, err := save(ctx, tx)
		if err != nil {
			return err
		}
		emitted, err = tx.record(ctx, cause, correlation, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return emitted, nil
}

func (db *DB) inTx(ctx context.Context, f func(*Tx) error) error {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it is a no-op
	if err := f(&Tx{Tx: tx, function: db.function, now: db.Now()}); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// receive locks the aggregate, writes the receipt and looks the event up in the log
// (unless it need not be there), in one round trip. It reports whether this is the
// first time that the function sees the event.
func (tx *Tx) receive(ctx context.Context, e event.Event, aggregate string, logged bool) (fresh bool, err error) {
	var b pgx.Batch
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, aggregate)
	b.Queue(`
		INSERT INTO inbox (function, source, id, handled_at)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING
	`, tx.function, e.Source(), e.ID(), tx.now).Exec(func(ct pgconnTag) error {
		fresh = ct.RowsAffected() == 1
		return nil
	})
	b.Queue(`
		DELETE FROM pending
		WHERE function = $1 AND source = $2 AND id = $3
	`, tx.function, e.Source(), e.ID())
	if !logged {
		b.Queue(isLogged, logKey(e)...).QueryRow(func(row pgx.Row) error { return row.Scan(&logged) })
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, fmt.Errorf("recording receipt of %s %s: %w", e.Type(), e.ID(), err)
	}
	if !logged {
		return false, notInLog(e) // rolls the receipt back
	}
	return fresh, nil
}

// isLogged asks whether an event is in the log as it is, with the arguments of logKey.
const isLogged = `
	SELECT EXISTS (
		SELECT 1
		FROM events
		WHERE source = $1 AND id = $2 AND type = $3 AND sha256(data) = $4
	)
`

func logKey(e event.Event) []any {
	sum := sha256.Sum256(e.Data())
	return []any{e.Source(), e.ID(), e.Type(), sum[:]}
}

// Handled reports whether the function has recorded the event: whoever acts before
// Step, at a cost or for good, asks first. An event that is not in the log is
// rejected: not_in_log.
func (db *DB) Handled(ctx context.Context, e event.Event) (bool, error) {
	var handled, logged bool
	var b pgx.Batch
	b.Queue(`
		SELECT EXISTS (SELECT 1 FROM inbox WHERE function = $1 AND source = $2 AND id = $3)
	`, db.function, e.Source(), e.ID()).QueryRow(func(row pgx.Row) error { return row.Scan(&handled) })
	b.Queue(isLogged, logKey(e)...).QueryRow(func(row pgx.Row) error { return row.Scan(&logged) })
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return false, fmt.Errorf("looking for the receipt of %s: %w", e.ID(), err)
	}
	if !logged && !db.MayBeUnlogged(e) {
		return false, notInLog(e)
	}
	return handled, nil
}
