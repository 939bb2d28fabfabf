package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// Tx is a transaction of one function, handed to the closures of Step and Emit.
type Tx struct {
	pgx.Tx
	function  string
	now       time.Time
	processes *processes
}

// Now is the time of the transaction's start by the function's clock, UTC.
func (tx *Tx) Now() time.Time { return tx.now }

// Step handles one event for this function, once. It locks the aggregate (a work item, "project/<id>", a run id), and
// calls decide unless the inbox has the event already. It returns the events to send: those of the decision that are
// due, or on a redelivery those of the first time that were not all received yet. An event that is not in the log is
// rejected: not_in_log.
//
// An error of decide rolls everything back and is returned as it is. But after ErrChanged decide is called again and
// sees the change: steps of two aggregates may meet in one run.
func (db *DB) Step(ctx context.Context, cause event.Event, aggregate string,
	decide func(context.Context, *Tx) (events.Decision, error)) (emitted []event.Event, err error) {
	for range maxTries {
		if emitted, err = db.step(ctx, cause, aggregate, decide); !errors.Is(err, ErrChanged) {
			break
		}
	}
	return emitted, err
}

// maxTries is how often a step that meets others is tried before the event has to be sent again.
const maxTries = 3

func (db *DB) step(ctx context.Context, cause event.Event, aggregate string,
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

// Receipt records that the function has seen an event that means nothing to it. Without it the event would count as
// lost and be sent again.
func (db *DB) Receipt(ctx context.Context, e event.Event) ([]event.Event, error) {
	return db.Step(ctx, e, e.Source()+" "+e.ID(), func(context.Context, *Tx) (events.Decision, error) { return events.Decision{}, nil })
}

// recordFor bounds the recording of an act whose sender has hung up.
const recordFor = 10 * time.Second

// Act handles one event whose effect is outside, once: unless the inbox has the event already, it calls act, which must
// be repeatable, and then records the result with Step, even if the sender has hung up meanwhile. Two deliveries at
// once may both act; one is recorded. An event that is not in the log is rejected before act is called.
//
// An error of act records nothing and is returned as it is: the next delivery acts again.
func (db *DB) Act(ctx context.Context, cause event.Event, aggregate string, act func(context.Context) (events.Decision, error)) ([]event.Event, error) {
	handled, err := db.Handled(ctx, cause)
	if err != nil {
		return nil, err
	}
	var d events.Decision
	if !handled {
		if d, err = act(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordFor)
	defer cancel()
	return db.Step(ctx, cause, aggregate, func(context.Context, *Tx) (events.Decision, error) { return d, nil })
}

// A Cause names what emitted events are about if no event was handled: a Job's end, a label on GitHub. The same cause
// gives the same ids, so reporting it twice makes one event.
type Cause struct{ Source, ID string }

// event is the cause in the form of an event that has nothing else.
func (c Cause) event() event.Event {
	e := event.New()
	e.SetSource(c.Source)
	e.SetID(c.ID)
	return e
}

// Emit stores what an edge reports about something outside. The same cause again stores no event and returns those that
// are stored, whatever it says now; their consumers recognise them by their inbox.
func (db *DB) Emit(ctx context.Context, cause Cause, correlation string, save func(context.Context, *Tx) (events.Decision, error)) ([]event.Event, error) {
	var emitted []event.Event
	err := db.inTx(ctx, func(tx *Tx) error {
		d, err := save(ctx, tx)
		if err != nil {
			return err
		}
		e := cause.event()
		if correlation != "" {
			e.SetExtension(events.ExtCorrelation, correlation)
		}
		emitted, err = tx.record(ctx, e, correlation, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return emitted, nil
}

// Look reads in one transaction, all of it as of one moment, and Postgres lets it change nothing.
func (db *DB) Look(ctx context.Context, read func(context.Context, *Tx) error) error {
	return db.in(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx *Tx) error { return read(ctx, tx) })
}

func (db *DB) inTx(ctx context.Context, f func(*Tx) error) error {
	return db.in(ctx, pgx.TxOptions{}, f)
}

func (db *DB) in(ctx context.Context, options pgx.TxOptions, f func(*Tx) error) error {
	tx, err := db.pool.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it is a no-op
	if err := f(&Tx{Tx: tx, function: db.function, now: db.Now(), processes: db.processes}); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// receive locks the aggregate, writes the receipt and looks the event up in the log (unless it need not be there), in
// one round trip. It reports whether this is the first time that the function sees the event.
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

// Handled reports whether the function has recorded the event. Ask it before acting outside of Step. An event that is
// not in the log is rejected: not_in_log.
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
