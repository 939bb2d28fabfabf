package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// The exit gate. An agent's report is its word; the run has succeeded when GitHub says the same: the commit is where it
// should be, with the stage's files, within the write scope, and the checks that the repository requires have passed.
// What is wrong goes back to the agent once, into the same session, as a further Job of the run. After that people are
// asked.
//
// A run waits for checks as it waits for people, without a pod and without a place. Webhooks say when one has come to
// an end; then, and when the time for it is over, GitHub is asked again.

// Exit is what GitHub has said of what the run has delivered.
type Exit struct {
	Based    bool      `json:"based,omitempty"`    // it must descend from the run's BaseCommit, if that is known: the branch is the run's own
	Told     bool      `json:"told,omitempty"`     // its agent has heard what is wrong, and could not put it right
	Returned *Returned `json:"returned,omitempty"` // what went back to the agent; nil = nothing did
	Awaits   []string  `json:"awaits,omitempty"`   // required checks that have not come to an end
	Until    time.Time `json:"until,omitzero"`     // they are waited for; zero = none was
	Again    bool      `json:"again,omitempty"`    // one has ended since GitHub was asked
}

// Returned is what went back to the agent.
type Returned struct {
	Commit  string   `json:"commit"`  // that it had reported
	Attempt int      `json:"attempt"` // of the Job that had
	Faults  []string `json:"faults"`  // in Markdown, a line each
}

// checksWithin is how long required checks are waited for, if the process does not say it.
const checksWithin = 2 * time.Hour

// awaitsChecks reports whether the run waits for nothing but the repository's checks.
func (r *Run) awaitsChecks() bool { return r.State == Waiting && r.WaitingFor == ForChecks }

// awaited reports whether what the run has delivered may still turn out well.
func (r *Run) awaited() bool { return r.awaitsChecks() && r.Delivered != "" }

// stale reports whether it is the report of a Job whose work went back to the agent.
func (r *Run) stale(in events.AgentReported) bool {
	return r.Exit.Returned != nil && in.Attempt <= r.Exit.Returned.Attempt
}

// inspect has GitHub asked for what the run has left, once; it reports whether there is anything to be looked at.
func (d *decision) inspect(in events.AgentReported) bool {
	run := d.item.Run
	files := run.Makes(d.item.Issue)
	if len(files) == 0 && !slices.Contains(run.Process.Stage(run.Stage).Makes, madePullRequest) {
		return false
	}
	if run.Delivered != "" {
		d.audit("agent:"+in.RunID, "agent.reported.late", "known", "its commit %s is being looked at", run.Delivered)
		return true
	}
	if in.HeadSHA == "" || in.PullRequest == 0 {
		d.finish(Failed, reason.ArtefactsIncomplete, "The agent reported no pull request and commit that could be looked at.")
		return true
	}
	run.Delivered, run.Reason, run.Message, run.Exit.Told = in.HeadSHA, "", "", in.Incomplete
	d.audit("agent:"+in.RunID, "agent.reported", "", "%s with #%d", in.HeadSHA, in.PullRequest)
	d.look()
	return true
}

// look asks GitHub for what the run has delivered.
func (d *decision) look() {
	run := d.item.Run
	l := events.GitHubLookupRequested{
		RunRef: d.item.Ref(), Attempt: run.Attempt, Files: run.Makes(d.item.Issue), Head: run.Delivered, PullRequest: d.pull.Number, Branch: run.branch(d.item.Issue),
	}
	_, l.Words = run.reopening(d.item.Issue)
	if run.Grant != nil {
		l.Write = run.Grant.Write
	}
	if run.Exit.Based {
		l.Base = run.BaseCommit
	}
	run.Exit.Again = false
	d.emit(l)
}

// checked asks again when a check has ended for which the run waits.
func (d *decision) checked(in Checked) {
	run := d.item.Run
	switch {
	case run == nil || !d.item.active() || run.Delivered == "" || run.Delivered != in.SHA || !run.Kind.Writes():
	case !run.awaitsChecks():
		run.Exit.Again = true
	case in.Name == "" || slices.Contains(run.Exit.Awaits, in.Name):
		d.audit(platform, "check.reported", "", "%s at %s", in.Name, in.SHA)
		d.look()
	}
}

// inspected ends the run by what GitHub has of what it was to leave, or has it wait or begin again.
func (d *decision) inspected(in events.GitHubLookedUp) {
	run := d.item.Run
	if !d.item.active() || run.Delivered != in.Head {
		d.audit(platform, "github.looked_up.late", "run_"+string(run.State), "%s", in.Head)
		return
	}
	if in.Reason != "" {
		d.finish(Failed, reason.ArtefactsUnreadable, "What the agent has left could not be looked at: "+in.Message)
		return
	}
	if d.pull.Merged { // people have added to it what they wanted, and needed no more
		in.Tip, in.Checks = in.Head, nil
	}
	faults, red, pending := run.faults(in)
	switch {
	case len(faults)+len(red) > 0 && run.Exit.Returned == nil && !run.Exit.Told && d.pull.isOpen():
		d.sendBack(slices.Concat(faults, red))
	case len(faults)+len(red) > 0:
		d.incomplete(faults, red)
	case len(pending) > 0:
		d.awaitChecks(pending)
	default:
		d.complete(in)
	}
}

