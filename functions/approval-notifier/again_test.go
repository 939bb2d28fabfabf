package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	fakechat "codexk8s.dev/test/fakes/chat"
)

var desk = events.ApprovalTarget{Channel: approval.HTTP, Target: "desk"}

// ticket makes the request one that the approver decides, or what change makes of that.
func (f *fixture) ticket(change func(*approval.Ticket)) {
	f.Helper()
	t := approval.Ticket{
		Request: approval.Request{RunRef: ref, ID: requestID, Digest: strings.Repeat("0", 64), Kind: events.KindApproval, Action: "tool:secret_sync", Title: "Write it"},
		Terms:   approval.Terms{Who: approval.Who{Approvers: []string{"desk"}}, Quorum: 1}, State: approval.Open, Told: f.clock, Expires: f.clock.Add(72 * time.Hour),
	}
	change(&t)
	text, err := json.Marshal(t)
	if err != nil {
		f.Fatal(err)
	}
	f.sql.Do(`UPDATE approvals SET ticket = $2 WHERE id = $1`, requestID, text)
}

func (f *fixture) asked() []fakechat.Post { return f.fake.Posts(fakechat.Approver) }

// timers are those of attempts that nobody has answered: which attempt, and how long from the start of the test.
func (f *fixture) timers() (all []string) {
	f.Helper()
	start := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, line := range f.sql.Lines(`
		SELECT concat_ws(' ', coalesce(nullif(convert_from(data, 'UTF8')::jsonb ->> 'attempt', ''), 'none'), extract(epoch FROM not_before)::bigint)
		FROM events WHERE type = $1 AND function = $2 ORDER BY seq`, events.ApprovalUnanswered{}.EventType(), function) {
		var id string
		var at int64
		if _, err := fmt.Sscan(line, &id, &at); err != nil {
			f.Fatal(err)
		}
		n := slices.IndexFunc(f.asked(), func(p fakechat.Post) bool { return p.ID == id })
		all = append(all, fmt.Sprintf("%d after %s", n+1, time.Unix(at, 0).Sub(start)))
	}
	return all
}

// pass moves the clock.
func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = f.clock.Add(d)
}

// unanswered is the timer of the nth attempt.
func (f *fixture) unanswered(n int) events.ApprovalUnanswered {
	return events.ApprovalUnanswered{RequestID: requestID, ApprovalTarget: desk, Attempt: f.asked()[n-1].ID, Due: f.db.Now()}
}

// An approver calls back once. If that was lost, or the approver has forgotten what it was asked, it is asked again,
// without any reminder in the policy, less and less often, until it has answered or the time is up.
func TestAnApproverThatSaysNothing(t *testing.T) {
	f := setup(t)
	f.ticket(func(*approval.Ticket) {})
	for range 2 { // the event comes twice, and a newer version shows nothing new there
		f.hear("open", changed(1, approval.Open, desk), 0)
	}
	f.hear("a vote elsewhere", changed(2, approval.Open, desk), 0)
	f.want("one attempt, one timer", f.timers(), "1 after 1h0m0s")
	for _, after := range []time.Duration{time.Hour, time.Hour, 2 * time.Hour} {
		f.pass(after)
		due := f.unanswered(len(f.asked()))
		for range 2 {
			f.hear("due "+due.Attempt, due, 0)
		}
	}
	f.want("each attempt has its timer", f.timers(), "1 after 1h0m0s", "2 after 2h0m0s", "3 after 4h0m0s", "4 after 8h0m0s")
	f.hear("an older timer", f.unanswered(1), 0)
	f.ticket(func(t *approval.Ticket) { t.State = approval.Approved })
	f.hear("decided", f.unanswered(4), 0)
	if n := len(f.asked()); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

// Who dies after the new attempt was recorded and before its timer was set, sets it when the event comes again.
func TestATimerThatWasNotSet(t *testing.T) {
	f := setup(t)
	f.hear("open", changed(1, approval.Open, desk), 0) // of a request that the approver has no say in
	f.want("no say", f.timers())
	f.ticket(func(*approval.Ticket) {})
	f.hear("open", changed(1, approval.Open, desk), 0)
	f.hear("open again", changed(1, approval.Open, desk), 0)
	f.want("set later", f.timers(), "1 after 1h0m0s")
}

// Nobody is asked again whose answer is not waited for.
func TestWhoIsNotAskedAgain(t *testing.T) {
	for name, change := range map[string]func(*approval.Ticket){
		"it has no say":          func(t *approval.Ticket) { t.Terms.Who.Approvers = []string{"cab"} },
		"it has voted":           func(t *approval.Ticket) { t.Votes = []approval.Cast{{Who: "http:desk"}} },
		"it is decided":          func(t *approval.Ticket) { t.State = approval.Denied },
		"the time is up by then": func(t *approval.Ticket) { t.Expires = t.Told.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.ticket(change)
			f.hear("open", changed(1, approval.Open, desk), 0)
			f.want("timers", f.timers())
			if f.hear("due", f.unanswered(1), 0); !strings.Contains(name, "time") && len(f.asked()) != 1 {
				t.Errorf("asked %d times", len(f.asked()))
			}
		})
	}
}

