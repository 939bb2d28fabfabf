package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
)

type pgconnTag = pgconn.CommandTag

// grace is how long an event that was just sent may be under way before it counts as lost.
const grace = time.Minute

// poolSizeSet reports whether the operator chose the pool's size.
func poolSizeSet(url string) bool { return strings.Contains(url, "pool_max_conns") }

// record stores a decision: its events, who must receive them, and its audit; it
// returns the events that are to be sent now.
func (tx *Tx) record(ctx context.Context, cause event.Event, correlation string, d events.Decision) ([]event.Event, error) {
	var b pgx.Batch
	var now []event.Event
	if !events.IsOurs(cause.Type()) && cause.Type() != "" {
		if err := tx.queueEvent(&b, cause, origin{correlation: correlation}, time.Time{}); err != nil {
			return nil, err
		}
	}
	for n, draft := range d.Emit {
		e, err := events.New(cause, tx.function, n, draft)
		if err != nil {
			return nil, err
		}
		e.SetTime(tx.now)
		from := origin{tx.function, cause.Source(), cause.ID(), n, events.Extension(e, events.ExtCorrelation)}
		if err := tx.queueEvent(&b, e, from, draft.NotBefore); err != nil {
			return nil, err
		}
		due := draft.NotBefore
		if !due.After(tx.now) {
			now = append(now, e)
			due = tx.now.Add(grace)
		}
		for _, consumer := range events.Consumers(e.Type()) {
			b.Queue(`
				INSERT INTO pending (function, source, id, due_at)
				SELECT $1, $2, $3, $4
				WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE function = $1 AND source = $2 AND id = $3)
				ON CONFLICT DO NOTHING
			`, consumer, e.Source(), e.ID(), due)
		}
	}
	for _, r := range d.Audit {
		queueAudit(&b, tx.now, tx.function, cause, correlation, r)
	}
	if b.Len() == 0 {
		return nil, nil
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("storing %d events and %d audit rows: %w", len(d.Emit), len(d.Audit), err)
	}
	return now, nil
}

// origin is where a stored event comes from; zero for one from outside.
type origin struct {
	function, causeSource, causeID string
	n                              int
	correlation                    string
}

func (tx *Tx) queueEvent(b *pgx.Batch, e event.Event, from origin, notBefore time.Time) error {
	extensions, err := json.Marshal(e.Extensions())
	if err != nil {
		return fmt.Errorf("encoding the extensions of %s: %w", e.ID(), err)
	}
	b.Queue(`
		INSERT INTO events (source, id, type, subject, time, extensions, content_type, data,
		                    function, cause_source, cause_id, n, not_before, correlation, stored_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT DO NOTHING
	`, e.Source(), e.ID(), e.Type(), e.Subject(), timeOf(e, tx.now), extensions, e.DataContentType(), notNil(e.Data()),
		from.function, from.causeSource, from.causeID, from.n, orNull(notBefore), from.correlation, tx.now)
	return nil
}

// queueAudit appends one line to the audit. Nobody ever changes it again.
func queueAudit(b *pgx.Batch, at time.Time, function string, cause event.Event, workItem string, r events.Record) {
	var run any
	if r.Run != "" {
		run = r.Run
	}
	b.Queue(`
		INSERT INTO audit (at, actor, action, work_item, run_id, reason, detail, function, event_source, event_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
	`, at, plain.Text(r.Actor), r.Action, workItem, run, r.Reason, plain.Text(r.Detail), function, cause.Source(), cause.ID())
}

const eventColumns = `e.source, e.id, e.type, e.subject, e.time, e.extensions, e.content_type, e.data`

// scanEvent turns a row of eventColumns into the CloudEvent it was.
func scanEvent(row pgx.CollectableRow) (event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	var source, id, typ, subject, contentType string
	var at time.Time
	var extensions map[string]any
	var data []byte
	if err := row.Scan(&source, &id, &typ, &subject, &at, &extensions, &contentType, &data); err != nil {
		return e, err
	}
	e.SetSource(source)
	e.SetID(id)
	e.SetType(typ)
	e.SetTime(at.UTC())
	if subject != "" {
		e.SetSubject(subject)
	}
	for name, value := range extensions {
		e.SetExtension(name, value)
	}
	e.DataEncoded = data
	e.SetDataContentType(contentType)
	return e, nil
}

// emittedBy returns what this function emitted for the cause and somebody has still to
// receive: what a redelivery sends again.
func (tx *Tx) emittedBy(ctx context.Context, cause event.Event) ([]event.Event, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+eventColumns+`
		FROM events e
		WHERE e.cause_id = $1 AND e.cause_source = $2 AND e.function = $3
		  AND (e.not_before IS NULL OR e.not_before <= $4)
		  AND EXISTS (SELECT 1 FROM pending p WHERE p.source = e.source AND p.id = e.id)
		ORDER BY e.n
	`, cause.ID(), cause.Source(), tx.function, tx.now)
	if err != nil {
		return nil, fmt.Errorf("reading what %s caused: %w", cause.ID(), err)
	}
	es, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what %s caused: %w", cause.ID(), err)
	}
	return es, nil
}

// Due hands out events whose time has come: timers, and events that a consumer
// has not recorded in time. Each is handed to one caller, and again later with
// growing distance (one minute, doubling, an hour at most) until it is recorded.
func (db *DB) Due(ctx context.Context, limit int) ([]event.Event, error) {
	rows, err := db.pool.Query(ctx, `
		WITH due AS (
			SELECT function, source, id
			FROM pending
			WHERE due_at <= $2
			ORDER BY due_at
			LIMIT $1
			FOR UPDATE SKIP LOCKED
		), claimed AS (
			UPDATE pending p
			SET attempts = p.attempts + 1,
			    due_at = $2 + least(interval '1 hour', interval '1 minute' * power(2, least(p.attempts, 10)))
			FROM due
			WHERE (p.function, p.source, p.id) = (due.function, due.source, due.id)
			RETURNING p.source, p.id
		)
		SELECT `+eventColumns+`
		FROM (SELECT DISTINCT source, id FROM claimed) c
		JOIN events e USING (source, id)
	`, limit, db.Now())
	if err != nil {
		return nil, fmt.Errorf("looking for due events: %w", err)
	}
	es, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("looking for due events: %w", err)
	}
	return es, nil
}

// PutOff notes that this function will not be able to handle the event before a time, as with a rate limit: until then
// Due does not hand it out. It never makes an event due sooner, so whoever asks for a minute again and again still gets
// the growing distance.
func (db *DB) PutOff(ctx context.Context, e event.Event, until time.Time) error {
	_, err := db.pool.Exec(ctx, `
		UPDATE pending
		SET due_at = greatest(due_at, $4)
		WHERE function = $1 AND source = $2 AND id = $3
	`, db.function, e.Source(), e.ID(), until)
	if err != nil {
		return fmt.Errorf("putting off %s %s: %w", e.Type(), e.ID(), err)
	}
	return nil
}

func timeOf(e event.Event, otherwise time.Time) time.Time {
	if t := e.Time(); !t.IsZero() {
		return t
	}
	return otherwise
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
