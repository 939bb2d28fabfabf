package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/stage"
)

// An Act is a line of the audit about a work item, with the event that it follows from.
type Act struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Reason  string    `json:"reason,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	Run     string    `json:"run,omitempty"`
	Process string    `json:"process,omitempty"` // hash; "" = none was asked, or it is not recorded

	Function    string    `json:"function"`
	EventSource string    `json:"eventSource,omitempty"` // "" = no event caused it
	EventID     string    `json:"eventId,omitempty"`
	EventType   string    `json:"eventType,omitempty"` // "" = the event is not in the log
	EventTime   time.Time `json:"eventTime,omitzero"`
}

// Acts reads what the audit says about a work item, the newest first: up to limit lines before the one numbered before
// (0 = from the newest on), and between them what was decided about its runs in their project's queue. run is the
// newest run's id, "" = there is none. Its cost grows with limit, not with history.
func (tx *Tx) Acts(ctx context.Context, workItem, run string, before int64, limit int) ([]Act, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	rows, err := tx.Query(ctx, `
		WITH page AS (
			SELECT a.seq, a.run_id
			FROM audit a
			WHERE a.work_item = $1 AND a.work_item <> '' AND a.seq < $2
			ORDER BY a.seq DESC
			LIMIT $3
		), since AS (
			SELECT CASE WHEN count(*) < $3 THEN 0 ELSE min(seq) END AS seq
			FROM page
		), chosen AS (
			SELECT seq
			FROM page
			UNION
			-- The queue's lines have the project as their work item.
			SELECT q.seq
			FROM (SELECT run_id FROM page WHERE run_id IS NOT NULL UNION SELECT $4::uuid) r
			CROSS JOIN since
			JOIN LATERAL (
				SELECT a.seq
				FROM audit a
				WHERE a.run_id = r.run_id AND a.run_id IS NOT NULL AND a.work_item <> $1 AND a.seq > since.seq AND a.seq < $2
				ORDER BY a.seq DESC
				LIMIT $3
			) q ON true
		)
		SELECT a.seq, a.at, a.actor, a.action, a.reason, a.detail, coalesce(a.run_id::text, ''), a.process,
		       a.function, a.event_source, a.event_id, coalesce(e.type, ''), e.time
		FROM chosen
		JOIN LATERAL (SELECT * FROM audit x WHERE x.seq = chosen.seq LIMIT 1) a ON true
		LEFT JOIN LATERAL (SELECT x.type, x.time FROM events x WHERE x.source = a.event_source AND x.id = a.event_id LIMIT 1) e ON true
		ORDER BY a.seq DESC
	`, workItem, before, limit, uuidOrNull(run))
	if err != nil {
		return nil, fmt.Errorf("reading the audit of %s: %w", workItem, err)
	}
	acts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Act, error) {
		var a Act
		err := row.Scan(&a.Seq, &a.At, &a.Actor, &a.Action, &a.Reason, &a.Detail, &a.Run, &a.Process,
			&a.Function, &a.EventSource, &a.EventID, &a.EventType, zero(&a.EventTime))
		a.At = a.At.UTC()
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the audit of %s: %w", workItem, err)
	}
	return acts, nil
}

// An Outstanding event of a work item has not been handled by a function that should.
type Outstanding struct {
	Function string    `json:"function"`
	Type     string    `json:"type"`
	ID       string    `json:"id"`
	Stored   time.Time `json:"stored"`
	Due      time.Time `json:"due"`             // when it is sent (again)
	Timer    bool      `json:"timer,omitempty"` // it was meant for later
	Attempts int       `json:"attempts,omitempty"`
	Died     bool      `json:"died,omitempty"` // it is a dead letter
	Error    string    `json:"error,omitempty"`
}

// Outstanding reads which events of the work item are yet to be handled, and which failed for good, the oldest first.
// keys are those under which its events came: events.WorkItem of issue and pull request, by each name of the
// repository. Its cost grows with all that is outstanding.
func (tx *Tx) Outstanding(ctx context.Context, keys []string) ([]Outstanding, error) {
	rows, err := tx.Query(ctx, `
		WITH owed AS (
			SELECT function, source, id, due_at, attempts, false AS died, '' AS error
			FROM pending
			UNION ALL
			SELECT function, source, id, died_at, 0, true, error
			FROM dead_letters
			WHERE handled_at IS NULL
		)
		SELECT o.function, e.type, e.id, e.stored_at, o.due_at, e.not_before IS NOT NULL, o.attempts, o.died, o.error
		FROM owed o
		JOIN LATERAL (SELECT * FROM events x WHERE x.source = o.source AND x.id = o.id LIMIT 1) e ON true
		WHERE e.correlation = ANY ($1) OR e.extensions ->> 'partitionkey' = ANY ($1)
		ORDER BY e.stored_at, e.n, o.function
	`, keys)
	if err != nil {
		return nil, fmt.Errorf("looking for events that are not handled: %w", err)
	}
	owed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Outstanding])
	if err != nil {
		return nil, fmt.Errorf("looking for events that are not handled: %w", err)
	}
	return owed, nil
}

// A ProcessVersion is what a project went by from a time on.
type ProcessVersion struct {
	Version int       `json:"version"`
	Hash    string    `json:"hash,omitempty"` // "" = the installation's process
	SetAt   time.Time `json:"setAt"`
}

// ProcessVersions are the project's own processes, the newest first; none if it never had one.
func (tx *Tx) ProcessVersions(ctx context.Context, project string) ([]ProcessVersion, error) {
	rows, err := tx.Query(ctx, `
		SELECT version, coalesce(hash, ''), set_at
		FROM project_processes
		WHERE project_id = $1
		ORDER BY version DESC
	`, project)
	if err != nil {
		return nil, fmt.Errorf("reading the processes of project %s: %w", project, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ProcessVersion])
	if err != nil {
		return nil, fmt.Errorf("reading the processes of project %s: %w", project, err)
	}
	return all, nil
}

// Find is the home of an issue or pull request by the name of its repository and its number, as a person says it.
func (db *DB) Find(ctx context.Context, repository string, number int) (Home, error) {
	r, err := db.Repository(ctx, 0, repository)
	if err != nil {
		return Home{}, err
	}
	issue, err := db.issueOfPull(ctx, r.Key, number)
	if err != nil {
		return Home{}, err
	}
	if issue == 0 {
		issue = number
	}
	return Home{Repository: r, Issue: issue}, nil
}

// Person is the account of a login among the members of the project and of the platform; without a number if that is
// not known.
func (tx *Tx) Person(ctx context.Context, project, login string) (stage.Person, error) {
	p := stage.Person{Login: login}
	err := tx.QueryRow(ctx, `
		SELECT coalesce(max(github_id), 0)
		FROM members
		WHERE login = lower($2) AND project_id IN ($1, $3)
	`, project, login, everywhere).Scan(&p.ID)
	if err != nil {
		return p, fmt.Errorf("looking for @%s among the members: %w", login, err)
	}
	return p, nil
}

// recordedPage is how many events Recorded reads at a time.
const recordedPage = 500

// Recorded gives each the events of those types that were stored since a time, in the order of the log, with the time
// when each was stored. It stops at each's first error and returns it. It holds one page of events in memory.
func (db *DB) Recorded(ctx context.Context, types []string, since time.Time, each func(e event.Event, stored time.Time) error) error {
	var last int64
	for {
		rows, err := db.pool.Query(ctx, `
			SELECT `+eventColumns+`, e.seq, e.stored_at
			FROM events e
			WHERE e.seq > $1 AND e.type = ANY ($2) AND e.stored_at >= $3
			ORDER BY e.seq
			LIMIT $4
		`, last, types, since, recordedPage)
		if err != nil {
			return fmt.Errorf("reading the recorded events: %w", err)
		}
		type record struct {
			event  event.Event
			stored time.Time
		}
		page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (record, error) {
			var r record
			var err error
			r.event, err = scanEvent(row, &last, &r.stored)
			return r, err
		})
		if err != nil {
			return fmt.Errorf("reading the recorded events: %w", err)
		}
		for _, r := range page {
			if err := each(r.event, r.stored.UTC()); err != nil {
				return err
			}
		}
		if len(page) < recordedPage {
			return nil
		}
	}
}

// ProjectOf is the project that a repository is bound to, by its key, with the person's role there; nil if it is bound
// to none.
func (db *DB) ProjectOf(ctx context.Context, key string, by stage.Person) (*stage.Project, error) {
	var b pgx.Batch
	item := stage.Item{RepositoryKey: key}
	queueProject(&b, by, &item)
	if err := db.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("looking for the project of %s: %w", key, err)
	}
	return item.Project, nil
}
