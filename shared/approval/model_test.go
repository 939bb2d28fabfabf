package approval

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
)

var sequences = flag.Int("sequences", 20_000, "how many random lives of a request TestNeverWrong plays, each of up to 24 steps")

// TestNeverWrong plays random lives: clicks of people who may and who may not, told twice, lost, late and in another
// order, edited, buttons of other requests, timers old and lost, a clock that jumps, places that fail, runs that end.
// People lose their role and get it back. After each vote the ticket is what the votes that count at that moment make
// of it, by a count of its own (counted): decided once, by enough people and by none who may not, never after a no
// that vetoes, never too late; and it ends. A life that fails is told by its number, from which it can be played
// again.
func TestNeverWrong(t *testing.T) {
	const workers = 4
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for n := worker; n < *sequences && !t.Failed(); n += workers {
				if wrong := live(uint64(n)); wrong != "" {
					t.Errorf("life %d: %s", n, wrong)
				}
			}
		})
	}
	all.Wait()
}

// life is a ticket under way, and what is known of it beside it.
type life struct {
	*rand.Rand
	ticket  Ticket
	now     time.Time
	terms   Terms
	timers  []events.ApprovalDue // that were set, the newest last
	heard   []Voted              // all so far
	out     map[string]bool      // who has lost their role
	counts  []counted            // the votes that count at present
	past    map[string]bool      // all that ever counted, by channel and id
	decided int
	version int64
}

var (
	people = []Person{
		{GitHubAccount: events.GitHubAccount{Login: "alice", ID: 1}, Role: access.Maintainer}, // whose run it is
		{GitHubAccount: events.GitHubAccount{Login: "bob", ID: 2}, Role: access.Maintainer},
		{GitHubAccount: events.GitHubAccount{Login: "carol", ID: 3}, Role: access.Owner},
		{GitHubAccount: events.GitHubAccount{Login: "dave", ID: 4}, Role: access.Reader}, // the ladder brings him in
		{GitHubAccount: events.GitHubAccount{Login: "eve", ID: 5}},                       // bob's deputy
		{GitHubAccount: events.GitHubAccount{Login: "mallory", ID: 6}},
		{GitHubAccount: events.GitHubAccount{Login: "robot", ID: 7}, Role: access.Owner, Bot: true},
		{Approver: "desk"},
		{Approver: "other"},
	}
	start = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
)

func pick[T any](l *life, of ...T) T { return of[l.IntN(len(of))] }

// live plays one life and says what was wrong with it.
func live(n uint64) string {
	l := &life{Rand: rand.New(rand.NewPCG(n, 1)), now: start, out: map[string]bool{}, past: map[string]bool{}}
	l.terms = Terms{
		Lang: "en", Who: Who{Roles: []string{"maintainer"}, Approvers: []string{"desk"}}, Quorum: 1 + l.IntN(3), Veto: l.IntN(2) == 0,
		Self: pick(l, SelfNever, SelfAlone, SelfYes), Deadline: 24 * time.Hour, Remind: []time.Duration{time.Hour, 4 * time.Hour},
		Ladder: []Rung{{After: 2 * time.Hour, Who: Who{Logins: []string{"dave"}}, Targets: []Target{{Channel: Jira}}}},
		Expiry: pick(l, ExpiryExpire, ExpiryDeny), Targets: []Target{{Channel: Slack}}, Fallback: []Target{{Channel: GitHub}},
		Deputies: []Stand{{For: "bob", By: "eve", Since: start, Until: start.Add(12 * time.Hour)}},
	}
	if l.IntN(3) == 0 {
		l.terms.Quiet = &Quiet{From: pick(l, "11:00", "13:00"), Until: pick(l, "12:30", "07:00")}
	}
	request := asked(pick(l, events.KindApproval, events.KindApproval, events.KindQuestion))
	if request.Kind == events.KindQuestion {
		request.Action, request.Options, request.FreeText = "question", []string{"left", "right"}, true
	}
	request.RequestedBy, request.At = people[0].GitHubAccount, start
	sealed, err := Seal(request)
	if err != nil {
		return err.Error()
	}
	open := Opened{Request: sealed, Terms: &l.terms}
	if wrong := l.step(open); wrong != "" {
		return wrong
	}
	for range l.IntN(24) {
		l.now = l.now.Add(pick(l, 0, 0, time.Minute, 50*time.Minute, 3*time.Hour, -time.Hour, 11*time.Hour))
		if wrong := l.step(l.next(open)); wrong != "" {
			return wrong
		}
	}
	for range 20 { // what was lost is sent again, until it is over
		if l.ticket.State.Final() {
			return ""
		}
		l.now = l.now.Add(6 * time.Hour)
		if wrong := l.step(Due{l.timers[len(l.timers)-1]}); wrong != "" {
			return wrong
		}
	}
	return "it never ends"
}

