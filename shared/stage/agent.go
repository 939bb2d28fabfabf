package stage

import (
	"fmt"
	"strconv"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// ofEarlierJob reports whether the event is about an earlier Job of the run: a run
// that waited has a new one, and the outcome of the old one no longer matters.
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
	if !d.item.Run.to(Running) {
		d.audit(platform, "agent.started.late", "run_"+string(d.item.Run.State), "")
		return
	}
	d.item.Run.StartedAt, d.item.Run.Namespace = d.now, in.Namespace
	if d.item.Run.Reason != reason.ReportLost {
		d.item.Run.Reason, d.item.Run.Message = "", "" // what delayed it has passed
	}
	d.audit(platform, "run.started", "", "Job %s/%s", in.Namespace, in.Job)
}

// delayed shows people what the run's start is waiting for.
func (d *decision) delayed(in events.AgentDelayed) {
	run := d.item.Run
	switch {
	case d.ofEarlierJob("agent.delayed", in.Attempt):
	case run.State != Starting || run.Reason == reason.ReportLost || run.Delivered != "":
		d.audit(platform, "agent.delayed.late", "run_"+string(run.State), "%s: %s", in.Reason, in.Message)
	default:
		run.Reason, run.Message = in.Reason, in.Message
		d.audit(platform, "agent.delayed", in.Reason, "%s", in.Message)
	}
}

// reported ends the run as its agent reported it, or has what it left looked at first.
func (d *decision) reported(in events.AgentReported) {
	if !d.item.active() {
		d.audit("agent:"+in.RunID, "agent.reported.late", "run_"+string(d.item.Run.State), "outcome %s", in.Outcome)
		return
	}
	if d.item.Run.stale(in) {
		d.audit("agent:"+in.RunID, "agent.reported.late", "earlier_job", "its commit %s went back to the agent", in.HeadSHA)
		return
	}
	switch d.item.Run.Kind {
	case events.KindReview:
		d.reviewWritten(in)
		return
	case events.KindDiscussion:
		d.said(in)
		return
	}
	if in.PullRequest != 0 {
		d.opened(in)
		d.made(madePullRequest, strconv.Itoa(in.PullRequest))
	}
	d.item.Run.ThreadID, d.item.Run.Summary = in.ThreadID, in.Summary
	if in.Outcome != "succeeded" {
		d.finish(Failed, in.Reason, in.Summary)
		return
	}
	if d.inspect(in) {
		return
	}
	d.pull.Delivered = d.pull.Delivered || in.PullRequest != 0
	d.finish(Succeeded, "", "")
}

func (d *decision) jobEnded(in events.AgentFinished) {
	d.catchUp()
	switch {
	case d.ofEarlierJob("agent.finished", in.Attempt):
	case !d.item.active():
		d.audit(platform, "agent.finished.late", "run_"+string(d.item.Run.State), "")
	case d.item.Run.Delivered != "" && d.item.Run.Kind.Writes() && d.item.Run.State.HoldsPod():
		d.item.Run.JobOver = true
		d.audit(platform, "job.over", "", "it ended by itself; what it has left is being looked at")
	case d.item.Report != nil && !d.item.Run.stale(*d.item.Report) && !d.item.Run.awaited():
		d.reported(*d.item.Report)
	case d.item.Run.State == Waiting:
		d.jobOver("it ended by itself")
	case d.item.Run.Reason != reason.ReportLost && d.item.Run.State.HoldsPod():
		d.again()
	default:
		d.failed(reason.NoReport, "The agent ended without a report. Its log says why; set the label again to retry.")
	}
}

// again starts the run's next Job, once. An agent exits with success only after its report was accepted, so if there is
// none the database was restored from a backup. The new agent finds the commit that was pushed for this run and reports
// it.
func (d *decision) again() {
	run := d.item.Run
	run.to(Starting)
	run.Attempt, run.Reason, run.Delivered = run.Attempt+1, reason.ReportLost, ""
	run.Message = "The agent has ended, and its report is not known here, as after a restore of the database. It is started once more and reports what it has pushed."
	d.audit(platform, "run.repeated", reason.ReportLost, "as Job %d of the run", run.Attempt+1)
	place := Place{Run: *run, Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue, BaseBranch: d.item.BaseBranch}
	d.out.Emit = append(d.out.Emit, begin(d.settings(), place, run.Deadline, d.now)...)
}

func (d *decision) jobFailed(in events.AgentFailed) {
	d.catchUp()
	switch {
	case d.ofEarlierJob("agent.failed", in.Attempt):
	case d.item.active() && d.item.Run.Delivered != "" && d.item.Run.State != Waiting:
		d.item.Run.JobOver = d.item.Run.Kind.Writes()
		d.audit(platform, "agent.failed.late", "agent_reported", "%s: %s", in.Reason, in.Message)
	case d.item.Run.State == Waiting:
		d.jobOver(in.Reason + ": " + in.Message)
	default:
		d.failed(in.Reason, in.Message)
	}
}

func (d *decision) failed(cause, message string) {
	if !d.item.active() {
		d.audit(platform, "agent.failed.late", "run_"+string(d.item.Run.State), "%s: %s", cause, message)
		return
	}
	// A Job that can't begin (no image, no quota, no room) would keep trying until its deadline and hold the resources
	// it asked for. One that has ended is left alone.
	d.stop(Failed, cause, message)
}

func (d *decision) deadline() {
	d.catchUp()
	if d.item.Run.awaitsChecks() {
		d.checksDue()
	}
	if !d.item.Run.State.HoldsPod() {
		return
	}
	if d.now.Before(d.item.Run.Deadline) { // the run has waited since, and has a later timer
		d.audit(platform, "run.deadline.late", "earlier_job", "the run may go on until %s", d.item.Run.Deadline.UTC().Format(time.RFC3339))
		return
	}
	d.stop(TimedOut, reason.Deadline, fmt.Sprintf("The run used up its %s.", d.p.StageOf(d.item.Run.Stage, d.item.Run.Kind).Timeout))
}

// check looks at a run that should have made progress. run-observer hears the same event and asks the cluster.
func (d *decision) check(in events.RunCheck) {
	d.catchUp()
	switch {
	case in.Attempt < d.item.Run.Attempt:
		return // of an earlier Job: the current one has its own checks
	case d.item.Run.State == Waiting:
		d.jobLingers()
		d.limitOver()
		return
	case !d.item.Run.State.HoldsPod():
		return
	}
	last := d.item.Run.HeartbeatAt
	silent := d.item.Run.State == Running && d.item.Run.Delivered == "" && !last.IsZero() && d.now.Sub(last) > silence && d.now.Sub(d.item.Run.StartedAt) > silence
	if silent && in.Silent {
		d.stop(Failed, reason.AgentSilent, fmt.Sprintf("The agent has not been heard of for %s.", d.now.Sub(last).Round(time.Second)))
		return
	}
	d.lookAgain()
	in.Round++
	in.Silent = silent
	if silent {
		// Ask the cluster first: the Job may be over and the event about it lost.
		d.later(checkEvery, in)
		return
	}
	d.later(min(checkEvery<<min(in.Round, 3), 15*time.Minute), in)
}
