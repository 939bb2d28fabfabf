package stage

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
)

// An Ask is what a run asked people, as the run needs to know it. Another aggregate decides it.
type Ask struct {
	ID        string              `json:"id"` // of the request
	Kind      events.ApprovalKind `json:"kind"`
	Action    string              `json:"action"`
	Title     string              `json:"title"`
	Arguments json.RawMessage     `json:"arguments,omitempty"`
	Options   []string            `json:"options,omitempty"`
	Digest    string              `json:"digest"` // as people see it
	At        time.Time           `json:"at"`
	Answer    *Answer             `json:"answer,omitempty"` // nil = none yet
	Result    *Result             `json:"result,omitempty"` // nil = none yet, or the platform does nothing after the answer
}

// An Answer is how an Ask ended.
type Answer struct {
	Outcome events.ApprovalState `json:"outcome"`      // a final one
	By      []string             `json:"by,omitempty"` // as in ApprovalDecided
	Option  int                  `json:"option,omitempty"`
	Text    string               `json:"text,omitempty"`
	At      time.Time            `json:"at"`
}

// endWithin is how long a waiting run's Job may take to save its session and end.
const endWithin = 2 * time.Minute

// ask returns what the run has asked by the request's id; nil if it has not.
func (r *Run) ask(id string) *Ask {
	if i := slices.IndexFunc(r.Asks, func(a Ask) bool { return a.ID == id }); i >= 0 {
		return &r.Asks[i]
	}
	return nil
}

// Told says how it ended, for the agent.
func (a Ask) Told() string {
	if a.Answer == nil {
		return "Nobody has decided yet."
	}
	words := "It was " + string(a.Answer.Outcome)
	if a.Answer.Outcome == approval.Expired {
		words = "Nobody decided in time"
	}
	if len(a.Answer.By) > 0 {
		words += " by " + strings.Join(a.Answer.By, ", ")
	}
	switch _, said := a.Outcome(); {
	case a.Result != nil && a.Result.Reason == "":
		words += ", and done: " + said
	case a.Result != nil:
		words += ", and could not be done: " + said
	case said != "":
		words += ": " + said
	}
	return strings.TrimRight(words, ".") + "."
}

// Said is the answer, or the reason, in words; "" = there are none.
func (a Ask) Said() string {
	if n := a.Answer.Option; n > 0 && n <= len(a.Options) {
		return a.Options[n-1]
	}
	return a.Answer.Text
}

// Open are the asks that still wait for an answer or a result.
func (r *Run) Open() (open []Ask) {
	for _, a := range r.Asks {
		if !a.settled() {
			open = append(open, a)
		}
	}
	return open
}

// waitsFor is what the run waits for. If it is several things, people hear about money first, and then about decisions.
func (r *Run) waitsFor() WaitingFor {
	if slices.ContainsFunc(r.Open(), func(a Ask) bool { return budget.IsAsk(a.Action) }) {
		return ForBudget
	}
	if slices.ContainsFunc(r.Open(), func(a Ask) bool { return a.Kind == events.KindApproval }) {
		return ForApproval
	}
	return ForAnswer
}

// catchUp takes in what the agent asked and no event has said yet. It comes before anything that would mistake the
// silence of a waiting run for its end.
func (d *decision) catchUp() {
	for _, in := range d.item.Asked {
		if d.item.Run.ask(in.ID) == nil {
			d.asked(in)
		}
	}
	if l := d.item.Run.Limited; l != nil && l.Fallback == "" && l.Attempt == d.item.Run.Attempt && d.item.Run.State.HoldsPod() {
		d.limited(*l)
	}
}

// asked makes the run wait for people.
func (d *decision) asked(in events.ApprovalRequested) {
	run := d.item.Run
	switch {
	case run.ask(in.ID) != nil:
		d.audit(platform, "approval.requested.late", "known", "%s", in.ID)
		return
	case !d.item.active() || !run.begun():
		d.audit(platform, "approval.requested.late", "run_"+string(run.State), "%s: %s", in.ID, in.Title)
		return
	}
	run.Asks = append(slices.Clip(run.Asks), Ask{
		ID: in.ID, Kind: in.Kind, Action: in.Action, Title: in.Title, Arguments: in.Arguments, Options: in.Options,
		Digest: approval.ShortDigest(in), At: in.At,
	})
	if run.to(Waiting) {
		run.Reason, run.Message = "", ""
		d.pause(in.At)
	}
	run.WaitingFor = run.waitsFor()
	d.audit(platform, "run.waiting", string(run.WaitingFor), "for request %s: %s", in.ID, in.Title)
}

