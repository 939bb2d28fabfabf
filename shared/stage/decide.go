package stage

import (
	"crypto/sha256"
	"encoding/hex"
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
	case PullRequestClosed:
		d.pullRequestClosed(in)
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
	return d.item, d.out, nil
}

// decision is one Decide under way.
type decision struct {
	p    *Process
	item Item
	now  time.Time
	out  events.Decision
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

// labeled starts a run, stops one, or says why not.
func (d *decision) labeled(in Labeled) {
	d.see(in.Issue)
	t, known, ok := d.p.Trigger(in.Label)
	if !ok {
		return
	}
	if reason, why := d.refuse(in, t, known); reason != "" {
		d.audit(actor(in.Sender), "label.ignored", reason, "%s: %s", in.Label, why)
		if reason != "intent_known" && reason != "run_active" {
			d.tell(refusal(in.Label, why), events.GitHubChangeRequested{})
		}
		return
	}
	if t.Abort {
		d.audit(actor(in.Sender), "run.aborted", "", "by label %s", in.Label)
		d.stop(Cancelled, "aborted", "Stopped by @"+in.Sender.Login+".", []string{in.Label})
		return
	}
	d.request(t, in.Sender.Login, in.Intent, nil)
}

// refuse gives the reason why a trigger label starts nothing, for programs and for people.
func (d *decision) refuse(in Labeled, t Trigger, known bool) (reason, why string) {
	if reason, why := d.mayTrigger(in.Sender); reason != "" {
		return reason, why
	}
	if in.Issue.Closed {
		return "issue_closed", "The issue is closed. Reopen it and set the label again."
	}
	if !known {
		return "unknown_stage", fmt.Sprintf("No stage has the label `%s`. Known: %s.", in.Label, quoted(d.p.known()))
	}
	if d.item.IntentKnown {
		return "intent_known", "The same label was handled already."
	}
	if t.Abort {
		if !d.item.active() {
			return "nothing_to_abort", fmt.Sprintf("No run is active. Remove `%s`.", in.Label)
		}
		return "", ""
	}
	if d.item.active() {
		return "run_active", fmt.Sprintf("Run %s is %s. Set `%s` to stop it.", d.item.Run.ID, d.item.Run.State, d.p.Labels.Abort)
	}
	if ts := d.p.triggers(in.Issue.Labels); len(ts) > 1 {
		return "trigger_conflict", fmt.Sprintf("The issue carries %s. Remove all of them, then set one.", quoted(ts))
	}
	return d.gate(t)
}

// mayTrigger holds the rule who may start, stop or revise a run: a person with a
// role in the project that allows it. A program may not, so an agent can't start itself.
func (d *decision) mayTrigger(sender Person) (reason, why string) {
	switch {
	case d.item.Project == nil:
		return "repository_not_bound", fmt.Sprintf("The repository %s belongs to no project. An owner of the platform adds it to one.", d.item.Repository)
	case sender.Login == "":
		return "sender_missing", "GitHub did not say who did this. Do it again."
	case sender.Bot:
		return "sender_is_bot", fmt.Sprintf("@%s is a program; only people start runs. A member of the project sets the label.", sender.Login)
	case !slices.Contains([]string{"owner", "admin", "maintainer"}, d.item.Project.SenderRole):
		return "sender_not_permitted", fmt.Sprintf("@%s may not start runs in project %s. A maintainer of the project can, or an admin adds you.", sender.Login, d.item.Project.ID)
	}
	return "", ""
}

// gate checks what must hold before a stage is entered.
func (d *decision) gate(t Trigger) (reason, why string) {
	labels := d.item.Labels
	if slices.Contains(labels, d.p.Labels.Blocked) {
		return "blocked", fmt.Sprintf("The issue carries `%s`. Remove it when the way is free, then set the label again.", d.p.Labels.Blocked)
	}
	if slices.Contains(labels, d.p.Labels.NeedInput) {
		return "need_input", fmt.Sprintf("A question is open (`%s`). Answer it, remove the label, then set the label again.", d.p.Labels.NeedInput)
	}
	if t.Revise && d.item.PullRequest == 0 {
		return "pull_request_missing", fmt.Sprintf("There is no pull request to revise. Set `%s` first.", d.p.LabelOf(t.Stage, false))
	}
	if _, conflict := choice(d.p.Models.Label, labels); conflict != nil {
		return "model_conflict", fmt.Sprintf("The issue carries %s. Keep one of them, then set the label again.", quoted(conflict))
	}
	if _, conflict := choice(d.p.Reasoning.Label, labels); conflict != nil {
		return "reasoning_conflict", fmt.Sprintf("The issue carries %s. Keep one of them, then set the label again.", quoted(conflict))
	}
	if m, _ := choice(d.p.Models.Label, labels); m != "" && !slices.Contains(d.p.Models.Allowed, m) {
		return "model_unknown", fmt.Sprintf("The model `%s` is not allowed. Allowed: %s.", m, quoted(d.p.Models.Allowed))
	}
	if r, _ := choice(d.p.Reasoning.Label, labels); r != "" && d.p.Reasoning.Allowed[r] == "" {
		return "reasoning_unknown", fmt.Sprintf("The reasoning effort `%s` does not exist.", r)
	}
	return "", ""
}

// request makes a run of an accepted intent. It waits for a place in its project.
func (d *decision) request(t Trigger, by, intent string, review *Review) {
	s := d.p.Stage(t.Stage)
	settings := d.item.Project.Settings
	model, _ := choice(d.p.Models.Label, d.item.Labels)
	effort, _ := choice(d.p.Reasoning.Label, d.item.Labels)
	id := events.DeriveID("run", intent)
	d.item.Run = &Run{
		ID: id, Project: d.item.Project.ID, Stage: t.Stage, Revise: t.Revise, Role: s.Role,
		State:       Requested,
		Engine:      or(settings.Engine, "codex"),
		Model:       or(model, settings.Model, d.p.Models.Default),
		Reasoning:   d.p.Reasoning.Allowed[or(effort, d.p.Reasoning.Default)],
		RequestedBy: by, Intent: intent, Review: review, CreatedAt: d.now,
		Namespace: Namespace(d.item.Key()),
	}
	d.audit("github:"+by, "run.requested", "", "%s", d.p.LabelOf(t.Stage, t.Revise))
	d.emit(events.RunRequested{RunRef: d.item.Ref(), Stage: t.Stage, Revise: t.Revise, RequestedBy: by})
	d.tell("", events.GitHubChangeRequested{})
}

// Namespace is the Kubernetes namespace of a work item's runs: a revise finds it as
// the run before has left it, if its time to be kept is not over.
func Namespace(workItem string) string {
	sum := sha256.Sum256([]byte(workItem))
	return "codexk8s-run-" + hex.EncodeToString(sum[:6])
}

// see takes over what GitHub says of the issue.
func (d *decision) see(i Issue) {
	d.item.Title, d.item.Body, d.item.URL = i.Title, i.Body, i.URL
	d.item.Labels, d.item.Closed = i.Labels, i.Closed
	d.item.BaseBranch = or(i.BaseBranch, d.item.BaseBranch)
	d.item.CloneURL = or(i.CloneURL, d.item.CloneURL)
}

// edited keeps up with the issue; closing it stops its run.
func (d *decision) edited(in Edited) {
	d.see(in.Issue)
	if d.item.active() && (in.Action == "closed" || in.Action == "deleted" || in.Action == "transferred") {
		d.stop(Cancelled, "issue_"+in.Action, "The issue was "+in.Action+".", nil)
	}
}

// reviewed starts a revise when changes are requested, and records an approval.
func (d *decision) reviewed(in Reviewed) {
	if d.item.PullRequest != 0 && in.PullRequest != d.item.PullRequest {
		d.audit(actor(in.Sender), "review.ignored", "not_our_pull_request", "#%d", in.PullRequest)
		return
	}
	if in.State != "changes_requested" && in.State != "approved" {
		return
	}
	if d.item.PullRequest == 0 { // of our branch, but its run ended before it could tell
		d.item.PullRequest, d.item.HeadSHA = in.PullRequest, in.HeadSHA
	}
	reason, why := d.mayTrigger(in.Sender)
	if reason == "" && d.item.IntentKnown {
		reason, why = "intent_known", "The same review was handled already."
	}
	if reason == "" && d.item.active() {
		reason, why = "run_active", fmt.Sprintf("Run %s is %s; set `%s` when it has ended.", d.item.Run.ID, d.item.Run.State, d.p.LabelOf(d.item.Run.Stage, true))
	}
	if reason == "" && d.item.Run == nil {
		reason, why = "stage_unknown", "No run of this issue is known: which stage made the pull request?"
	}
	t := Trigger{Revise: true}
	if reason == "" && in.State == "changes_requested" {
		t.Stage = d.item.Run.Stage
		reason, why = d.gate(t)
	}
	if reason != "" {
		d.audit(actor(in.Sender), "review.ignored", reason, "%s", why)
		if reason != "intent_known" {
			d.tell(refusal("the review", why), events.GitHubChangeRequested{})
		}
		return
	}
	if in.State == "approved" {
		d.approved(in)
		return
	}
	review := in.Review
	d.request(t, in.Sender.Login, in.Intent, &review)
}

func (d *decision) approved(in Reviewed) {
	if in.HeadSHA != "" {
		d.item.HeadSHA = in.HeadSHA
	}
	d.audit(actor(in.Sender), "pull_request.approved", "", "#%d at %s", in.PullRequest, in.HeadSHA)
	add, remove := []string{d.p.Labels.Approved}, []string{d.p.Labels.InReview}
	d.tell("Approved by @"+in.Sender.Login+". Ready to merge.", events.GitHubChangeRequested{
		AddLabels: add, AddLabelsToPR: add, RemoveLabels: remove, RemoveLabelsOffPR: remove,
	})
}

func (d *decision) pullRequestClosed(in PullRequestClosed) {
	if in.PullRequest != d.item.PullRequest {
		return
	}
	if !in.Merged {
		d.item.PullRequest, d.item.PullRequestURL, d.item.HeadSHA = 0, "", ""
	}
	d.audit(actor(in.Sender), "pull_request.closed", "", "#%d merged=%t", in.PullRequest, in.Merged)
	if d.item.active() {
		d.stop(Cancelled, "pull_request_closed", "The pull request was closed.", nil)
	}
}

// ofEarlierJob reports whether news is of a Job that the run has left behind: a run
// that had waited is at its next one, whose fate is another.
func (d *decision) ofEarlierJob(what string, attempt int) bool {
	if attempt >= d.item.Run.Attempt {
		return false
	}
	d.audit(platform, what+".late", "earlier_job", "of Job %d of the run, which is at Job %d", attempt+1, d.item.Run.Attempt+1)
	return true
}

func (d *decision) started(in events.AgentStarted) {
	if d.ofEarlierJob("agent.started", in.Attempt) {
		return
	}
	if d.item.Run.State != Starting {
		d.audit(platform, "agent.started.late", "run_"+string(d.item.Run.State), "")
		return
	}
	d.item.Run.State, d.item.Run.StartedAt, d.item.Run.Namespace = Running, d.now, in.Namespace
	d.audit(platform, "run.started", "", "Job %s/%s", in.Namespace, in.Job)
	d.tell("", events.GitHubChangeRequested{})
}

// reported ends the run by the agent's own word.
func (d *decision) reported(in events.AgentReported) {
	if !d.item.active() {
		d.audit("agent:"+in.RunID, "agent.reported.late", "run_"+string(d.item.Run.State), "outcome %s", in.Outcome)
		return
	}
	if in.PullRequest != 0 {
		d.item.PullRequest, d.item.PullRequestURL, d.item.HeadSHA = in.PullRequest, in.PullRequestURL, in.HeadSHA
	}
	d.item.Run.ThreadID, d.item.Run.Summary = in.ThreadID, in.Summary
	if in.Outcome != "succeeded" {
		d.finish(Failed, in.Reason, in.Summary, nil)
		return
	}
	d.finish(Succeeded, "", "", nil)
}

func (d *decision) jobEnded(in JobEnded) {
	switch {
	case d.ofEarlierJob("agent.finished", in.Attempt):
	case !d.item.active():
		d.audit(platform, "agent.finished.late", "run_"+string(d.item.Run.State), "")
	case in.Report != nil:
		d.reported(*in.Report)
	case d.item.Run.Reason != reportLost && (d.item.Run.State == Starting || d.item.Run.State == Running):
		d.again()
	default:
		d.failed("no_report", "The agent ended without a report. Its log says why; set the label again to retry.")
	}
}

// reportLost is why a run is at its next Job: its last one is complete, and what it reported is not known here.
const reportLost = "report_lost"

// again starts the run's next Job, once. An agent exits with success only when its
// report was taken, so the database has lost it: it was restored from a backup. The
// agent finds the commit that it pushed for this run, and reports that.
func (d *decision) again() {
	run := d.item.Run
	run.State, run.Attempt, run.Reason = Starting, run.Attempt+1, reportLost
	run.Message = "The agent has ended, and its report is not known here, as after a restore of the database. It is started once more and reports what it has pushed."
	d.audit(platform, "run.repeated", reportLost, "as Job %d of the run", run.Attempt+1)
	var settings Settings
	if d.item.Project != nil {
		settings = d.item.Project.Settings
	}
	place := Place{Run: *run, Repository: d.item.Repository, Issue: d.item.Issue, BaseBranch: d.item.BaseBranch}
	d.out.Emit = append(d.out.Emit, begin(d.p, settings, place, run.Deadline, d.now)...)
	d.tell("", events.GitHubChangeRequested{})
}

func (d *decision) failed(reason, message string) {
	if !d.item.active() || d.item.Run.State == Waiting {
		d.audit(platform, "agent.failed.late", "run_"+string(d.item.Run.State), "%s: %s", reason, message)
		return
	}
	d.finish(Failed, reason, message, nil)
}

func (d *decision) deadline() {
	if !d.item.active() || d.item.Run.State == Waiting {
		return
	}
	d.stop(TimedOut, "deadline", fmt.Sprintf("The run used up its %s.", d.p.Stage(d.item.Run.Stage).Timeout), nil)
}

// check looks after a run that should show progress. run-observer hears the same
// event and asks the cluster.
func (d *decision) check(in events.RunCheck) {
	if !d.item.active() || d.item.Run.State == Waiting {
		return
	}
	last := d.item.Run.HeartbeatAt
	silent := d.item.Run.State == Running && !last.IsZero() && d.now.Sub(last) > silence && d.now.Sub(d.item.Run.StartedAt) > silence
	if silent && in.Silent {
		d.stop(Failed, "agent_silent", fmt.Sprintf("The agent has not been heard of for %s.", d.now.Sub(last).Round(time.Second)), nil)
		return
	}
	in.Round++
	in.Silent = silent
	if silent {
		// What the cluster knows comes first: the Job may be over, and the news of it lost.
		d.later(checkEvery, in)
		return
	}
	d.later(min(checkEvery<<min(in.Round, 3), 15*time.Minute), in)
}

// stop ends the run and its Job.
func (d *decision) stop(s State, reason, message string, alsoRemove []string) {
	if st := d.item.Run.State; st != Requested && st != Queued {
		d.emit(events.AgentStopRequested{RunRef: d.item.Ref(), Namespace: d.item.Run.Namespace, Reason: reason})
	}
	d.finish(s, reason, message, alsoRemove)
}

// finish brings the run to a final state and GitHub to what follows from it.
func (d *decision) finish(s State, reason, message string, alsoRemove []string) {
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
		d.later(settings.keep(d.p.Stage(run.Stage)), events.EnvironmentExpired{RunRef: d.item.Ref(), Namespace: run.Namespace})
	}
	c := events.GitHubChangeRequested{RemoveLabels: append(alsoRemove, d.p.LabelOf(run.Stage, run.Revise))}
	if s == Succeeded {
		c.AddLabels = []string{d.p.Labels.InReview}
		c.AddLabelsToPR = c.AddLabels
		c.RemoveLabels = append(c.RemoveLabels, d.p.Labels.Approved)
		c.RemoveLabelsOffPR = []string{d.p.Labels.Approved}
	}
	if d.item.HeadSHA != "" {
		c.Status = &events.CommitStatus{SHA: d.item.HeadSHA, State: commitState(s), Context: "codexk8s/" + run.Stage, Description: statusLine(run)}
	}
	d.tell("", c)
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

// tell requests the change on GitHub, with the status comment as it is from now on.
func (d *decision) tell(note string, c events.GitHubChangeRequested) {
	d.item.Version++
	c.Repository, c.Issue, c.PullRequest = d.item.Repository, d.item.Issue, d.item.PullRequest
	if d.item.Run != nil {
		c.RunID = d.item.Run.ID
	}
	c.Comment, c.CommentVersion = Comment(d.p, d.item, note), d.item.Version
	d.emit(c)
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

func quoted(ss []string) string { return "`" + strings.Join(ss, "`, `") + "`" }