// What an approver gave up on is asked again, under another id and once; not what is decided, or was asked again since.
func TestAnApproverThatGaveUp(t *testing.T) {
	f := setup(t)
	f.ticket(func(t *approval.Ticket) { t.State = approval.Denied })
	f.hear("first", changed(1, approval.Open, desk), 0)
	if n := len(f.asked()); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	gaveUp := f.unanswered(1)
	f.hear("late", gaveUp, 0)
	if n := len(f.asked()); n != 1 {
		t.Errorf("decided, and asked %d times", n)
	}
	f.ticket(func(*approval.Ticket) {})
	for _, id := range []string{"gave up", "gave up", "the same of another event"} {
		f.hear(id, gaveUp, 0)
	}
	if n := len(f.asked()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// An approver that fails at once, whatever its status, was not asked: the event comes again, and after some time
// another place stands in and a timer asks on.
func TestAnApproverThatFailsAtOnce(t *testing.T) {
	f := setup(t)
	f.ticket(func(*approval.Ticket) {})
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: "failed", Times: 2})
	if code := f.hear("open", changed(1, approval.Open, desk), 0); code/100 != 5 || len(f.sent) != 0 {
		t.Errorf("answered %d and said %q", code, f.sent)
	}
	if code := f.hear("open", changed(1, approval.Open, desk), events.Patience+time.Second); code != http.StatusAccepted {
		t.Errorf("after all patience answered %d", code)
	}
	f.want("after all patience", f.sent, "approval.undeliverable http desk unreachable")
	f.want("asked by a timer", f.timers(), "0 after 1h0m0s")
	f.pass(time.Hour)
	f.hear("due", events.ApprovalUnanswered{RequestID: requestID, ApprovalTarget: desk, Due: f.db.Now()}, 0)
	f.want("asked", f.sent, "approval.undeliverable http desk unreachable", "approval.delivered http desk")
	f.want("asked on", f.timers(), "0 after 1h0m0s", "1 after 2h0m0s")
}

// An outage lasts longer than an event is tried. An approver that is down when it is asked again has patience, then
// another place stands in, and timers go on until it is back. So no event dies of it.
func TestAnApproverThatIsDownForLong(t *testing.T) {
	for kind, why := range map[string]string{"down": reason.Unreachable, "unauthorized": reason.Unauthorized} {
		t.Run(kind, func(t *testing.T) {
			f := setup(t)
			f.ticket(func(*approval.Ticket) {})
			f.hear("open", changed(1, approval.Open, desk), 0)
			f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: kind})
			f.pass(time.Hour)
			f.sent = nil
			due := f.unanswered(1)
			if kind == "down" {
				if code := f.hear("due 1", due, 0); code/100 != 5 || len(f.sent) != 0 {
					t.Errorf("answered %d and said %q", code, f.sent)
				}
			}
			f.pass(events.Patience + time.Second)
			for n := range 3 {
				for range 2 { // each event comes twice
					if code := f.hear(fmt.Sprint("due ", n+1), due, 0); code != http.StatusAccepted {
						t.Errorf("timer %d: answered %d", n+1, code)
					}
				}
				f.pass(4 * time.Hour)
			}
			f.want("told", slices.Compact(slices.Clone(f.sent)), "approval.undeliverable http desk "+why)
			f.want("timers", f.timers(), "1 after 1h0m0s", "1 after 2h20m2s", "1 after 10h20m2s", "1 after 18h20m2s")
			f.fake.Calm()
			due.Due = f.db.Now()
			f.hear("it is back", due, 0)
			if got := f.sent[len(f.sent)-1]; got != "approval.delivered http desk" || len(f.asked()) != 2 {
				t.Errorf("asked %d times, and said %q", len(f.asked()), got)
			}
		})
	}
}
