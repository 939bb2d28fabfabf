package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"codexk8s.dev/shared/events"
)

// An Arrival is an event from outside. It must be stored before its sender is told that it was received.
type Arrival struct {
	Event  event.Event
	Actor  string          // for the audit, "github:alice" or "source:ci"
	GitHub *GitHubDelivery // nil for the event of another system
}

// A GitHubDelivery is what a delivery's row says beside its event, whose id is the GUID.
type GitHubDelivery struct {
	Event      string // X-GitHub-Event
	Action     string
	Repository string // "owner/name", or ""
	HookID     int64  // X-GitHub-Hook-ID, or 0

	// Same reports whether two payloads mean the same although their bytes differ.
	Same func(a, b []byte) bool
}

// Delivered makes an arrival from a GitHub delivery's event (webhook.Delivery.CloudEvent), whether a webhook brought it
// or GitHub's own list. hook is 0 if it is not known.
func Delivered(e event.Event, hook int64, same func(a, b []byte) bool) Arrival {
	return Arrival{
		Event: e, Actor: "github:" + events.Extension(e, "sender"),
		GitHub: &GitHubDelivery{
			Event: strings.TrimPrefix(e.Type(), events.GitHubType("")), Action: events.Extension(e, "action"),
			Repository: events.Extension(e, "repository"), HookID: hook, Same: same,
		},
	}
}

func (a Arrival) correlation() string { return events.Extension(a.Event, events.ExtCorrelation) }

// An Outcome is what happened to an Arrival.
type Outcome int

const (
	// Accepted: stored now and to be sent; its consumers owe a receipt.
	Accepted Outcome = iota + 1
	// Ignored: stored now, and nobody consumes its type.
	Ignored
	// Duplicate: stored before.
	Duplicate
	// Reused: refused, because another event was stored under its id.
	Reused
)

func (o Outcome) String() string {
	return [...]string{"unknown", "accepted", "ignored", "duplicate", "reused"}[o]
}

// arrivalKey identifies an arrival: a delivery by its GUID alone, because a repository may be renamed between two
// attempts.
type arrivalKey struct{ source, id string }

func (a Arrival) key() arrivalKey {
	if a.GitHub != nil {
		return arrivalKey{"", a.Event.ID()}
	}
	return arrivalKey{a.Event.Source(), a.Event.ID()}
}

