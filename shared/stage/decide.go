package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
)

// checkEvery is how long a run may go without news before the cluster is asked.
const checkEvery = 2 * time.Minute

// silence is how long an agent may be silent before its run is given up. Its pod
// may be moved to another node meanwhile, image pull included.
const silence = 15 * time.Minute

// Decide says what an event means for a work item. It returns the item as it is
// from now on and what to emit and to audit; in is one of the input types of this
// package or an event about a run. An event that comes late or twice changes
// nothing and says so in the audit.
func Decide(p *Process, item Item, in any, now time.Time) (Item, events.Decision, error) {
	d := decision{p: p, item: item, now: now}
	if item.Run != nil {
		run := *item.Run
		d.item.Run = &run
	}
	switch in := in.(type) {
	case Labeled:
		d.labeled(in)
	case Edited:
		d.edited(in)
	case Reviewed:
		d.reviewed(in)
	case PullRequestChanged:
		d.pullRequestChanged(in)
	case events.AgentStarted:
		d.started(in)
	case events.AgentReported:
		d.reported(in)
	case events.GitHubLookedUp:
		d.lookedUp(in)
	case events.AgentFailed:
		if !d.ofEarlierJob("agent.failed", in.Attempt) {
			d.failed(in.Reason, in.Message)
		}
	case JobEnded:
		d.jobEnded(in)
	case events.RunDeadline:
		d.deadline()
	case events.RunCheck:
		d.check(in)
	default:
		return item, events.Decision{}, fmt.Errorf("deciding: no rule for %T", in)
	}
	d.tell(item)
	return d.item, d.out, nil
}

// decision is one Decide under way.
type decision struct {
	p      *Process
	item   Item
	now    time.Time
	noted  bool
	status *events.CommitStatus
	base   string // branch whose commit a new run keeps
	out    events.Decision
}

func (d *decision) emit(p events.Payload) { d.out.Emit = append(d.out.Emit, events.Now(p)) }
func (d *decision) later(after time.Duration, p events.Payload) {
	d.out.Emit = append(d.out.Emit, events.At(d.now.Add(after), p))
}

func (d *decision) audit(actor, action, reason, format string, args ...any) {
	r := events.Record{Actor: actor, Action: action, Reason: reason, Detail: fmt.Sprintf(format, args...)}
	if d.item.Run != nil {
		r.Run = d.item.Run.ID
	}
	d.out.Audit = append(d.out.Audit, r)
}

const platform = "platform"

func actor(p Person) string { return "github:" + p.Login }

// stop ends the run and its Job.
func (d *decision) stop(s State, reason, message string) {
	if st := d.item.Run.State; st != Requested && st != Queued {
		d.emit(events.AgentStopRequested{RunRef: d.item.Ref(), Namespace: d.item.Run.Namespace, Reason: reason})
	}
	d.finish(s, reason, message)
}

// finish brings the run to a final state.
func (d *decision) finish(s State, reason, message string) {
	run := d.item.Run
	if !run.State.May(s) {
		d.audit(platform, "run.unchanged", "run_"+string(run.State), "may not become %s", s)
		return
	}
	started := run.State != Requested && run.State != Queued
	run.State, run.Reason, run.Message, run.FinishedAt = s, reason, message, d.now
	d.audit(platform, "run."+string(s), reason, "%s", message)
	d.emit(events.RunFinished{RunRef: d.item.Ref(), State: string(s), Reason: reason})
	if started {
		var settings Settings
		if d.item.Project != nil {
			settings = d.item.Project.Settings
		}
		d.later(settings.KeepFor(d.p.Stage(run.Stage).Keep), events.EnvironmentExpired{RunRef: d.item.Ref(), Namespace: run.Namespace})
	}
	label := d.p.LabelOf(run.Stage, run.Revise)
	d.item.Answered, d.item.Pull.Answered = with(d.item.Answered, label), with(d.item.Pull.Answered, label)
	if d.item.HeadSHA != "" && !d.item.Pull.Closed {
		d.status = &events.CommitStatus{SHA: d.item.HeadSHA, State: commitState(s), Context: "codexk8s/" + run.Stage, Description: statusLine(run)}
	}
}

func commitState(s State) string {
	if s == Succeeded {
		return "success"
	}
	return "failure"
}

func statusLine(r *Run) string {
	line := "The agent's run " + string(r.State)
	if r.Reason != "" {
		line += ": " + r.Reason
	}
	return line
}

// known are the labels that start or stop something.
func (p *Process) known() []string {
	ls := []string{p.Labels.Abort}
	for _, s := range p.Stages {
		ls = append(ls, s.Label, s.Label+p.Labels.Revise)
	}
	slices.Sort(ls)
	return ls
}

func or(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

func quoted(names []string) string {
	shown := make([]string, len(names))
	for i, n := range names {
		shown[i] = code(n)
	}
	return strings.Join(shown, ", ")
}
