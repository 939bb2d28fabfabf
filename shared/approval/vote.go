package approval

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
)

// Foresee is what Decide will make of a vote, for an answer to whoever casts it: why it does not count, with the words
// for them, or only a reason if it counts already.
func Foresee(t Ticket, in Voted, now time.Time) (why, said string, err error) {
	_, d, err := Decide(t, in, now)
	if err != nil {
		return "", "", err
	}
	for _, draft := range d.Emit {
		if r, ok := draft.Payload.(events.ApprovalRefused); ok {
			return r.Reason, r.Text, nil
		}
	}
	if slices.ContainsFunc(d.Audit, func(r events.Record) bool { return r.Reason == reason.VoteRepeated }) {
		return reason.VoteRepeated, "", nil
	}
	return "", "", nil
}

// maxText bounds a reason or an answer, in bytes.
const maxText = 8 << 10

func (in Voted) decide(d *decision) error {
	if in.Vote.RequestID != d.t.Request.ID {
		return events.Reject("unknown_request", fmt.Errorf("the vote is about request %s, not %s", in.Vote.RequestID, d.t.Request.ID))
	}
	d.lapse()
	in.Vote.Text = plain.Cut(in.Vote.Text, maxText)
	if in.Vote.Choice != events.Answer {
		in.Vote.Option = 0 // whatever the channel sends beside it
	}
	if d.heard(in.Vote) || d.repeats(in.Vote) {
		d.audit(actor(in), "vote.ignored", reason.VoteRepeated, "told again")
		return nil
	}
	cast, why := d.judge(in)
	if why != "" {
		d.audit(actor(in), "vote.refused", why, "%s", in.Vote.Choice)
		d.out.Emit = append(d.out.Emit, events.Now(events.ApprovalRefused{
			RequestID: d.t.Request.ID, VoteID: in.Vote.ID, By: in.Vote.By, Reason: why, Text: d.t.Refusal(why),
		}))
		return nil
	}
	d.count(in, cast)
	return nil
}

// mark tells a vote from all others.
func mark(v Vote) string { return v.By.Channel + " " + v.ID }

// maxPast is how many votes that count no more are remembered, the newest.
const maxPast = 100

// Refusal is what to tell a person whose vote does not count, for that reason.
func (t Ticket) Refusal(why string) string {
	said := t.words().Refused[why]
	if o := t.Outcome; o != nil && why == late(t.State) && (len(o.By) > 0 || o.Reason == NobodyDecided) {
		said += " " + t.ended()
	}
	return said
}

// clocksDiffer is how far the clock of GitHub or of a chat, by which votes have their time, may be behind ours, by
// which requests have theirs. It leaves room for times in whole seconds, too.
const clocksDiffer = 2 * time.Minute

// judge says for whom a vote counts, or why it does not.
func (d *decision) judge(in Voted) (Cast, string) {
	v, r := in.Vote, d.t.Request
	switch {
	case in.Who == nil:
		return Cast{}, reason.NotLinked
	case in.Who.Bot || strings.HasSuffix(strings.ToLower(in.Who.Login), "[bot]"):
		return Cast{}, reason.AgentVote
	case in.Elsewhere:
		return Cast{}, reason.WrongChat
	}
	seat, ok := d.seat(*in.Who, in.Members)
	switch {
	case !ok:
		return Cast{}, reason.NotPermitted
	case d.t.State.Final():
		return Cast{}, late(d.t.State)
	case v.Digest == "" && v.At.Before(r.At.Add(-clocksDiffer)):
		return Cast{}, reason.BeforeRequest
	case v.Digest != "" && (len(v.Digest) < shortDigest || !strings.HasPrefix(r.Digest, v.Digest)):
		return Cast{}, reason.AnotherDigest
	case !fits(r, v):
		return Cast{}, reason.ChoiceUnfit
	case v.Choice == events.Approve && d.own(*in.Who) && !d.selfAllowed(in.Members):
		return Cast{}, reason.SelfApproval
	}
	cast := Cast{Vote: v, Who: seat.who, ID: in.Who.ID, For: seat.inPlaceOf}
	for _, old := range d.t.Votes {
		switch {
		case seat.inPlaceOf != "" && old.For == "" && strings.EqualFold(old.Who, seat.inPlaceOf):
			return Cast{}, reason.PrincipalVoted
		case !samePerson(old, cast) || sameComment(old.Vote, v):
		case old.Vote.By.Channel == v.By.Channel && v.At.Before(old.Vote.At):
			return Cast{}, reason.OlderVote
		case old.Vote.Choice == v.Choice:
			return Cast{}, reason.AlreadyVoted
		}
	}
	return cast, ""
}

