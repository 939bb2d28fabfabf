package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

var opsOnSlack = events.ApprovalTarget{Channel: approval.Slack, Target: "C1"}

// Of many who want to post the same message one does, and the others see that it is there.
func TestAMessageIsPostedOnce(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.save(w.as("approval-gate"), w.ticket(requestA, runA, approval.Open))
	posted := make(chan int, 8)
	said := atOnce(3, func(i int) error {
		m, err := w.as("approval-notifier").ChatMessage(context.Background(), requestA, opsOnSlack)
		if err != nil {
			return err
		}
		if m.Version < 2 {
			posted <- i
			m.Version, m.Reminded, m.Ref = 2, 1, json.RawMessage(fmt.Sprintf(`{"chat": "C1", "message": "%d"}`, i))
			if err := m.Save(context.Background()); err != nil {
				return err
			}
		}
		return m.Close(context.Background())
	})
	if len(posted) != 1 || said["<nil>"] != 3 {
		t.Fatalf("%d posted, %v", len(posted), said)
	}
	m, err := w.as("approval-notifier").ChatMessage(t.Context(), requestA, opsOnSlack)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"chat": "C1", "message": "%d"}`, <-posted); string(m.Ref) != want || m.Version != 2 || m.Reminded != 1 {
		t.Errorf("%+v", m)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A message that was planned is there to see for whoever comes after a crash.
func TestAPlannedMessageOutlivesItsPoster(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.save(w.as("approval-gate"), w.ticket(requestA, runA, approval.Open))
	ctx, die := context.WithCancel(t.Context())
	m, err := w.as("approval-notifier").ChatMessage(ctx, requestA, opsOnSlack)
	if err != nil {
		t.Fatal(err)
	}
	if n := pgtest.One[int](w.sql, `SELECT count(*) FROM chat_messages WHERE version = 0 AND ref IS NULL`); n != 1 {
		t.Errorf("%d planned", n)
	}
	die()
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// People click before the call that posts the message has returned, and its process dies: what the click tells about
// the message is kept.
func TestAClickTellsWhereAMessageIsWhileItIsPosted(t *testing.T) {
	for _, saved := range []bool{false, true} {
		t.Run(fmt.Sprintf("saved %t", saved), func(t *testing.T) {
			w := newWorld(t)
			w.run(runA, "running", 12)
			w.save(w.as("approval-gate"), w.ticket(requestA, runA, approval.Open))
			posting, err := w.as("approval-notifier").ChatMessage(t.Context(), requestA, opsOnSlack)
			if err != nil {
				t.Fatal(err)
			}
			if posting.Ref = json.RawMessage(`{"chat": "C1", "message": "7"}`); saved {
				if err := posting.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			poster := pgtest.One[int](w.sql, `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`)
			callback, kept := w.as("approval-callback"), make(chan error, 1)
			go func() {
				_, err := callback.Emit(t.Context(), store.Cause{Source: "slack", ID: "click"}, item, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
					return events.Decision{}, tx.KeepMessage(ctx, requestA, opsOnSlack, posting.Ref)
				})
				kept <- err
			}()
			for len(kept) == 0 && pgtest.One[int](w.sql, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
			}
			w.sql.Do(`SELECT pg_terminate_backend($1)`, poster)
			if err := <-kept; err != nil {
				t.Fatal(err)
			}
			_ = posting.Close(t.Context()) // as its process is gone
			m, err := w.as("approval-notifier").ChatMessage(t.Context(), requestA, opsOnSlack)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Ref) != string(posting.Ref) || m.Version != 0 {
				t.Errorf("version %d is at %s", m.Version, m.Ref)
			}
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhereARequestIsShown(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("approval-gate")
	w.save(db, w.ticket(requestA, runA, approval.Open))
	elsewhere := func(chat string) (yes bool) {
		t.Helper()
		err := w.inStep(db, "where", func(ctx context.Context, tx *store.Tx) (err error) {
			yes, err = tx.ShownElsewhere(ctx, requestA, events.Voter{Channel: approval.Slack, Chat: chat})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !elsewhere("C1") {
		t.Error("before anything was posted")
	}
	w.sql.Do(`INSERT INTO chat_messages (request, channel, target, changed_at) VALUES ($1, 'slack', '', now())`, requestA)
	if elsewhere("C1") || elsewhere("") {
		t.Error("while it is on its way")
	}
	w.sql.Do(`UPDATE chat_messages SET ref = '{"chat": "C1"}', version = 1`)
	if elsewhere("C1") || !elsewhere("C2") {
		t.Error("once it is posted")
	}
}
