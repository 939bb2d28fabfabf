package approval

import (
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/events"
)

func (in Due) decide(d *decision) error {
	switch {
	case d.t.State.Final():
		d.audit(platform, "approval.ignored", late(d.t.State), "a timer")
		return nil
	case in.Round != d.t.Round:
		d.audit(platform, "approval.ignored", OlderTimer, "timer %d, the present one is %d", in.Round, d.t.Round)
		return nil
	}
	d.timer = true
	if d.lapse() {
		return nil
	}
	d.open()
	d.escalate()
	d.remind()
	return nil
}

// lapse ends the ticket if its time is up, and reports whether it was. Votes call it too, because the timer may come
// late.
func (d *decision) lapse() bool {
	if d.t.State.Final() || d.now.Before(d.t.Expires) {
		return false
	}
	if d.t.Terms.Expiry == ExpiryDeny {
		d.end(Denied, Outcome{Reason: NobodyDecided})
	} else {
		d.end(Expired, Outcome{})
	}
	return true
}

// escalate takes the steps of the ladder that have come due.
func (d *decision) escalate() {
	for d.t.Level < len(d.t.Terms.Ladder) && !d.t.rungDue().After(d.now) {
		d.t.place(d.t.Terms.Ladder[d.t.Level].Targets)
		d.t.Level++
		d.speak(d.w.Escalated)
		d.audit(platform, "approval.escalated", "", "step %d of %d", d.t.Level, len(d.t.Terms.Ladder))
	}
}

// remind sends one reminder, however many have come due meanwhile.
func (d *decision) remind() {
	due := d.t.Reminds
	for due < len(d.t.Terms.Remind) && !d.t.remindDue(due).After(d.now) {
		due++
	}
	if due == d.t.Reminds {
		return
	}
	d.t.Reminds = due
	if d.reminder == nil { // a step of the ladder reminds, too
		d.speak(d.w.Reminder)
	}
	d.audit(platform, "approval.reminded", "", "%d of %d", due, len(d.t.Terms.Remind))
}

// speak asks people to look at the message again.
func (d *decision) speak(format string) {
	d.changed = true
	d.reminder = &events.ApprovalReminder{
		Number: d.t.Reminds + d.t.Level, Text: fmt.Sprintf(format, line(d.t.Request.Title), words.When(d.t.Expires)),
	}
}

// next is when the ticket must be looked at again.
func (t Ticket) next() time.Time {
	at := t.Expires
	for _, due := range []time.Time{t.openDue(), t.rungDue(), t.remindDue(t.Reminds)} {
		if !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	return at
}

// openDue is when people are to be asked; zero = they were.
func (t Ticket) openDue() time.Time {
	if t.State != Requested {
		return time.Time{}
	}
	return t.Told
}

// rungDue is when the next step of the ladder is due; the far future if there is none.
func (t Ticket) rungDue() time.Time {
	if t.Level == len(t.Terms.Ladder) {
		return t.Expires
	}
	return t.Terms.Loud(t.Told.Add(t.Terms.Ladder[t.Level].After))
}

// remindDue is when that reminder, counted from 0, is due; the far future if there is none.
func (t Ticket) remindDue(n int) time.Time {
	if n >= len(t.Terms.Remind) {
		return t.Expires
	}
	return t.Terms.Loud(t.Told.Add(t.Terms.Remind[n]))
}

// Loud is the first time from t on when people may be asked.
func (t Terms) Loud(at time.Time) time.Time {
	if t.Quiet == nil {
		return at
	}
	zone, err := time.LoadLocation(t.Zone)
	if err != nil { // Check has read it; without its zone it is sent at once
		return at
	}
	// One week has every end of quiet hours; the rest is for days on which clocks skip an hour.
	for end := at; end.Before(at.AddDate(0, 0, 9)); {
		until := t.Quiet.until(end.In(zone))
		if until.IsZero() {
			return end.UTC()
		}
		end = until
	}
	return at
}

// until is the end of the quiet time that at is in, by its own clock; zero = it is in none. Another one may follow at
// once.
func (q Quiet) until(at time.Time) time.Time {
	midnight := func(days int) time.Time {
		return time.Date(at.Year(), at.Month(), at.Day()+days, 0, 0, 0, 0, at.Location())
	}
	if slices.Contains(q.Days, days[at.Weekday()]) {
		return midnight(1)
	}
	if q.From == "" {
		return time.Time{}
	}
	from, until, now := minute(q.From), minute(q.Until), at.Hour()*60+at.Minute()
	end := func(days int) time.Time {
		return time.Date(at.Year(), at.Month(), at.Day()+days, until/60, until%60, 0, 0, at.Location())
	}
	switch {
	case from < until && from <= now && now < until, from > until && now < until:
		return end(0)
	case from > until && now >= from:
		return end(1)
	}
	return time.Time{}
}

// days are the names of the days as a policy has them.
var days = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// minute is the minute of the day of "22:00"; -1 = it is not a time.
func minute(clock string) int {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return -1
	}
	return t.Hour()*60 + t.Minute()
}