// Receive stores arrivals in one transaction, one statement and one round trip however many there are, and returns the
// outcome of each, in their order. When it returns without an error it has committed; with an error the commit may or
// may not have happened, and calling again is safe.
//
// Several instances may receive the same arrivals at once: one stores each.
func (db *DB) Receive(ctx context.Context, arrivals []Arrival) ([]Outcome, error) {
	outcomes := make([]Outcome, len(arrivals))
	// The first of each key is stored, and of each event if it comes both as a delivery and otherwise. They are sorted
	// so that two instances lock the unique indexes in the same order and can't deadlock.
	seen := make(map[arrivalKey]bool, 2*len(arrivals))
	order := make([]int, 0, len(arrivals))
	for i, a := range arrivals {
		key, stored := a.key(), arrivalKey{a.Event.Source(), a.Event.ID()}
		if !seen[key] && !seen[stored] {
			order = append(order, i)
		}
		seen[key], seen[stored] = true, true
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := arrivals[i].key(), arrivals[j].key()
		return strings.Compare(a.id+a.source, b.id+b.source)
	})
	fresh, err := db.insertArrivals(ctx, arrivals, order)
	if err != nil {
		return nil, err
	}
	var known []int
	for i, a := range arrivals {
		switch {
		case !fresh[i]:
			known = append(known, i)
		case len(events.Consumers(a.Event.Type())) == 0:
			outcomes[i] = Ignored
		default:
			outcomes[i] = Accepted
		}
	}
	if len(known) > 0 {
		if err := db.compareArrivals(ctx, arrivals, known, outcomes); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// insertArrivals stores the arrivals at those positions, in that order, and reports by position which were new.
func (db *DB) insertArrivals(ctx context.Context, arrivals []Arrival, order []int) (map[int]bool, error) {
	c, now := arrivalColumns{}, db.Now()
	var types []string
	for _, i := range order {
		if err := c.add(i, arrivals[i], now); err != nil {
			return nil, err
		}
		if t := arrivals[i].Event.Type(); !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	var consumedTypes, consumers []string
	for _, t := range types {
		for _, function := range events.Consumers(t) {
			consumedTypes = append(consumedTypes, t)
			consumers = append(consumers, function)
		}
	}
	rows, err := db.pool.Query(ctx, `
		WITH arrived AS (
			SELECT *
			FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
			            $8::text[], $9::bytea[], $10::text[],
			            $11::boolean[], $12::text[], $13::text[], $14::text[], $15::bigint[])
				AS a (n, source, id, type, subject, time, extensions,
				      content_type, data, correlation,
				      github, event, action, repository, hook_id)
		), delivered AS (
			INSERT INTO deliveries (guid, event, action, repository, hook_id, status, received_at)
			SELECT id, event, action, repository, hook_id,
			       CASE WHEN type = ANY ($16::text[]) THEN 'accepted' ELSE 'ignored' END, $18
			FROM arrived
			WHERE github
			ON CONFLICT DO NOTHING
			RETURNING guid
		), stored AS (
			INSERT INTO events (source, id, type, subject, time, extensions, content_type, data, correlation, stored_at)
			SELECT source, id, type, subject, time, extensions::jsonb, content_type, data, correlation, $18
			FROM arrived
			WHERE NOT github OR id IN (SELECT guid FROM delivered)
			ON CONFLICT DO NOTHING
			RETURNING source, id
		), fresh AS (
			-- An event may be there without its delivery: GitHubSource brought it first.
			SELECT n, source, id, type
			FROM arrived
			WHERE CASE WHEN github THEN id IN (SELECT guid FROM delivered)
			           ELSE (source, id) IN (SELECT source, id FROM stored) END
		), outstanding AS (
			INSERT INTO pending (function, source, id, due_at)
			SELECT c.function, f.source, f.id, $18::timestamptz + $19::interval
			FROM fresh f
			JOIN unnest($16::text[], $17::text[]) AS c (type, function) USING (type)
			WHERE NOT EXISTS (SELECT 1 FROM inbox i WHERE (i.function, i.source, i.id) = (c.function, f.source, f.id))
			ON CONFLICT DO NOTHING
		)
		SELECT n FROM fresh
	`, c.n, c.source, c.id, c.typ, c.subject, c.time, c.extensions, c.contentType,
		pgtype.FlatArray[[]byte](c.data), c.correlation, c.github, c.event, c.action, c.repository, c.hookID, consumedTypes, consumers, now, grace)
	if err != nil {
		return nil, fmt.Errorf("storing %d arrivals: %w", len(order), err)
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, fmt.Errorf("storing %d arrivals: %w", len(order), err)
	}
	fresh := make(map[int]bool, len(numbers))
	for _, n := range numbers {
		fresh[int(n)] = true
	}
	return fresh, nil
}

// arrivalColumns are arrivals as one array per column.
type arrivalColumns struct {
	n                                    []int32
	source, id, typ, subject, extensions []string
	contentType, correlation             []string
	time                                 []time.Time
	data                                 [][]byte
	github                               []bool
	event, action, repository            []string
	hookID                               []int64
}

func (c *arrivalColumns) add(n int, a Arrival, now time.Time) error {
	extensions, err := json.Marshal(a.Event.Extensions())
	if err != nil {
		return fmt.Errorf("encoding the extensions of %s: %w", a.Event.ID(), err)
	}
	var g GitHubDelivery
	if a.GitHub != nil {
		g = *a.GitHub
	}
	c.n = append(c.n, int32(n))
	c.source = append(c.source, a.Event.Source())
	c.id = append(c.id, a.Event.ID())
	c.typ = append(c.typ, a.Event.Type())
	c.subject = append(c.subject, a.Event.Subject())
	c.extensions = append(c.extensions, string(extensions))
	c.contentType = append(c.contentType, a.Event.DataContentType())
	c.correlation = append(c.correlation, a.correlation())
	c.time = append(c.time, timeOf(a.Event, now))
	c.data = append(c.data, notNil(a.Event.Data()))
	c.github = append(c.github, a.GitHub != nil)
	c.event = append(c.event, g.Event)
	c.action = append(c.action, g.Action)
	c.repository = append(c.repository, g.Repository)
	c.hookID = append(c.hookID, g.HookID)
	return nil
}

// compareArrivals tells redeliveries from reused ids among arrivals whose keys are stored already, and audits the
// latter.
func (db *DB) compareArrivals(ctx context.Context, arrivals []Arrival, known []int, outcomes []Outcome) error {
	sources, ids := make([]string, len(known)), make([]string, len(known))
	for n, i := range known {
		sources[n], ids[n] = arrivals[i].Event.Source(), arrivals[i].Event.ID()
	}
	rows, err := db.pool.Query(ctx, `
		SELECT source, id, sha256(data)
		FROM events
		WHERE (source, id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
	`, sources, ids)
	if err != nil {
		return fmt.Errorf("comparing with what was received before: %w", err)
	}
	stored := map[arrivalKey][]byte{}
	var k arrivalKey
	var sum []byte
	if _, err := pgx.ForEachRow(rows, []any{&k.source, &k.id, &sum}, func() error {
		stored[k] = bytes.Clone(sum)
		return nil
	}); err != nil {
		return fmt.Errorf("comparing with what was received before: %w", err)
	}
	var audit pgx.Batch
	for _, i := range known {
		a := arrivals[i]
		// If the event is not there, the earlier delivery was from another repository and had another payload.
		before, found := stored[arrivalKey{a.Event.Source(), a.Event.ID()}]
		now := sha256.Sum256(a.Event.Data())
		same := bytes.Equal(before, now[:]) || !found && a.GitHub == nil
		if !same {
			if same, err = db.tellsTheSame(ctx, a); err != nil {
				return err
			}
		}
		if same {
			outcomes[i] = Duplicate
			continue
		}
		outcomes[i] = Reused
		queueAudit(&audit, db.Now(), db.function, a.Event, a.correlation(), events.Record{
			Actor: a.Actor, Action: "delivery.refused", Reason: "id_reused",
			Detail: fmt.Sprintf("id %s came before with another payload (sha256 %x, now %x)", a.Event.ID(), before, now),
		})
	}
	if audit.Len() > 0 {
		if err := db.pool.SendBatch(ctx, &audit).Close(); err != nil {
			return fmt.Errorf("auditing ids that were used again: %w", err)
		}
	}
	return nil
}

// tellsTheSame compares a delivery with the earlier one of the same GUID. Different bytes need not be a different
// event: GitHub gives an event one GUID for all its hooks, and its list of deliveries encodes the payload again.
func (db *DB) tellsTheSame(ctx context.Context, a Arrival) (bool, error) {
	if a.GitHub == nil || a.GitHub.Same == nil {
		return false, nil
	}
	var before []byte
	err := db.pool.QueryRow(ctx, `
		SELECT data
		FROM events
		WHERE source = $1 AND id = $2
	`, a.Event.Source(), a.Event.ID()).Scan(&before)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil // the earlier one was from another repository
	}
	if err != nil {
		return false, fmt.Errorf("reading what came before as %s: %w", a.Event.ID(), err)
	}
	return a.GitHub.Same(before, a.Event.Data()), nil
}