// next is what happens next.
func (l *life) next(open Opened) Input {
	about := events.ApprovalTarget{Channel: pick(l, Slack, Slack, GitHub, Jira)}
	switch l.IntN(20) {
	case 0:
		return open
	case 1:
		return Delivered{events.ApprovalDelivered{RequestID: open.Request.ID, Version: l.Int64N(4), ApprovalTarget: about}}
	case 2:
		return Undeliverable{events.ApprovalUndeliverable{RequestID: open.Request.ID, Version: l.Int64N(4), ApprovalTarget: about, Reason: "blocked"}}
	case 3, 4, 5:
		return Due{pick(l, l.timers...)}
	case 6:
		return pick[Input](l, RunOver{}, Replaced{By: open.Request}, Due{l.timers[len(l.timers)-1]})
	case 7, 8:
		if len(l.heard) > 0 {
			again := pick(l, l.heard...)
			again.Vote.Choice = pick(l, again.Vote.Choice, again.Vote.Choice, events.Deny) // an edited comment keeps its id
			if again.Members = l.members(); again.Who != nil {
				again.Who = l.known(*again.Who)
			}
			return again
		}
	case 9:
		name := pick(l, "bob", "carol")
		l.out[name] = !l.out[name]
	}
	who := pick(l, people...)
	v := Voted{Who: l.known(who), Members: l.members(), Elsewhere: l.IntN(12) == 0, Vote: Vote{
		ID: fmt.Sprint(l.IntN(1000)), RequestID: open.Request.ID, Digest: pick(l, "", ShortDigest(open.Request), ShortDigest(open.Request), "000000000000"),
		Choice: pick(l, events.Approve, events.Approve, events.Approve, events.Deny, events.Answer), Option: l.IntN(4), Text: pick(l, "", "words"),
		By: Voter{Channel: pick(l, Slack, Telegram, GitHub)}, At: l.now.Add(pick(l, 0, -time.Minute, time.Hour)),
	}}
	if l.IntN(12) == 0 {
		v.Who = nil
	}
	return v
}

// known is a person as the platform knows them now.
func (l *life) known(p Person) *Person {
	if p.Approver == "" {
		p = people[slices.IndexFunc(people, func(of Person) bool { return of.Login == p.Login })]
	}
	if l.out[p.Login] {
		p.Role = ""
	}
	return &p
}

// members are all who have an account, those who have lost their role too.
func (l *life) members() (all []Person) {
	for _, p := range people[:7] {
		all = append(all, *l.known(p))
	}
	return all
}

// step is one decision, and what must hold after it.
func (l *life) step(in Input) string {
	before := l.ticket
	votes, places := slices.Clone(before.Votes), slices.Clone(before.Places)
	next, d, err := Decide(before, in, l.now)
	if err != nil {
		return err.Error()
	}
	l.ticket = next
	if !slices.Equal(before.Votes, votes) || !slices.Equal(before.Places, places) {
		return "the ticket that was handed in was changed"
	}
	for _, e := range d.Emit {
		switch p := e.Payload.(type) {
		case events.ApprovalDecided:
			l.decided++
		case events.ApprovalDue:
			l.timers = append(l.timers, p)
			if e.NotBefore.After(next.Expires) || p.Round != next.Round {
				return "the timer is not the one that is needed"
			}
		case events.ApprovalChanged:
			if l.version++; p.Message.Version != l.version {
				return "a version of the message is missing"
			}
		}
	}
	switch v, isVote := in.(Voted); {
	case l.decided > 1 || next.State.Final() != (l.decided == 1):
		return fmt.Sprintf("it is %s and was decided %d times", next.State, l.decided)
	case before.State.Final() && (next.State != before.State || next.Outcome != before.Outcome || len(next.Votes) != len(before.Votes)):
		return "it changed after its end"
	case before.State.Final():
		return ""
	case isVote:
		l.heard = append(l.heard, v)
		return l.rightly(v, before, next)
	case next.State == Approved || next.State == Answered || next.State == Denied && (l.terms.Expiry != ExpiryDeny || l.now.Before(before.Expires)):
		return fmt.Sprintf("%T made it %s", in, next.State)
	case !slices.Equal(before.Votes, next.Votes):
		return fmt.Sprintf("%T changed the votes", in)
	}
	return ""
}

func BenchmarkDecide(b *testing.B) {
	sealed, err := Seal(asked(events.KindApproval))
	if err != nil {
		b.Fatal(err)
	}
	terms := &Terms{Lang: "en", Who: Who{Roles: []string{"maintainer"}}, Quorum: 2, Veto: true, Self: SelfNever, Deadline: time.Hour, Targets: []Target{{Channel: All}}}
	open := Opened{Request: sealed, Terms: terms}
	ticket, _, err := Decide(Ticket{}, open, start)
	if err != nil {
		b.Fatal(err)
	}
	vote := Voted{Who: &people[1], Members: people[:7], Vote: Vote{ID: "1", RequestID: sealed.ID, Choice: events.Approve, By: Voter{Channel: Slack}, At: start}}
	for name, step := range map[string]struct {
		t  Ticket
		in Input
	}{"open": {Ticket{}, open}, "vote": {ticket, vote}, "timer": {ticket, Due{events.ApprovalDue{Round: 1}}}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Decide(step.t, step.in, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