// count takes a vote in and ends the ticket if that decides it.
func (d *decision) count(in Voted, cast Cast) {
	action := "vote.counted"
	d.t.Votes = slices.DeleteFunc(d.t.Votes, func(old Cast) bool {
		replaced := samePerson(old, cast)
		if replaced {
			action = "vote.changed"
		}
		// A person who votes needs no deputy.
		gone := replaced || cast.For == "" && old.For != "" && strings.EqualFold(old.For, cast.Who)
		if gone {
			d.remember(mark(old.Vote))
		}
		return gone
	})
	d.t.Votes = append(d.t.Votes, cast)
	d.changed = true
	d.audit(actor(in), action, "", "%s, by %s", cast.Vote.Choice, cast.Vote.By.Channel)
	d.dropLost(cast, in.Members)
	yes, no := d.tally()
	switch quorum := max(d.t.Terms.Quorum, 1); {
	case cast.Vote.Choice == events.Answer:
		d.end(Answered, Outcome{By: []string{d.t.who(cast)}, Option: cast.Vote.Option, Text: d.answer(cast)})
	case len(no) > 0 && (d.t.Terms.Veto || len(no) >= quorum || d.t.Request.Kind == events.KindQuestion):
		d.end(Denied, Outcome{By: no, Text: cast.Vote.Text})
	case len(yes) >= quorum:
		d.end(Approved, Outcome{By: yes, Text: cast.Vote.Text})
	}
}

// answer is the answer in words.
func (d *decision) answer(c Cast) string {
	if c.Vote.Option > 0 {
		return d.t.Request.Options[c.Vote.Option-1]
	}
	return c.Vote.Text
}

// dropLost removes the votes of people who may no longer decide. A deputy's vote stays valid after the deputy's days,
// and goes with the right of the person in whose place it was cast.
func (d *decision) dropLost(newest Cast, members []Person) {
	known := func(a events.GitHubAccount) Person {
		if i := slices.IndexFunc(members, func(m Person) bool { return same(m.GitHubAccount, a) }); i >= 0 {
			return members[i]
		}
		return Person{GitHubAccount: a}
	}
	d.t.Votes = slices.DeleteFunc(d.t.Votes, func(c Cast) bool {
		voter := known(events.GitHubAccount{Login: c.Who, ID: c.ID})
		if name, ok := strings.CutPrefix(c.Who, approverPrefix); ok {
			voter = Person{Approver: name}
		}
		holder := voter
		if c.For != "" {
			holder = known(events.GitHubAccount{Login: c.For})
		}
		lost := !samePerson(c, newest) && (voter.Bot || holder.Bot || !d.named(holder))
		if lost {
			d.remember(mark(c.Vote))
			d.audit(platform, "vote.dropped", RightLost, "of %s", c.Who)
		}
		return lost
	})
}

// tally says who is for and who against. Of several votes in one seat one counts.
func (d *decision) tally() (yes, no []string) {
	seated := map[string]bool{}
	for _, c := range d.t.Votes {
		seat := string(c.Vote.Choice) + " " + strings.ToLower(cmp.Or(c.For, c.Who))
		switch {
		case seated[seat]:
		case c.Vote.Choice == events.Deny:
			no = append(no, d.t.who(c))
		default:
			yes = append(yes, d.t.who(c))
		}
		seated[seat] = true
	}
	return yes, no
}

// fits reports whether the request allows the choice.
func fits(r Request, v Vote) bool {
	switch v.Choice {
	case events.Deny:
		return true
	case events.Approve:
		return r.Kind == events.KindApproval
	case events.Answer:
		if v.Option == 0 {
			return r.FreeText && strings.TrimSpace(v.Text) != ""
		}
		return v.Option > 0 && v.Option <= len(r.Options) && Names(v.Words, r.Options[v.Option-1])
	}
	return false
}

// Names reports whether words, if there are any, are those of an option. A program that counts otherwise than we do
// would choose what nobody has chosen. Long options are shown cut.
func Names(words, option string) bool {
	said, is := line(words), line(option)
	head, cut := strings.CutSuffix(said, "…")
	return said == "" || said == is || cut && strings.HasPrefix(is, strings.TrimSpace(head))
}

