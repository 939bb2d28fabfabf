package approval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
)

// Decide says what an input means for a ticket. It returns the new ticket and what to emit and audit, with at most one
// timer, the next. What comes twice or too late changes nothing, and the audit says why. An input about a request that
// nobody has made is rejected: unknown_request. So is a request that was not sealed: not_sealed.
func Decide(t Ticket, in Input, now time.Time) (Ticket, events.Decision, error) {
	d := decision{t: t, now: now.UTC(), w: words.In(t.Terms.Lang)}
	d.t.Votes, d.t.Past, d.t.Places = slices.Clone(t.Votes), slices.Clone(t.Past), slices.Clone(t.Places)
	if _, opens := in.(Opened); t.State == "" && !opens {
		return t, events.Decision{}, events.Reject("unknown_request", fmt.Errorf("nobody has asked for what %T is about", in))
	}
	if err := in.decide(&d); err != nil {
		return t, events.Decision{}, err
	}
	d.tell()
	return d.t, d.out, nil
}

// decision is one Decide under way.
type decision struct {
	t        Ticket
	now      time.Time
	w        *words.Words
	changed  bool // what the channels are to show has changed
	reminder *events.ApprovalReminder
	timer    bool // the next timer must be set
	out      events.Decision
}

const platform = "platform"

func (d *decision) audit(actor, action, reason, format string, args ...any) {
	d.out.Audit = append(d.out.Audit, events.Record{
		Actor: actor, Action: action, Run: d.t.Request.RunID, Reason: reason,
		Detail: fmt.Sprintf("request %s: ", d.t.Request.ID) + fmt.Sprintf(format, args...),
	})
}

// tell emits what has changed: a new version of the message, and the next timer.
func (d *decision) tell() {
	if d.changed && len(d.t.Places) > 0 && !d.t.Told.After(d.now) {
		d.t.Version++
		changed := events.ApprovalChanged{RunRef: d.t.Request.RunRef, Message: d.t.Message(), Reminder: d.reminder}
		for _, p := range d.t.Places {
			changed.Targets = append(changed.Targets, p.Target)
		}
		d.out.Emit = append(d.out.Emit, events.Now(changed))
	}
	if d.timer && !d.t.State.Final() {
		d.t.Round++
		due := events.ApprovalDue{RunRef: d.t.Request.RunRef, RequestID: d.t.Request.ID, Round: d.t.Round}
		d.out.Emit = append(d.out.Emit, events.At(d.t.next(), due))
	}
}

// end brings the ticket to a final state, once.
func (d *decision) end(s State, o Outcome) {
	o.At = d.now
	d.t.State, d.t.Outcome, d.changed = s, &o, true
	r := d.t.Request
	d.audit(platform, "approval."+string(s), o.Reason, "%s", r.Action)
	d.out.Emit = append(d.out.Emit, events.Now(events.ApprovalDecided{
		RunRef: r.RunRef, RequestID: r.ID, Kind: r.Kind, Action: r.Action, Arguments: r.Arguments, Digest: r.Digest,
		Outcome: s, By: o.By, People: d.people(o.By), Option: o.Option, Text: o.Text, At: d.now,
	}))
}

// people are those accounts of GitHub by whose votes it ended.
func (d *decision) people(by []string) (all []events.GitHubAccount) {
	for _, c := range d.t.Votes {
		if !strings.HasPrefix(c.Who, approverPrefix) && slices.Contains(by, d.t.who(c)) {
			all = append(all, events.GitHubAccount{Login: c.Who, ID: c.ID})
		}
	}
	return all
}

func (in Opened) decide(d *decision) error {
	if d.t.State != "" {
		d.audit(platform, "approval.ignored", RequestKnown, "asked again")
		return nil
	}
	sealed, err := Seal(in.Request)
	if err == nil && (sealed.ID != in.Request.ID || sealed.Digest != in.Request.Digest) {
		err = fmt.Errorf("its digest is not of what it asks")
	}
	if err != nil {
		return events.Reject("not_sealed", fmt.Errorf("request %s: %w", in.Request.ID, err))
	}
	d.t = Ticket{Request: sealed, State: Requested, Told: d.now, Expires: d.now}
	d.audit(platform, "approval.requested", "", "%s", sealed.Action)
	switch {
	case in.Over:
		d.end(Withdrawn, Outcome{Reason: RunIsOver})
	case in.Terms == nil:
		d.end(Denied, Outcome{Reason: NoRule})
	case in.Terms.Free: // it was not when the agent's run was requested
		d.end(Approved, Outcome{Reason: NeedsNobody})
	default:
		d.t.Terms, d.w = *in.Terms, words.In(in.Terms.Lang)
		d.t.Told = d.t.Terms.Loud(d.now)
		d.t.Expires = d.t.Told.Add(d.t.Terms.Deadline)
		d.t.place(d.t.Terms.Targets)
		d.timer = true
		d.open()
	}
	return nil
}

// open asks people, unless it is a quiet hour.
func (d *decision) open() {
	if d.t.State != Requested || d.t.Told.After(d.now) {
		return
	}
	d.t.State, d.changed = Open, true
	d.audit(platform, "approval.opened", "", "to be decided by %s", words.When(d.t.Expires))
}

// place adds targets where the message is not shown yet, and reports whether there was one.
func (t *Ticket) place(targets []Target) bool {
	n := len(t.Places)
	for _, target := range targets {
		if !slices.ContainsFunc(t.Places, func(p Place) bool { return p.Target == target }) {
			t.Places = append(t.Places, Place{Target: target})
		}
	}
	return len(t.Places) > n
}

func (in RunOver) decide(d *decision) error {
	d.over("approval.withdrawn", Withdrawn, Outcome{Reason: RunIsOver})
	return nil
}

func (in Replaced) decide(d *decision) error {
	d.over("approval.superseded", Superseded, Outcome{Reason: CommitMoved})
	return nil
}

// over ends the ticket for a reason outside of it.
func (d *decision) over(action string, s State, o Outcome) {
	if d.t.State.Final() {
		d.audit(platform, "approval.ignored", late(d.t.State), "%s", action)
		return
	}
	d.end(s, o)
}

// late is the reason for what comes after the end.
func late(s State) string { return "request_" + string(s) }
