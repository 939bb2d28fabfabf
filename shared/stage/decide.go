package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// checkEvery is how long a run may go without news before the cluster is asked.
const checkEvery = 2 * time.Minute

// silence is how long an agent may be silent before its run is given up: long enough to move its pod to another node,
// image pull included.
const silence = 15 * time.Minute

// Decide says what an event means for a work item, which holds what the input needs. It returns the new item, the
// events to emit and the audit to keep. An event that comes late or twice changes nothing and says so in the audit. One
// about a run that does not exist is rejected: unknown_run.
func Decide(item Item, in Input, now time.Time) (Item, events.Decision, error) {
	if run := in.Needs(item.RepositoryKey, item.Issue).Run; run != "" && item.Run == nil {
		return item, events.Decision{}, events.Reject("unknown_run", fmt.Errorf("run %s does not exist", run))
	}
	item.Ended = nil
	d := decision{p: item.process(), item: item, now: now, pull: &Pull{}}
	d.item.Pulls = slices.Clone(item.Pulls)
	if item.Run != nil {
		run := *item.Run
		if run.Process == nil {
			run.Process = item.Process
		}
		d.item.Run = &run
		d.about(run.branch(item.Issue))
	}
	in.decide(&d)
	d.tell(item)
	return d.item, d.out, nil
}

// decision is one Decide in progress.
type decision struct {
	p      *Process // whose rules apply
	item   Item
	pull   *Pull // that the event is about; else that of the run's branch, or none
	now    time.Time
	noted  bool
	redo   bool // ask for GitHub to show the item, even if that is nothing new
	status *events.CommitStatus
	base   string // branch whose commit a new run keeps
	out    events.Decision
}

func (d *decision) emit(p events.Payload) { d.out.Emit = append(d.out.Emit, events.Now(p)) }
func (d *decision) later(after time.Duration, p events.Payload) {
	if after <= 0 {
		d.emit(p)
		return
	}
	d.out.Emit = append(d.out.Emit, events.At(d.now.Add(after), p))
}

func (d *decision) audit(actor, action, cause, format string, args ...any) {
	r := events.Record{Actor: actor, Action: action, Reason: cause, Detail: fmt.Sprintf(format, args...), Process: d.p.Hash}
	if d.item.Run != nil {
		r.Run = d.item.Run.ID
	}
	d.out.Audit = append(d.out.Audit, r)
}

const platform = "platform"

func actor(p Person) string { return "github:" + p.Login }

// stop ends the run and its Job.
func (d *decision) stop(s State, cause, message string) {
	if run := d.item.Run; run.begun() && !run.JobOver {
		d.emit(events.AgentStopRequested{RunRef: d.item.Ref(), Namespace: run.Namespace, Attempt: run.Attempt, Reason: cause})
	}
	d.finish(s, cause, message)
}

// finish brings the run to a final state.
func (d *decision) finish(s State, cause, message string) {
	run := d.item.Run
	begun := run.begun()
	if run.State.HoldsPod() {
		run.worked(d.now)
	}
	if !run.to(s) {
		d.audit(platform, "run.unchanged", "run_"+string(run.State), "may not become %s", s)
		return
	}
	run.Reason, run.Message, run.FinishedAt = cause, message, d.now
	d.audit(platform, "run."+string(s), cause, "%s", message)
	if g := run.Grant; g != nil && !strings.HasPrefix(run.Process.Hash, g.Process) {
		d.audit(platform, "run.process_unknown", "", "it was requested by the process %s, which is not known here, and has ended by %s", g.Process, run.Process.Hash)
	}
	d.emit(events.RunFinished{RunRef: d.item.Ref(), State: string(s), Reason: cause})
	d.startNext()
	if begun {
		var settings project.Settings
		if d.item.Project != nil {
			settings = d.item.Project.Settings
		}
		d.later(settings.KeepFor(d.p.StageOf(run.Stage, run.Kind).Keep), events.EnvironmentExpired{RunRef: d.item.Ref(), Namespace: run.Namespace})
	}
	d.item.Ended = run
	defer d.turnNext(s)
	if run.Kind == events.KindDiscussion {
		return
	}
	d.teach(s)
	label := d.p.LabelOf(run.Stage, run.Kind)
	d.answered(label)
	if own := d.item.pullOf(run.Stage); own.HeadSHA != "" && !own.Closed && run.Kind != events.KindReview { // which holds up no merge
		d.status = &events.CommitStatus{SHA: own.HeadSHA, State: commitState(s), Context: events.StatusPrefix + run.Stage, Description: statusLine(run)}
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

// known names the labels that start or stop something.
func (p *Process) known() string {
	var ls []string
	for _, s := range p.Stages {
		ls = append(ls, s.Label)
	}
	return fmt.Sprintf("%s, each also with %s behind it, and %s", quoted(ls), code(p.Labels.Revise), code(p.Labels.Abort))
}

func quoted(names []string) string {
	shown := make([]string, len(names))
	for i, n := range names {
		shown[i] = code(n)
	}
	return strings.Join(shown, ", ")
}
