package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// AllowUnlogged accepts events that are not in the log: those of other systems whose source begins with one of the
// prefixes, such as "https://github.com/acme/" if a GitHubSource feeds the Broker instead of webhook-adapter. Anybody
// who reaches the function can forge them. Our own types are never accepted this way.
func (db *DB) AllowUnlogged(prefixes []string) error {
	for _, p := range prefixes {
		if u, err := url.Parse(p); err != nil || u.Scheme == "" || u.Host == "" {
			return fmt.Errorf("source prefix %q would let in too much: give scheme and host, https://github.com/acme/", p)
		}
	}
	db.unlogged = prefixes
	return nil
}

// MayBeUnlogged reports whether the event is accepted without being in the log.
func (db *DB) MayBeUnlogged(e event.Event) bool {
	return !events.IsOurs(e.Type()) && slices.ContainsFunc(db.unlogged, func(p string) bool { return strings.HasPrefix(e.Source(), p) })
}

// notInLog rejects an event that somebody else sent, or that was changed on its way.
func notInLog(e event.Event) error {
	return events.Reject("not_in_log", fmt.Errorf("event %s of type %s from %s is not in the platform's log of events as it came: it was forged, or sent past webhook-adapter", e.ID(), e.Type(), e.Source()))
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

// record stores a decision: its events, who must receive them, and its audit. It returns the events to send now. One
// that was stored before is returned as it was stored: its consumers refuse it with other data.
func (tx *Tx) record(ctx context.Context, cause event.Event, correlation string, d events.Decision) ([]event.Event, error) {
	var b pgx.Batch
	var now []event.Event
	var known []int // those of now that were stored before
	if !events.IsOurs(cause.Type()) && cause.Type() != "" {
		if _, err := tx.queueEvent(&b, cause, origin{correlation: correlation}, time.Time{}); err != nil {
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
		stored, err := tx.queueEvent(&b, e, from, draft.NotBefore)
		if err != nil {
			return nil, err
		}
		due := draft.NotBefore
		if !due.After(tx.now) {
			place := len(now)
			stored.Exec(func(ct pgconnTag) error {
				if ct.RowsAffected() == 0 {
					known = append(known, place)
				}
				return nil
			})
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
	for _, place := range known {
		if err := tx.asStored(ctx, &now[place]); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// asStored makes an event what is stored under its id.
func (tx *Tx) asStored(ctx context.Context, e *event.Event) error {
	rows, err := tx.Query(ctx, `
		SELECT `+eventColumns+`
		FROM events AS e
		WHERE e.source = $1 AND e.id = $2
	`, e.Source(), e.ID())
	if err == nil {
		*e, err = pgx.CollectExactlyOneRow(rows, rowEvent)
	}
	if err != nil {
		return fmt.Errorf("reading what event %s was before: %w", e.ID(), err)
	}
	return nil
}

// origin is what caused a stored event; zero for one from outside.
type origin struct {
	function, causeSource, causeID string
	n                              int
	correlation                    string
}

func (tx *Tx) queueEvent(b *pgx.Batch, e event.Event, from origin, notBefore time.Time) (*pgx.QueuedQuery, error) {
	extensions, err := json.Marshal(e.Extensions())
	if err != nil {
		return nil, fmt.Errorf("encoding the extensions of %s: %w", e.ID(), err)
	}
	return b.Queue(`
		INSERT INTO events (source, id, type, subject, time, extensions, content_type, data,
		                    function, cause_source, cause_id, n, not_before, correlation, stored_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT DO NOTHING
	`, e.Source(), e.ID(), e.Type(), e.Subject(), timeOf(e, tx.now), extensions, e.DataContentType(), notNil(e.Data()),
		from.function, from.causeSource, from.causeID, from.n, orNull(notBefore), from.correlation, tx.now), nil
}

const eventColumns = `e.source, e.id, e.type, e.subject, e.time, e.extensions, e.content_type, e.data`

// scanEvent turns a row of eventColumns into the CloudEvent it was; what the row has more goes to more.
func scanEvent(row pgx.CollectableRow, more ...any) (event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	var source, id, typ, subject, contentType string
	var at time.Time
	var extensions map[string]any
	var data []byte
	if err := row.Scan(append([]any{&source, &id, &typ, &subject, &at, &extensions, &contentType, &data}, more...)...); err != nil {
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

func rowEvent(row pgx.CollectableRow) (event.Event, error) { return scanEvent(row) }

// emittedBy returns what a redelivery has to send again: the events that this function emitted for the cause, or for
// its own events because of it, and that somebody has not received yet. Timers end the chain, so it stays as short as
// one delivery made it. The condition that a cause has an id is for the index, which holds only those.
func (tx *Tx) emittedBy(ctx context.Context, cause event.Event) ([]event.Event, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE emitted AS (
			SELECT e.source, e.id, e.n, e.not_before, 0 AS depth
			FROM events e
			WHERE e.cause_id = $1 AND e.cause_id <> '' AND e.cause_source = $2 AND e.function = $3
			UNION ALL
			SELECT e.source, e.id, e.n, e.not_before, c.depth + 1
			FROM emitted c
			JOIN events e ON e.cause_id = c.id AND e.cause_id <> '' AND e.cause_source = c.source AND e.function = $3
			WHERE c.not_before IS NULL
		)
		SELECT `+eventColumns+`
		FROM emitted c
		JOIN events e ON e.source = c.source AND e.id = c.id
		WHERE (e.not_before IS NULL OR e.not_before <= $4)
		  AND EXISTS (SELECT 1 FROM pending p WHERE p.source = e.source AND p.id = e.id)
		ORDER BY c.depth, c.n
	`, cause.ID(), cause.Source(), tx.function, tx.now)
	if err != nil {
		return nil, fmt.Errorf("reading what %s caused: %w", cause.ID(), err)
	}
	es, err := pgx.CollectRows(rows, rowEvent)
	if err != nil {
		return nil, fmt.Errorf("reading what %s caused: %w", cause.ID(), err)
	}
	return es, nil
}

func (tx *Tx) event(ctx context.Context, source, id string) (event.Event, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+eventColumns+`
		FROM events e
		WHERE e.source = $1 AND e.id = $2
	`, source, id)
	if err != nil {
		return event.Event{}, fmt.Errorf("reading event %s: %w", id, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, rowEvent)
	if errors.Is(err, pgx.ErrNoRows) {
		return event.Event{}, fmt.Errorf("event %s of %s: %w", id, source, ErrNotFound)
	}
	if err != nil {
		return event.Event{}, fmt.Errorf("reading event %s: %w", id, err)
	}
	return e, nil
}

func timeOf(e event.Event, otherwise time.Time) time.Time {
	if t := e.Time(); !t.IsZero() {
		return t
	}
	return otherwise
}