// WaitsFor reports whether an HTTP approver's vote may still decide: the terms name it, and it has not voted.
func (t Ticket) WaitsFor(approver string) bool {
	named := slices.Contains(t.Terms.Who.Approvers, approver)
	for _, step := range t.Terms.Ladder[:min(t.Level, len(t.Terms.Ladder))] {
		named = named || slices.Contains(step.Who.Approvers, approver)
	}
	voted := slices.ContainsFunc(t.Votes, func(c Cast) bool { return c.Who == approverPrefix+approver })
	return t.State == Open && named && !voted
}

// approverPrefix tells an HTTP approver from a login.
const approverPrefix = HTTP + ":"

// seat is whose vote somebody casts.
type seat struct{ who, inPlaceOf string }

// seat finds whose vote the person may cast: their own, else that of somebody whose deputy they are today.
func (d *decision) seat(p Person, members []Person) (seat, bool) {
	if p.Approver != "" {
		return seat{who: approverPrefix + p.Approver}, d.named(p)
	}
	if d.named(p) {
		return seat{who: p.Login}, true
	}
	for _, s := range d.t.Terms.Deputies {
		if !login(s.By).is(p.GitHubAccount) || d.now.Before(s.Since) || !d.now.Before(s.Until) {
			continue
		}
		principal := Person{GitHubAccount: login(s.For).account()}
		if i := slices.IndexFunc(members, func(m Person) bool { return login(s.For).is(m.GitHubAccount) }); i >= 0 {
			principal = members[i]
		}
		if !principal.Bot && d.named(principal) {
			return seat{who: p.Login, inPlaceOf: principal.Login}, true
		}
	}
	return seat{}, false
}

// named reports whether the terms name the person, on the steps of the ladder taken so far.
func (d *decision) named(p Person) bool {
	if d.t.Terms.Who.has(p) {
		return true
	}
	return slices.ContainsFunc(d.t.Terms.Ladder[:d.t.Level], func(r Rung) bool { return r.Who.has(p) })
}

func (w Who) has(p Person) bool {
	if p.Approver != "" {
		return slices.Contains(w.Approvers, p.Approver)
	}
	if slices.ContainsFunc(w.Logins, func(l string) bool { return login(l).is(p.GitHubAccount) }) {
		return true
	}
	return slices.ContainsFunc(w.Roles, func(r string) bool { return p.Role.AtLeast(access.Role(r)) })
}

// own reports whether the run is the person's own.
func (d *decision) own(p Person) bool {
	return p.Approver == "" && same(p.GitHubAccount, d.t.Request.RequestedBy)
}

// selfAllowed reports whether somebody may approve what their own run asks.
func (d *decision) selfAllowed(members []Person) bool {
	switch d.t.Terms.Self {
	case SelfYes:
		return true
	case SelfAlone:
		return !d.othersMay(members)
	}
	return false
}

// othersMay reports whether somebody other than the run's requester may decide.
func (d *decision) othersMay(members []Person) bool {
	own := d.t.Request.RequestedBy
	all := []Who{d.t.Terms.Who}
	for _, r := range d.t.Terms.Ladder[:d.t.Level] {
		all = append(all, r.Who)
	}
	for _, w := range all {
		if len(w.Approvers) > 0 || slices.ContainsFunc(w.Logins, func(l string) bool { return !login(l).is(own) }) {
			return true
		}
	}
	other := func(a events.GitHubAccount, bot bool) bool { return !bot && !same(a, own) }
	for _, m := range members {
		if _, may := d.seat(m, members); may && other(m.GitHubAccount, m.Bot) {
			return true
		}
	}
	return slices.ContainsFunc(d.t.Terms.Deputies, func(s Stand) bool {
		by := login(s.By).account()
		_, may := d.seat(Person{GitHubAccount: by}, members)
		return may && other(by, false)
	})
}

// samePerson reports whether two votes are from one person, or one HTTP approver.
func samePerson(a, b Cast) bool {
	if a.ID != 0 && b.ID != 0 {
		return a.ID == b.ID
	}
	return strings.EqualFold(a.Who, b.Who)
}

// same reports whether two accounts are one, by their number, because somebody else may have the login by now.
func same(a, b events.GitHubAccount) bool {
	if a.ID != 0 && b.ID != 0 {
		return a.ID == b.ID
	}
	return a.Login != "" && strings.EqualFold(a.Login, b.Login)
}

// actor is who voted, for the audit.
func actor(in Voted) string {
	switch {
	case in.Who != nil && in.Who.Approver != "":
		return approverPrefix + in.Who.Approver
	case in.Who != nil:
		return GitHub + ":" + in.Who.Login
	}
	return plain.Cut(in.Vote.By.Channel+":"+in.Vote.By.Account, 200)
}
