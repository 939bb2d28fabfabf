package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

var (
	requested = events.AgentRequested{RunRef: refA, Namespace: "n"}
	finished  = events.AgentFinished{RunRef: refA, Namespace: "n"} // which one function consumes
	said      = events.Decision{Emit: []events.Draft{events.Now(finished)}, Audit: []events.Record{{Actor: "a", Action: "b"}}}
)

func decided(d events.Decision) func(context.Context, *store.Tx) (events.Decision, error) {
	return func(context.Context, *store.Tx) (events.Decision, error) { return d, nil }
}

// Eight instances are delivered the same event at once: one decides, and all say the same.
func TestAnEventIsDecidedOnce(t *testing.T) {
	w := newWorld(t)
	e := w.owed("agent-launcher", "1", requested)
	var decisions atomic.Int32
	got := make([]string, 8)
	failed := atOnce(len(got), func(i int) error {
		es, err := w.as("agent-launcher").Step(t.Context(), e, item, func(context.Context, *store.Tx) (events.Decision, error) {
			decisions.Add(1)
			return said, nil
		})
		got[i] = ids(es)
		return err
	})
	if decisions.Load() != 1 || failed["<nil>"] != len(got) || got[0] == "" || len(slices.Compact(got)) != 1 {
		t.Errorf("%d decisions, errors %v, emitted %q", decisions.Load(), failed, got)
	}
	w.want("after all", "1 received, 1 emitted, 1 owed, 1 audited")
}

// An edge is told the same again in other words, as a chat's click is that comes with another time: what is sent again
// is what was stored, or its consumer would refuse it as forged.
func TestWhatIsReportedAgainIsWhatWasStored(t *testing.T) {
	w := newWorld(t)
	edge, cause := w.as("run-observer"), store.Cause{Source: "/cluster", ID: "job"}
	var sent []event.Event
	for attempt := range 2 {
		told := finished
		told.Attempt = attempt
		es, err := edge.Emit(t.Context(), cause, item, decided(events.Decision{Emit: []events.Draft{events.Now(told)}}))
		if err != nil || len(es) != 1 {
			t.Fatalf("%d events to send, %v", len(es), err)
		}
		if _, err := w.as("stage-router").Step(t.Context(), es[0], item, decided(events.Decision{})); err != nil {
			t.Errorf("after %d repetitions its consumer says: %v", attempt, err)
		}
		sent = append(sent, es[0])
	}
	if sent[0].ID() != sent[1].ID() || string(sent[0].Data()) != string(sent[1].Data()) {
		t.Errorf("sent %s, then %s", sent[0].Data(), sent[1].Data())
	}
}

// What a redelivery sends again is what nobody has recorded yet, and no timer before its time.
func TestARedeliverySendsWhatIsStillOwed(t *testing.T) {
	w := newWorld(t)
	launcher, e := w.as("agent-launcher"), w.owed("agent-launcher", "1", requested)
	later := said
	later.Emit = append(later.Emit, events.At(w.now().Add(time.Hour), events.EnvironmentExpired{RunRef: refA}))
	step := func(want int) {
		t.Helper()
		es, err := launcher.Step(t.Context(), e, item, decided(later))
		if err != nil || len(es) != want {
			t.Errorf("%d events to send, %v; want %d", len(es), err, want)
		}
		if want == 1 {
			if _, err := w.as("stage-router").Step(t.Context(), es[0], item, decided(events.Decision{})); err != nil {
				t.Error(err)
			}
		}
	}
	step(1)
	step(0) // stage-router has it
	w.pass(time.Hour)
	es, err := launcher.Step(t.Context(), e, item, decided(later))
	if err != nil || len(es) != 1 || es[0].Type() != (events.EnvironmentExpired{}).EventType() {
		t.Errorf("an hour later: %v, %v", es, err)
	}
}

// One work item is decided on by one at a time; others do not wait for it.
func TestOneDecisionAtATimePerAggregate(t *testing.T) {
	w := newWorld(t)
	var inside atomic.Int32
	failed := atOnce(6, func(i int) error {
		e := w.owed("stage-router", fmt.Sprint("same", i), finished)
		_, err := w.as("stage-router").Step(t.Context(), e, item, func(context.Context, *store.Tx) (events.Decision, error) {
			if inside.Add(1) != 1 {
				t.Error("two decide on one work item")
			}
			defer inside.Add(-1)
			time.Sleep(5 * time.Millisecond)
			return events.Decision{}, nil
		})
		return err
	})
	var both sync.WaitGroup
	both.Add(2)
	met := atOnce(2, func(i int) error {
		e := w.owed("stage-router", fmt.Sprint("other", i), finished)
		_, err := w.as("stage-router").Step(t.Context(), e, fmt.Sprint("acme/shop#", i), func(context.Context, *store.Tx) (events.Decision, error) {
			both.Done()
			both.Wait()
			return events.Decision{}, nil
		})
		return err
	})
	if failed["<nil>"] != 6 || met["<nil>"] != 2 {
		t.Errorf("errors %v and %v", failed, met)
	}
}

