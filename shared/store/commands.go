package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// A Command is one that somebody gave in the console, and what has become of it.
type Command struct {
	events.CommandRequested
	ID      string // of its event
	Stored  time.Time
	Decided bool            // stage-router has decided it
	Audit   []events.Record // of that decision
}

// CommandID is the id of the command that somebody gives under a cause: the same cause is the same command.
func CommandID(function string, c Cause) (string, error) {
	e, err := events.New(c.event(), function, 0, events.Now(events.CommandRequested{}))
	return e.ID(), err
}

// Command reads a command by its id. ErrNotFound if there is none.
func (db *DB) Command(ctx context.Context, id string) (c Command, err error) {
	if uuid.Validate(id) != nil {
		return c, ErrNotFound
	}
	var data []byte
	err = db.pool.QueryRow(ctx, `
		SELECT e.data, e.stored_at,
		       EXISTS (SELECT 1 FROM inbox i WHERE i.function = 'stage-router' AND i.source = e.source AND i.id = e.id),
		       coalesce((
		           SELECT jsonb_agg(jsonb_build_object('actor', a.actor, 'action', a.action, 'run', coalesce(a.run_id::text, ''), 'reason', a.reason, 'detail', a.detail) ORDER BY a.seq)
		           FROM audit a
		           WHERE a.event_source = 'https://codexk8s.dev/console' AND a.event_id = e.id
		       ), '[]')
		FROM events e
		WHERE e.source = 'https://codexk8s.dev/console' AND e.id = $1 AND e.type = $2
	`, id, events.CommandRequested{}.EventType()).Scan(&data, &c.Stored, &c.Decided, &c.Audit)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return c, ErrNotFound
	case err != nil:
		return c, fmt.Errorf("reading command %s: %w", id, err)
	}
	c.ID = id
	if err := json.Unmarshal(data, &c.CommandRequested); err != nil {
		return c, fmt.Errorf("reading command %s: %w", id, err)
	}
	return c, nil
}
