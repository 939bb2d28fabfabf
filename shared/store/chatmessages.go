package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/events"
)

// A ChatMessage is what one place shows of a request. Only one caller can hold it, so that the message is posted once
// and an older version never overwrites a newer one. The lock is held while the channel is called. It is not the row's,
// as GitHubView's is: people may click before the call that posts the message returns, and what the click tells about
// it must be kept (KeepMessage) in case that call's process dies.
//
// The row exists before the channel is called. One without a Ref says that there may be a message that we know nothing
// about, because the process died between posting it and Close.
type ChatMessage struct {
	Version  int64           // that is shown; 0 = nothing is
	Reminded int             // how many reminders were sent
	Ref      json.RawMessage // where the message is, in the channel's words; nil = nowhere
	// Planned is when somebody else was here first, who may have posted a message since; zero = nobody was.
	Planned time.Time

	db      *DB
	tx      pgx.Tx
	request string
	at      events.ApprovalTarget
}

// ChatMessage locks the place's message; ErrLocked if that takes too long. Close unlocks it.
func (db *DB) ChatMessage(ctx context.Context, request string, at events.ApprovalTarget) (*ChatMessage, error) {
	first, err := db.pool.Exec(ctx, `
		INSERT INTO chat_messages (request, channel, target, changed_at)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING
	`, request, at.Channel, at.Target, db.Now())
	if err != nil {
		return nil, fmt.Errorf("planning a message of request %s in %s: %w", request, at.Channel, err)
	}
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to Postgres: %w", err)
	}
	m := &ChatMessage{db: db, tx: tx, request: request, at: at}
	if err := m.lock(ctx); err != nil {
		return nil, errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	if first.RowsAffected() == 1 {
		m.Planned = time.Time{}
	}
	return m, nil
}

func (m *ChatMessage) lock(ctx context.Context) error {
	var b pgx.Batch
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'message', $1::text, $2::text, $3::text), 0))`, m.request, m.at.Channel, m.at.Target)
	b.Queue(`
		SELECT version, reminded, ref, changed_at
		FROM chat_messages
		WHERE request = $1 AND channel = $2 AND target = $3
	`, m.request, m.at.Channel, m.at.Target).QueryRow(func(row pgx.Row) error { return row.Scan(&m.Version, &m.Reminded, &m.Ref, &m.Planned) })
	err := alone(ctx, m.tx, &b)
	if err != nil && !errors.Is(err, ErrLocked) {
		return fmt.Errorf("locking the message of request %s in %s: %w", m.request, m.at.Channel, err)
	}
	return err
}

// Save records what is shown, where, and how many reminders were sent.
func (m *ChatMessage) Save(ctx context.Context) error {
	_, err := m.tx.Exec(context.WithoutCancel(ctx), `
		UPDATE chat_messages
		SET version = $4, reminded = $5, ref = $6, changed_at = $7
		WHERE request = $1 AND channel = $2 AND target = $3
	`, m.request, m.at.Channel, m.at.Target, m.Version, m.Reminded, m.Ref, m.db.Now())
	if err != nil {
		return fmt.Errorf("recording the message of request %s in %s: %w", m.request, m.at.Channel, err)
	}
	return nil
}

// Close commits what was saved and unlocks the message.
func (m *ChatMessage) Close(ctx context.Context) error {
	if err := m.tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("recording the message of request %s in %s: %w", m.request, m.at.Channel, err)
	}
	return nil
}

// KeepMessage records where a place's message is, if nothing is known of it yet. Which version it shows is not known
// either, so it will be brought up to date. Whoever is just posting it records the same, or has died.
func (tx *Tx) KeepMessage(ctx context.Context, request string, at events.ApprovalTarget, ref json.RawMessage) error {
	_, err := tx.Exec(ctx, `
		UPDATE chat_messages
		SET ref = $4
		WHERE request = $1 AND channel = $2 AND target = $3 AND ref IS NULL
	`, uuidOrNull(request), at.Channel, at.Target, ref)
	if err != nil {
		return fmt.Errorf("recording where the message of request %s is: %w", request, err)
	}
	return nil
}

// ShownElsewhere reports whether an act came from a chat in which the request was never shown. While a message is being
// posted its chat is not known yet.
func (tx *Tx) ShownElsewhere(ctx context.Context, request string, by events.Voter) (elsewhere bool, err error) {
	if by.Chat == "" {
		return false, nil
	}
	err = tx.QueryRow(ctx, `
		SELECT NOT EXISTS (
			SELECT 1
			FROM chat_messages
			WHERE request = $1 AND channel = $2 AND coalesce(ref ->> 'chat', $3) = $3
		)
	`, uuidOrNull(request), by.Channel, by.Chat).Scan(&elsewhere)
	if err != nil {
		return false, fmt.Errorf("looking for where request %s is shown: %w", request, err)
	}
	return elsewhere, nil
}

// ShownIn are the requests that somebody can mean who acted in a chat without a button: the undecided ones, at most
// two, or if there is none the newest decided one of the last 200 that the chat has shown. Digest, if any, is the
// beginning of the request's; whole wants requests that are all of the chat, not a message in it.
func (db *DB) ShownIn(ctx context.Context, channel, chat, digest string, whole bool) ([]string, error) {
	rows, err := db.pool.Query(ctx, `
		(
			SELECT a.id, true
			FROM approvals AS a
			WHERE a.decided_at IS NULL
				AND EXISTS (
					SELECT 1
					FROM chat_messages AS m
					WHERE m.request = a.id AND m.channel = $1 AND m.ref ->> 'chat' = $2 AND (NOT $4 OR m.ref ->> 'message' IS NULL)
				)
				AND starts_with(a.ticket -> 'request' ->> 'digest', $3)
			ORDER BY a.asked_at DESC
			LIMIT 2
		)
		UNION ALL
		(
			SELECT a.id, false
			FROM (
				SELECT request
				FROM chat_messages
				WHERE channel = $1 AND ref ->> 'chat' = $2 AND (NOT $4 OR ref ->> 'message' IS NULL)
				ORDER BY changed_at DESC
				LIMIT 200
			) AS m
			CROSS JOIN LATERAL (
				SELECT id, asked_at
				FROM approvals
				WHERE id = m.request AND decided_at IS NOT NULL AND starts_with(ticket -> 'request' ->> 'digest', $3)
				LIMIT 1
			) AS a
			ORDER BY a.asked_at DESC
			LIMIT 1
		)
	`, channel, chat, digest, whole)
	if err != nil {
		return nil, fmt.Errorf("looking for what %s shows in %s: %w", channel, chat, err)
	}
	var ids []string
	var id string
	var open bool
	_, err = pgx.ForEachRow(rows, []any{&id, &open}, func() error {
		if open || len(ids) == 0 {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for what %s shows in %s: %w", channel, chat, err)
	}
	return ids, nil
}