// A decision that fails leaves nothing, and its event is as good as new.
func TestAFailedDecisionLeavesNothing(t *testing.T) {
	w := newWorld(t)
	router, e, failure := w.as("stage-router"), w.owed("stage-router", "1", finished), errors.New("no")
	_, err := router.Step(t.Context(), e, item, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		_, err := tx.Exec(ctx, `UPDATE work_items SET title = 'changed'`)
		return said, errors.Join(err, failure)
	})
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	w.want("after a failure", "0 received, 0 emitted, 1 owed, 0 audited")
	if titles := w.sql.Lines(`SELECT DISTINCT title FROM work_items`); titles[0] != "" {
		t.Errorf("the failed decision changed the work item: %q", titles)
	}
	if _, err := router.Step(t.Context(), e, item, decided(events.Decision{})); err != nil {
		t.Error(err)
	}
	w.want("the next time", "1 received, 0 emitted, 0 owed, 0 audited")
}

// What is not in the log as it is comes from nobody of the platform: it is neither decided nor acted on.
func TestForgedEventsAreRefused(t *testing.T) {
	w := newWorld(t)
	db, real := w.as("agent-launcher"), w.owed("agent-launcher", "1", requested)
	made, changed, renamed := real.Clone(), real.Clone(), real.Clone()
	made.SetID("2")
	changed.DataEncoded = []byte(`{"runId":"` + runB + `"}`)
	renamed.SetType(events.AgentStopRequested{}.EventType())
	for name, e := range map[string]event.Event{"made up": made, "with other data": changed, "of another type": renamed} {
		fail := func() { t.Errorf("%s: it was let in", name) }
		_, stepped := db.Step(t.Context(), e, item, func(context.Context, *store.Tx) (events.Decision, error) { fail(); return said, nil })
		_, acted := db.Act(t.Context(), e, item, func(context.Context) (events.Decision, error) { fail(); return said, nil })
		for _, err := range []error{stepped, acted} {
			if r, ok := events.AsRejected(err); !ok || r.Reason != "not_in_log" {
				t.Errorf("%s: refused with %v", name, err)
			}
		}
	}
	w.want("after all", "0 received, 0 emitted, 1 owed, 0 audited")
}

// An act happens once, however often its event is delivered; its failure is no receipt.
func TestAnActHappensOnce(t *testing.T) {
	w := newWorld(t)
	db, e, acts := w.as("agent-launcher"), w.owed("agent-launcher", "1", requested), 0
	act := func(d events.Decision, err error) (string, error) {
		es, err := db.Act(t.Context(), e, item, func(context.Context) (events.Decision, error) { acts++; return d, err })
		return ids(es), err
	}
	failure := errors.New("Kubernetes is away")
	if _, err := act(events.Decision{}, failure); !errors.Is(err, failure) {
		t.Error(err)
	}
	w.want("after a failure", "0 received, 0 emitted, 1 owed, 0 audited")
	first, err := act(said, nil)
	again, errAgain := act(said, nil)
	if err != nil || errAgain != nil || acts != 2 || first == "" || first != again {
		t.Errorf("acted %d times, said %q and %q, %v %v", acts, first, again, err, errAgain)
	}
	w.want("after all", "1 received, 1 emitted, 1 owed, 1 audited")
}

// An instance that dies between act and record is followed by one that acts again, and it is recorded once.
func TestACrashBetweenActAndRecord(t *testing.T) {
	w := newWorld(t)
	e, acts := w.owed("agent-launcher", "1", requested), 0
	dying := w.as("agent-launcher")
	_, err := dying.Act(t.Context(), e, item, func(ctx context.Context) (events.Decision, error) {
		acts++
		return said, dying.Close(ctx)
	})
	if err == nil {
		t.Error("a process without a database has recorded something")
	}
	w.want("after the crash", "0 received, 0 emitted, 1 owed, 0 audited")
	if _, err := w.as("agent-launcher").Act(t.Context(), e, item, func(context.Context) (events.Decision, error) { acts++; return said, nil }); err != nil {
		t.Error(err)
	}
	w.want("after the next delivery", "1 received, 1 emitted, 1 owed, 1 audited")
	if acts != 2 {
		t.Errorf("acted %d times", acts)
	}
}

// A sender that hangs up while we act does not undo it, and what was done is recorded.
func TestAnActOutlastsItsSender(t *testing.T) {
	w := newWorld(t)
	e := w.owed("agent-launcher", "1", requested)
	ctx, hangUp := context.WithCancel(t.Context())
	_, err := w.as("agent-launcher").Act(ctx, e, item, func(context.Context) (events.Decision, error) { hangUp(); return said, nil })
	if err != nil {
		t.Error(err)
	}
	w.want("after the sender left", "1 received, 1 emitted, 1 owed, 1 audited")
}

// Two deliveries at once may both act, as an act bears it. One is recorded, and both say the same.
func TestTwoThatActAtOnceSayTheSame(t *testing.T) {
	w := newWorld(t)
	e := w.owed("agent-launcher", "1", requested)
	var both sync.WaitGroup
	both.Add(2)
	got := make([]string, 2)
	failed := atOnce(2, func(i int) error {
		es, err := w.as("agent-launcher").Act(t.Context(), e, item, func(context.Context) (events.Decision, error) {
			both.Done()
			both.Wait() // neither has recorded
			return said, nil
		})
		got[i] = ids(es)
		return err
	})
	if failed["<nil>"] != 2 || got[0] == "" || got[0] != got[1] {
		t.Errorf("errors %v, said %q", failed, got)
	}
	w.want("after both", "1 received, 1 emitted, 1 owed, 1 audited")
}
