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
// A transaction's closure sees only the transaction (Tx). The SQL stands at its
// call site.
package store

import (
	"context"
	"errors"
	"fmt"
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
}

// Open prepares the connection pool of the named function. url is a libpq URL or
// DSN; unless it says otherwise the pool is small (4 connections, idle ones closed
// after half a minute): many functions share one Postgres. Nothing is dialled yet.
func Open(ctx context.Context, function, url string) (*DB, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("DATABASE_URL is no Postgres URL (postgres://user:password@host:5432/name)") // the error would show the password
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = function
	}
	if c.MaxConns > 4 && !poolSizeSet(url) {
		c.MaxConns = 4
	}
	if c.MaxConnIdleTime > 30*time.Second {
		c.MaxConnIdleTime = 30 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection pool: %w", err)
	}
	return &DB{function: function, pool: pool}, nil
}

// Close closes the pool; its signature is that of serve's OnStop.
func (db *DB) Close(context.Context) error {
	db.pool.Close()
	return nil
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
//
// An error of decide rolls everything back and is returned as it is.
func (db *DB) Step(ctx context.Context, cause event.Event, aggregate string,
	decide func(context.Context, *Tx) (events.Decision, error)) (emitted []event.Event, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		fresh, err := tx.receive(ctx, cause, aggregate)
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
	if err := f(&Tx{Tx: tx, function: db.function, now: time.Now().UTC().Truncate(time.Microsecond)}); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// receive locks the aggregate and writes the receipt, in one round trip. It
// reports whether this is the first time that the function sees the event.
func (tx *Tx) receive(ctx context.Context, e event.Event, aggregate string) (fresh bool, err error) {
	var b pgx.Batch
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, aggregate)
	b.Queue(`
		INSERT INTO inbox (function, source, id)
		VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING
	`, tx.function, e.Source(), e.ID()).Exec(func(ct pgconnTag) error {
		fresh = ct.RowsAffected() == 1
		return nil
	})
	b.Queue(`
		DELETE FROM pending
		WHERE function = $1 AND source = $2 AND id = $3
	`, tx.function, e.Source(), e.ID())
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return false, fmt.Errorf("recording receipt of %s %s: %w", e.Type(), e.ID(), err)
	}
	return fresh, nil
}

// Handled reports whether the function has recorded the event: a doer whose act
// is costly asks before it acts.
func (db *DB) Handled(ctx context.Context, e event.Event) (bool, error) {
	var handled bool
	err := db.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT 1 FROM inbox WHERE function = $1 AND source = $2 AND id = $3)
	`, db.function, e.Source(), e.ID()).Scan(&handled)
	if err != nil {
		return false, fmt.Errorf("looking for the receipt of %s: %w", e.ID(), err)
	}
	return handled, nil
}
