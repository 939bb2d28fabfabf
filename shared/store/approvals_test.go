package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	requestA = "a0000000-3b57-4c0e-9d6a-52b0c1f4a9e8"
	requestB = "b0000000-3b57-4c0e-9d6a-52b0c1f4a9e8"
)

func (w *world) ticket(id, run string, state approval.State) approval.Ticket {
	t := approval.Ticket{
		Request: approval.Request{
			RunRef: events.RunRef{RunID: run, Project: "shop", Repository: "Acme/Shop", Issue: 12}, ID: id, Kind: events.KindApproval,
			Action: "tool:secret_sync", Title: "Write a secret", Arguments: json.RawMessage(`{"z":1.50,"name":"db","a":[1e2]}`), At: w.now(),
		},
		Terms: approval.Terms{Deadline: time.Hour}, State: state, Version: 1, Told: w.now(), Expires: w.now().Add(time.Hour),
	}
	if state.Final() {
		t.Outcome = &approval.Outcome{By: []string{"ann"}, At: w.now()}
	}
	return t
}

// inStep does f in a transaction of its own.
func (w *world) inStep(db *store.DB, id string, f func(context.Context, *store.Tx) error) error {
	_, err := db.Emit(w.Context(), store.Cause{Source: "test", ID: id}, "", func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		return events.Decision{}, f(ctx, tx)
	})
	return err
}

func (w *world) save(db *store.DB, tickets ...approval.Ticket) {
	w.Helper()
	for _, t := range tickets {
		if err := w.inStep(db, "save", func(ctx context.Context, tx *store.Tx) error { return tx.SaveTicket(ctx, t) }); err != nil {
			w.Fatal(err)
		}
	}
}

func TestATicketComesBackAsItWasSaved(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("approval-gate")
	want := w.ticket(requestA, runA, approval.Open)
	w.save(db, want)
	for name, read := range map[string]func() (approval.Ticket, error){
		"now": func() (approval.Ticket, error) { return db.Ticket(t.Context(), requestA) },
		"held": func() (got approval.Ticket, err error) {
			return got, w.inStep(db, "read", func(ctx context.Context, tx *store.Tx) error { got, err = tx.Ticket(ctx, requestA); return err })
		},
	} {
		got, err := read()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-saved +read):\n%s", name, err, diff)
		}
	}
	for _, id := range []string{requestB, "", "no uuid"} {
		if got, err := db.Ticket(t.Context(), id); err != nil || got.State != "" {
			t.Errorf("request %q that nobody has asked: %+v, %v", id, got, err)
		}
	}
}

// What is final stays, whatever a caller believes it to be; where its messages stand may still change.
func TestWhatIsDecidedStays(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("approval-gate")
	decided := w.ticket(requestA, runA, approval.Denied)
	w.save(db, w.ticket(requestA, runA, approval.Open), decided)
	for _, state := range []approval.State{approval.Open, approval.Approved, approval.Expired} {
		err := w.inStep(db, "again", func(ctx context.Context, tx *store.Tx) error {
			return tx.SaveTicket(ctx, w.ticket(requestA, runA, state))
		})
		if !errors.Is(err, store.ErrChanged) {
			t.Errorf("denied became %s: %v", state, err)
		}
	}
	decided.Places = []approval.Place{{Target: approval.Target{Channel: approval.Slack}, Version: 2}}
	w.save(db, decided)
	if got, err := db.Ticket(t.Context(), requestA); err != nil || cmp.Diff(decided, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRequestsAreFoundByRunAndByWorkItem(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("approval-gate")
	first := w.ticket(requestB, runA, approval.Open)
	w.pass(time.Minute)
	second := w.ticket(requestA, runA, approval.Requested)
	decided := w.ticket("c0000000-3b57-4c0e-9d6a-52b0c1f4a9e8", runA, approval.Expired)
	w.save(db, second, first, decided)
	var got []approval.Ticket
	err := w.inStep(db, "run", func(ctx context.Context, tx *store.Tx) (err error) { got, err = tx.OpenTickets(ctx, runA); return err })
	if diff := cmp.Diff([]approval.Ticket{second, first}, got); err != nil || diff != "" {
		t.Errorf("of the run, by id: %v\n%s", err, diff)
	}
	got, err = db.Requests(t.Context(), store.Repository{Key: "acme/shop"}, 12)
	if diff := cmp.Diff([]approval.Ticket{second, decided, first}, got); err != nil || diff != "" {
		t.Errorf("of the work item, the newest first: %v\n%s", err, diff)
	}
	if got, err := db.Requests(t.Context(), store.Repository{Key: "acme/shop"}, 13); err != nil || len(got) != 0 {
		t.Errorf("of another issue: %v, %v", got, err)
	}
	if n, since, err := db.Waiting(t.Context()); err != nil || n != 2 || !since.Equal(first.Request.At) {
		t.Errorf("%d wait since %s, %v", n, since, err)
	}
}

// Two decisions about one request come one after the other: who is second sees what the first one decided.
func TestOneDecisionAtATime(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	db := w.as("approval-gate")
	w.save(db, w.ticket(requestA, runA, approval.Open))
	said := atOnce(4, func(int) error {
		return w.inStep(db, "vote", func(ctx context.Context, tx *store.Tx) error {
			ticket, err := tx.Ticket(ctx, requestA)
			if err != nil || ticket.State.Final() {
				return err
			}
			ticket.Version, ticket.State, ticket.Outcome = ticket.Version+1, approval.Approved, &approval.Outcome{At: w.now()}
			return tx.SaveTicket(ctx, ticket)
		})
	})
	if got, err := db.Ticket(t.Context(), requestA); err != nil || got.Version != 2 || said["<nil>"] != 4 {
		t.Errorf("version %d, %v, %v", got.Version, said, err)
	}
	if n := pgtest.One[int](w.sql, `SELECT count(*) FROM approvals WHERE decided_at IS NOT NULL`); n != 1 {
		t.Errorf("%d are decided", n)
	}
}
