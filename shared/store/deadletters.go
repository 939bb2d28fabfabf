package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// A DeadLetter is an event that failed for good at one function. The event's data are in the log of events.
type DeadLetter struct {
	Function   string          `json:"function"`
	Source     string          `json:"source"`
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Code       int             `json:"code"` // HTTP status of the rejection; 0 = nobody rejected it, but no receipt came
	Error      string          `json:"error"`
	Envelope   json.RawMessage `json:"envelope"` // the CloudEvent in JSON, without its data
	DiedAt     time.Time       `json:"diedAt"`
	ReplayedAt *time.Time      `json:"replayedAt,omitempty"`
}

// Bury stores a dead letter for each of the functions that has no receipt for the event, which they then no longer have
// to handle. It returns the number of functions. An event that is not in the log is rejected (not_in_log), or else dead
// letters would be a way into the log.
func (db *DB) Bury(ctx context.Context, e event.Event, functions []string, code int, why string) (buried int, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		logged := db.MayBeUnlogged(e)
		if !logged {
			if err := tx.QueryRow(ctx, isLogged, logKey(e)...).Scan(&logged); err != nil {
				return fmt.Errorf("looking for %s in the log: %w", e.ID(), err)
			}
		}
		if !logged {
			return notInLog(e)
		}
		buried, err = tx.bury(ctx, e, functions, code, why)
		return err
	})
	return buried, err
}

func (tx *Tx) bury(ctx context.Context, e event.Event, functions []string, code int, why string) (buried int, err error) {
	bare := e.Clone()
	bare.DataEncoded = nil
	envelope, err := json.Marshal(bare)
	if err != nil {
		return 0, fmt.Errorf("encoding the envelope of %s: %w", e.ID(), err)
	}
	correlation := events.Extension(e, events.ExtCorrelation)
	var b pgx.Batch
	// One that need not be in the log is stored, or there would be nothing to replay.
	if _, err := tx.queueEvent(&b, e, origin{correlation: correlation}, time.Time{}); err != nil {
		return 0, err
	}
	for _, f := range functions {
		b.Queue(`
			INSERT INTO dead_letters AS d (function, source, id, type, code, error, envelope, died_at)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8
			WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE function = $1 AND source = $2 AND id = $3)
			ON CONFLICT (function, source, id) DO UPDATE
			SET code = excluded.code, error = excluded.error, died_at = excluded.died_at, replayed_at = NULL, handled_at = NULL
			WHERE d.replayed_at IS NOT NULL
		`, f, e.Source(), e.ID(), e.Type(), code, why, string(envelope), tx.now).Exec(func(ct pgconnTag) error {
			buried += int(ct.RowsAffected())
			return nil
		})
		b.Queue(`
			DELETE FROM pending
			WHERE function = $1 AND source = $2 AND id = $3
		`, f, e.Source(), e.ID())
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, fmt.Errorf("storing the dead letter %s %s: %w", e.Type(), e.ID(), err)
	}
	return buried, nil
}

// GiveUp buries up to limit events that were sent more than attempts times without a receipt, and returns their number.
// The last delivery gets its full time first.
func (db *DB) GiveUp(ctx context.Context, attempts, limit int) (buried int, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT function, source, id, attempts
			FROM pending p
			WHERE attempts > $1 AND due_at <= $3
			  AND EXISTS (SELECT 1 FROM events e WHERE (e.source, e.id) = (p.source, p.id))
			ORDER BY due_at
			LIMIT $2
			FOR UPDATE SKIP LOCKED
		`, attempts, limit, tx.now)
		if err != nil {
			return fmt.Errorf("looking for events without receipt: %w", err)
		}
		type overdue struct {
			Function, Source, ID string
			Attempts             int
		}
		lost, err := pgx.CollectRows(rows, pgx.RowToStructByPos[overdue])
		if err != nil {
			return fmt.Errorf("looking for events without receipt: %w", err)
		}
		for _, l := range lost {
			e, err := tx.event(ctx, l.Source, l.ID)
			if err != nil {
				return err
			}
			n, err := tx.bury(ctx, e, []string{l.Function}, 0, fmt.Sprintf("no receipt after %d deliveries", l.Attempts))
			if err != nil {
				return err
			}
			buried += n
		}
		return nil
	})
	return buried, err
}

// CloseDeadLetters closes the dead letters that were handled after all, by a replay or because the Broker tried once
// more. It returns their number.
func (db *DB) CloseDeadLetters(ctx context.Context) (closed int, err error) {
	ct, err := db.pool.Exec(ctx, `
		UPDATE dead_letters d
		SET handled_at = i.handled_at
		FROM inbox i
		WHERE d.handled_at IS NULL
		  AND (i.function, i.source, i.id) = (d.function, d.source, d.id)
	`)
	if err != nil {
		return 0, fmt.Errorf("closing dead letters that were handled: %w", err)
	}
	return int(ct.RowsAffected()), nil
}

// DeadLetters reads up to limit dead letters whose events are not handled yet: first those never replayed, then the
// others, each newest first.
func (db *DB) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT function, source, id, type, code, error, envelope, died_at, replayed_at
		FROM dead_letters d
		WHERE handled_at IS NULL
		  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE (i.function, i.source, i.id) = (d.function, d.source, d.id))
		ORDER BY replayed_at IS NOT NULL, died_at DESC, function
		LIMIT $1
	`, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[DeadLetter])
	if err != nil {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	return letters, nil
}

// OpenDeadLetters counts the dead letters whose event is not handled yet, by function.
func (db *DB) OpenDeadLetters(ctx context.Context) (map[string]int, error) {
	rows, err := db.pool.Query(ctx, `
		SELECT function, count(*)
		FROM dead_letters d
		WHERE handled_at IS NULL
		  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE (i.function, i.source, i.id) = (d.function, d.source, d.id))
		GROUP BY function
	`)
	if err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	open := map[string]int{}
	var function string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&function, &n}, func() error { open[function] = n; return nil }); err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	return open, nil
}

// Replay makes the function handle a dead letter's event as if for the first time, and returns the event to send.
// ErrNotFound if there is no such dead letter.
func (db *DB) Replay(ctx context.Context, function, source, id string) (e event.Event, err error) {
	err = db.inTx(ctx, func(tx *Tx) error {
		marked, err := tx.Exec(ctx, `
			UPDATE dead_letters
			SET replayed_at = $4, handled_at = NULL
			WHERE function = $1 AND source = $2 AND id = $3
		`, function, source, id, tx.now)
		if err != nil {
			return fmt.Errorf("marking the dead letter %s: %w", id, err)
		}
		if marked.RowsAffected() == 0 {
			return fmt.Errorf("dead letter %s of %s at %s: %w", id, source, function, ErrNotFound)
		}
		if e, err = tx.event(ctx, source, id); err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(`
			DELETE FROM inbox
			WHERE function = $1 AND source = $2 AND id = $3
		`, function, source, id)
		b.Queue(`
			INSERT INTO pending (function, source, id, due_at)
			VALUES ($1, $2, $3, $4)
			ON CONFLICT (function, source, id) DO UPDATE
			SET due_at = excluded.due_at, attempts = 0
		`, function, source, id, tx.now.Add(grace))
		queueAudit(&b, tx.now, tx.function, e, events.Extension(e, events.ExtCorrelation), events.Record{
			Actor: "function:" + tx.function, Action: "dead_letter.replayed", Detail: e.Type() + " at " + function,
		})
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("replaying %s: %w", id, err)
		}
		return nil
	})
	return e, err
}
