package store

import (
	"context"
	"encoding/json"
	"fmt"
)

// News says that something has changed since, and nothing of it: who wants to know more, and may, reads it. Triggers
// of the tables tell it when a transaction commits.
type News struct {
	Kind    string // run, log, issue, dead_letter, access
	Project string // of the run or issue; "" = not said
	Run     string
	Issue   string // its work item, events.WorkItem
}

// Kinds of news.
const (
	NewsOfRun     = "run"
	NewsOfLog     = "log" // a run's log has more lines
	NewsOfIssue   = "issue"
	NewsOfLetters = "dead_letter"
	NewsOfAccess  = "access" // a member or a session has gone
)

// Listen gives each what changes, until ctx ends or the connection does; the error says which. It calls ready when
// nothing is missed from now on: what has changed before has to be read. It takes one connection of the pool.
func (db *DB) Listen(ctx context.Context, ready func(), each func(News)) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting to listen for news: %w", err)
	}
	defer conn.Release()
	defer func() { _ = conn.Conn().Close(context.WithoutCancel(ctx)) }() // it listens for ever: nobody else may have it
	if _, err := conn.Exec(ctx, `LISTEN news`); err != nil {
		return fmt.Errorf("listening for news: %w", err)
	}
	ready()
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("waiting for news: %w", err)
		}
		var news News
		if err := json.Unmarshal([]byte(n.Payload), &news); err != nil {
			return fmt.Errorf("reading news: %w", err)
		}
		each(news)
	}
}