// pause stops the run's clock at the time when it had nothing left to do. Its Job has some time to end.
func (d *decision) pause(since time.Time) {
	run := d.item.Run
	if run.JobOver {
		return // it asked this as well, and is paused already
	}
	run.PausedAt = d.now
	if !since.IsZero() && since.Before(d.now) {
		run.PausedAt = since
	}
	run.worked(run.PausedAt)
	d.later(endWithin, events.RunCheck{RunRef: d.item.Ref(), Namespace: run.Namespace, Attempt: run.Attempt})
}

// jobOver notes that a waiting run holds nothing any more. However the Job ended, its session is saved, or its last
// steps are done again.
func (d *decision) jobOver(how string) {
	run := d.item.Run
	if run.JobOver {
		d.audit(platform, "job.over.late", "known", "%s", how)
		return
	}
	run.JobOver = true
	d.audit(platform, "job.over", "", "%s", how)
	if len(run.Open()) > 0 || d.now.Before(run.NotBefore) || run.awaited() {
		d.emit(events.RunWaiting{RunRef: d.item.Ref(), For: string(run.WaitingFor)})
	}
	d.goOn()
}

// jobLingers stops a waiting run's Job if it has not ended by itself. The next one starts when it is gone.
func (d *decision) jobLingers() {
	run := d.item.Run
	if run.JobOver || d.now.Sub(run.PausedAt) < endWithin {
		return
	}
	d.emit(events.AgentStopRequested{RunRef: d.item.Ref(), Namespace: run.Namespace, Attempt: run.Attempt, Reason: "run_waits"})
	d.jobOver("it did not end by itself and is stopped")
}

// decided keeps an answer for the run's next Job.
func (d *decision) decided(in events.ApprovalDecided) {
	d.catchUp()
	run := d.item.Run
	asked := run.ask(in.RequestID)
	switch {
	case !d.item.active():
		d.audit(platform, "approval.decided.late", "run_"+string(run.State), "%s: %s", in.RequestID, in.Outcome)
		return
	case asked == nil:
		d.audit(platform, "approval.decided.late", "unknown_request", "%s: %s", in.RequestID, in.Outcome)
		return
	case asked.Answer != nil:
		d.audit(platform, "approval.decided.late", "known", "%s: %s, and was %s", in.RequestID, in.Outcome, asked.Answer.Outcome)
		return
	}
	run.Asks = slices.Clone(run.Asks)
	asked = run.ask(in.RequestID)
	asked.Answer = &Answer{Outcome: in.Outcome, By: in.By, Option: in.Option, Text: in.Text, At: in.At}
	d.audit(platform, "run.answered", string(in.Outcome), "request %s: %s", in.RequestID, asked.Title)
	if !d.extended(asked) {
		return
	}
	d.approved(asked, in)
	if len(run.Open()) > 0 {
		run.WaitingFor = run.waitsFor()
	} else if d.now.Before(run.NotBefore) {
		run.WaitingFor = ForRateLimit
	}
	d.goOn()
}

// goOn makes a run that has all its answers wait for a place like a new one, because it held none. Places are given in
// the order of requests, so a run that had begun goes before later ones, and the limits hold.
func (d *decision) goOn() {
	run := d.item.Run
	if !run.JobOver || len(run.Open()) > 0 || run.awaited() || d.now.Before(run.NotBefore) || !run.to(Queued) {
		return
	}
	if !run.NotBefore.IsZero() {
		run.NotBefore, run.Reason, run.Message = time.Time{}, "", ""
	}
	run.WaitingFor, run.ResumedAt, run.Attempt = "", d.now, run.Attempt+1
	d.audit(platform, "run.resumed", "", "as Job %d of the run", run.Attempt+1)
	d.emit(events.RunResumed{RunRef: d.item.Ref(), Extended: run.takeExtensions(d.now)})
}