// faults are what is wrong with what the run has left, each as a line of a list: in what it delivered, and by checks
// that have failed. pending are checks that may yet fail.
func (r *Run) faults(in events.GitHubLookedUp) (faults, red, pending []string) {
	if in.Tip != "" && in.Tip != in.Head {
		faults = append(faults, fmt.Sprintf("the branch is at %s, not at %s, which the agent reported: somebody has pushed since", short(in.Tip), short(in.Head)))
	}
	if in.Apart {
		faults = append(faults, fmt.Sprintf("%s does not descend from %s, on which the run was based", short(in.Head), short(r.BaseCommit)))
	}
	for _, f := range in.Files {
		switch {
		case f.In == "":
			faults = append(faults, code(f.Path)+" is missing")
		case len(f.Faults) > 0:
			faults = append(faults, code(f.Path)+": "+strings.Join(f.Faults, "; "))
		}
	}
	for _, path := range in.Outside {
		faults = append(faults, code(path)+" is changed, which the stage may not do")
	}
	for _, c := range in.Checks {
		switch c.State {
		case events.CheckFailed:
			red = append(red, strings.TrimSuffix(fmt.Sprintf("the required check %s has failed: %s", code(c.Name), code(c.Said)), ": ``"))
		case events.CheckPending:
			pending = append(pending, c.Name)
		}
	}
	return faults, red, pending
}

// sendBack has the agent put right what is wrong, once, in its session. The run leaves its place and waits for another,
// as after an answer of people.
func (d *decision) sendBack(faults []string) {
	run := d.item.Run
	run.Exit = Exit{Based: run.Exit.Based, Returned: &Returned{Commit: run.Delivered, Attempt: run.Attempt, Faults: faults}}
	run.Delivered, run.Summary = "", ""
	d.audit(platform, "run.returned", "", "%s: %s", run.Exit.Returned.Commit, strings.Join(faults, "; "))
	d.rest()
	d.goOn()
}

// awaitChecks has the run wait for the repository's checks, until the time for them is over.
func (d *decision) awaitChecks(pending []string) {
	run := d.item.Run
	begins := run.Exit.Until.IsZero()
	if begins {
		within := d.p.Checks
		if within <= 0 {
			within = checksWithin
		}
		run.Exit.Until = d.now.Add(within)
	}
	if !begins && !d.now.Before(run.Exit.Until) {
		d.item.NeedInput = true
		d.finish(Failed, reason.ChecksMissing, fmt.Sprintf("The repository requires checks that have not come to an end at %s by %s: %s. See why, or take them off the branch's rules.",
			short(run.Delivered), stamp(run.Exit.Until), quoted(pending)))
		return
	}
	again := run.Exit.Again
	run.Exit.Awaits = pending
	d.rest()
	d.audit(platform, "run.waiting", string(ForChecks), "%s at %s, until %s", strings.Join(pending, ", "), run.Delivered, stamp(run.Exit.Until))
	if begins {
		d.later(run.Exit.Until.Sub(d.now), events.RunDeadline{RunRef: d.item.Ref()})
	}
	if again {
		d.look()
	}
}

// rest makes a run wait whose agent has reported, and whose pod ends by itself.
func (d *decision) rest() {
	run := d.item.Run
	if len(run.Open()) == 0 {
		run.WaitingFor = ForChecks
	}
	if !run.to(Waiting) {
		return // it waits already
	}
	run.PausedAt = d.now
	run.worked(d.now)
	if run.JobOver {
		d.emit(events.RunWaiting{RunRef: d.item.Ref(), For: string(run.WaitingFor)})
		return
	}
	d.later(endWithin, events.RunCheck{RunRef: d.item.Ref(), Namespace: run.Namespace, Attempt: run.Attempt})
}

// checksDue looks for the last time.
func (d *decision) checksDue() {
	if run := d.item.Run; !d.now.Before(run.Exit.Until) && !run.Exit.Until.IsZero() {
		d.look()
	}
}

// lookAgain is for an answer of GitHub that has not come for long.
func (d *decision) lookAgain() {
	if run := d.item.Run; run.Delivered != "" && run.Kind.Writes() && run.State.HoldsPod() {
		d.look()
	}
}

// incomplete asks people about what the agent did not put right.
func (d *decision) incomplete(faults, red []string) {
	d.item.NeedInput = true
	cause := reason.ArtefactsIncomplete
	if len(faults) == 0 {
		cause = reason.ChecksFailed
	}
	d.finish(Failed, cause, fmt.Sprintf("The stage's work is not complete at %s:\n\n- %s", short(d.item.Run.Delivered), strings.Join(slices.Concat(faults, red), "\n- ")))
}

// complete ends the run well.
func (d *decision) complete(in events.GitHubLookedUp) {
	run := d.item.Run
	for _, name := range run.Process.Stage(run.Stage).Makes {
		for _, path := range run.Process.files([]string{name}, d.item.Issue) {
			d.made(name, path)
		}
	}
	d.pull.Delivered = true
	run.Exit.Awaits, run.Exit.Again = nil, false
	d.reopen(in.Files)
	d.finish(Succeeded, "", "")
}

// returned says to people what went back to the agent.
func returned(r *Run) string {
	if r.Exit.Returned == nil || !r.State.Active() {
		return ""
	}
	return fmt.Sprintf("The work went back to the agent at %s:\n\n- %s\n\n", short(r.Exit.Returned.Commit), strings.Join(r.Exit.Returned.Faults, "\n- "))
}
