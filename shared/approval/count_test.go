package approval

import (
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
)

// counted is a vote that counts, by rules that are written down here once more, for the people of the model alone and
// without the code that is tested.
type counted struct {
	who, channel, id string
	choice           Choice
	at               time.Time
}

// rightly compares what a vote has made of a ticket with what it must make of it.
func (l *life) rightly(v Voted, before, next Ticket) string {
	state, by := before.State, []string(nil)
	switch {
	case !l.now.Before(before.Expires) && l.terms.Expiry == ExpiryDeny:
		state = Denied
	case !l.now.Before(before.Expires):
		state = Expired
	case l.takes(v, before):
		l.take(v)
		state, by = l.verdict(v.Vote.Choice, before)
	}
	var votes []counted
	for _, c := range next.Votes {
		votes = append(votes, counted{c.Who, c.Vote.By.Channel, c.Vote.ID, c.Vote.Choice, c.Vote.At})
	}
	var decided []string
	if next.Outcome != nil {
		decided = next.Outcome.By
	}
	switch {
	case !slices.Equal(votes, l.counts):
		return fmt.Sprintf("%+v count, and must be %+v", votes, l.counts)
	case next.State != state || !slices.Equal(decided, by):
		return fmt.Sprintf("it is %s by %q, and must be %s by %q", next.State, decided, state, by)
	}
	return ""
}

// takes reports whether a vote counts.
func (l *life) takes(v Voted, t Ticket) bool {
	if v.Who == nil || v.Elsewhere || v.Vote.Digest == "000000000000" || !l.may(nameOf(*v.Who), t.Level) {
		return false
	}
	name, question := nameOf(*v.Who), t.Request.Kind == events.KindQuestion
	switch v.Vote.Choice {
	case events.Approve:
		if question || name == "alice" && l.terms.Self != SelfYes { // others may, so alone is never
			return false
		}
	case events.Answer:
		if !question || v.Vote.Option > 2 || v.Vote.Option == 0 && v.Vote.Text == "" {
			return false
		}
	}
	if l.past[v.Vote.By.Channel+" "+v.Vote.ID] || v.Vote.Digest == "" && v.Vote.At.Before(t.Request.At.Add(-2*time.Minute)) {
		return false
	}
	return !slices.ContainsFunc(l.counts, func(c counted) bool {
		return c.who == "bob" && name == "eve" ||
			c.who == name && (c.choice == v.Vote.Choice || c.channel == v.Vote.By.Channel && v.Vote.At.Before(c.at))
	})
}

// may reports whether somebody may decide at present, after so many steps of the ladder.
func (l *life) may(name string, level int) bool {
	switch name {
	case "alice", "http:desk":
		return true
	case "bob", "carol":
		return !l.out[name]
	case "dave":
		return level > 0
	case "eve": // for bob, on her days
		return !l.out["bob"] && !l.now.Before(start) && l.now.Before(start.Add(12*time.Hour))
	}
	return false
}

// take puts a vote in the place of those that do not count any more.
func (l *life) take(v Voted) {
	name := nameOf(*v.Who)
	l.past[v.Vote.By.Channel+" "+v.Vote.ID] = true
	l.counts = slices.DeleteFunc(l.counts, func(c counted) bool {
		return c.who == name || c.who == "eve" && (name == "bob" || l.out["bob"]) || l.out[c.who]
	})
	l.counts = append(l.counts, counted{name, v.Vote.By.Channel, v.Vote.ID, v.Vote.Choice, v.Vote.At})
}

// verdict is what the votes come to when the newest is that choice.
func (l *life) verdict(newest Choice, t Ticket) (state State, by []string) {
	of := func(choice Choice) (names []string) {
		for _, c := range l.counts {
			name := c.who
			if name == "eve" {
				name = fmt.Sprintf(words.In("en").InPlace, "eve", "bob")
			}
			if c.choice == choice {
				names = append(names, name)
			}
		}
		return names
	}
	no, yes := of(events.Deny), of(events.Approve)
	switch {
	case newest == events.Answer:
		return Answered, of(events.Answer)
	case len(no) > 0 && (l.terms.Veto || len(no) >= l.terms.Quorum || t.Request.Kind == events.KindQuestion):
		return Denied, no
	case len(yes) >= l.terms.Quorum:
		return Approved, yes
	}
	return t.State, nil
}

func nameOf(p Person) string {
	if p.Approver != "" {
		return "http:" + p.Approver
	}
	return p.Login
}
