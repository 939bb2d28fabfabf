package stage

import (
	"cmp"
	"fmt"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// labeled starts a run, stops one, or says why not.
func (d *decision) labeled(in Labeled) {
	before := d.item // what was known when the label came
	d.heard(in.Sender, in.At)
	ours := d.seeLabeled(in)
	t, known, ok := d.p.Trigger(in.Label)
	if !ok {
		d.startsNothing(in, before, ours)
		return
	}
	if t.Kind == events.KindReview {
		t.Stage = d.pull.Stage
	}
	cause, why := d.whyNot(in, before, t, known, ours)
	if d.mayAct(in.Sender) {
		d.item.ActedAt = later(d.item.ActedAt, in.At)
	}
	if cause != "" {
		d.audit(actor(in.Sender), "label.ignored", cause, "%s: %s", in.Label, why)
		if d.isTold(in, cause, known) {
			d.answer(in, known, ours)
			d.note(in.Label, why)
		}
		return
	}
	if t.Abort {
		d.answer(in, known, ours)
		if !d.item.active() {
			d.drop(in.Sender, reason.Aborted)
			return
		}
		d.audit(actor(in.Sender), "run.aborted", "", "by label %s", in.Label)
		d.stop(Cancelled, reason.Aborted, "Stopped by @"+in.Sender.Login+".")
		return
	}
	d.unanswered(in.Label)
	intent := in.intent(d.item.repository(), d.item.Issue)
	if t.Kind != events.KindReview && d.holds(in.Label, intent, in.Sender) {
		d.answer(in, known, ours)
		return
	}
	d.approve(in, t)
	d.request(t, in.Sender, intent, d.reviewsUntil(t, in.At))
}

// startsNothing is about a label that is no trigger. Some say something all the same.
func (d *decision) startsNothing(in Labeled, before Item, ours bool) {
	switch {
	case in.Pull != nil && ours:
		d.adriftOnPull(in.Label, true, in.Sender)
	case in.Pull == nil && !in.Stray:
		d.held(in)
		d.discuss(in, before)
		d.rechoose(in.Label, true, in.Sender)
		d.adrift(in.Label, true, in.Sender)
	}
}

// held stops a run that has not begun when its issue gets a label with which nothing starts.
func (d *decision) held(in Labeled) {
	cause := ""
	switch {
	case !d.item.active() || d.item.Run.begun() || !has(d.item.Labels, in.Label):
	case same(in.Label, d.p.Labels.Blocked):
		cause = reason.Blocked
	case same(in.Label, d.p.Labels.NeedInput) && d.item.working():
		cause = reason.NeedInput
	}
	if cause == "" {
		return
	}
	d.audit(actor(in.Sender), "run.held", cause, "by label %s", in.Label)
	d.stop(Cancelled, cause, fmt.Sprintf("The issue got %s while the run waited for its place. Remove that label when the way is free.", code(in.Label)))
}

// seeLabeled stores what the event says besides the label; it reports whether the label is on the issue or on the
// item's own pull request.
func (d *decision) seeLabeled(in Labeled) bool {
	if in.Pull == nil {
		if !in.Stray {
			d.see(in.Issue)
		}
		return !in.Stray
	}
	return d.seePull(*in.Pull)
}

// answer notes that a trigger has been answered and is to be removed. A label that no stage owns is somebody else's,
// and so is another pull request of the branch.
func (d *decision) answer(in Labeled, known, ours bool) {
	switch {
	case !known, in.Sender.Bot && d.asksReview(in.Label): // lest two programs fight
	case in.Pull == nil:
		d.item.Answered = with(d.item.Answered, in.Label)
	case ours:
		d.pull.Answered = with(d.pull.Answered, in.Label)
	}
}

// isTold says who gets an answer to a label that starts nothing: members of the project, about a label of ours.
// Strangers, programs and labels of other systems get none, and what GitHub repeats is no new question.
func (d *decision) isTold(in Labeled, cause string, known bool) bool {
	switch {
	case cause == reason.LabelOff, cause == reason.IntentKnown && d.item.Held != nil, d.item.active() && (cause == reason.IntentKnown || cause == reason.OlderAct),
		cause == reason.IntentKnown && same(in.Label, d.p.Labels.Abort):
		return false
	case cause == reason.SenderMissing:
		return known
	case d.asksReview(in.Label):
		return d.item.Project != nil
	case !d.isAnswered(in.Sender):
		return false
	}
	return known || d.mayAct(in.Sender)
}

// isAnswered reports whether the person has a role in the project.
func (d *decision) isAnswered(sender Person) bool {
	return d.item.Project != nil && !sender.Bot && d.item.Project.SenderRole.May(access.Answers)
}

// whyNot gives the reason why a trigger label starts nothing, for programs and for people.
func (d *decision) whyNot(in Labeled, before Item, t Trigger, known, ours bool) (cause, why string) {
	if cause, why := d.mayTrigger(in.Sender); cause != "" {
		return cause, why
	}
	if d.isOff(in, before) {
		return reason.LabelOff, "The label was taken off again."
	}
	if !known && d.p.Fault == "" {
		return reason.UnknownStage, fmt.Sprintf("No stage has the label %s. Known: %s.", code(in.Label), d.p.known())
	}
	if !ours && d.asksReview(in.Label) {
		return reason.NotOurPullRequest, "The label stands on a pull request that no agent has opened for an issue. Agents review only those; people review this one."
	}
	if !ours {
		return reason.NotOurPullRequest, "The label stands on a pull request that no agent is at work on. Set it on an issue, or on the pull request that an agent has opened for it."
	}
	if d.item.IntentKnown || d.repeated(in, before, t) || d.item.Held != nil && d.item.Held.Intent == in.intent(d.item.repository(), d.item.Issue) {
		return reason.IntentKnown, "The label was handled already. If it was set anew within seconds, set it once more."
	}
	if in.At.Before(before.ActedAt) && !in.At.IsZero() {
		return reason.OlderAct, fmt.Sprintf("The label is of %s, and something newer was asked for since. If it still holds, set it again.", in.At.UTC().Format("15:04:05 MST"))
	}
	if t.Abort {
		if !d.item.active() && !d.item.isHeld() {
			return reason.NothingToAbort, "No run is active."
		}
		return "", ""
	}
	if d.item.working() {
		return reason.RunActive, fmt.Sprintf("Run %s is %s. Set `%s` to stop it.", d.item.Run.ID, d.item.Run.State, d.p.Labels.Abort)
	}
	if ts := d.open(in); len(ts) > 1 {
		for _, l := range ts {
			d.answered(l)
		}
		return reason.TriggerConflict, fmt.Sprintf("These were set at once: %s. They are taken off; set one.", quoted(ts))
	}
	if in.Rewriter != "" && !(t.Kind == events.KindRevise && before.Approved != nil) {
		return unseen(in.Rewriter)
	}
	if t.Kind == events.KindReview {
		if cause, why := d.nothingToReview(in, t); cause != "" {
			return cause, why
		}
	}
	return d.gate(t)
}

// isOff reports whether a person is known to have removed the label since the event. A program removes it only once it
// is answered; if nothing is known of that here, the database was restored.
func (d *decision) isOff(in Labeled, before Item) bool {
	labels, known := d.item.Labels, before.UpdatedAt
	if in.Pull != nil {
		labels, known = d.pull.Labels, before.PullOf(in.Pull.Number).UpdatedAt
	}
	return !in.At.IsZero() && in.At.Before(known) && in.At.Before(before.PersonAt) && !has(labels, in.Label)
}

// retold is how far apart two hooks may report one label. GitHub does not set a label twice, so one that was never
// removed was not set again.
const retold = 5 * time.Second

func (d *decision) repeated(in Labeled, before Item, t Trigger) bool {
	run := before.Run
	if run == nil || in.At.IsZero() || in.At.Sub(before.ActedAt).Abs() > retold {
		return false
	}
	if t.Abort {
		return run.State == Cancelled && run.Reason == reason.Aborted
	}
	on := before.Labels
	if in.Pull != nil {
		on = before.PullOf(in.Pull.Number).Labels
	}
	return has(on, in.Label) && same(d.p.LabelOf(run.Stage, run.Kind), in.Label)
}

// open are the triggers on the issue or its pull request that have no answer yet. The last run's trigger has had its
// answer.
func (d *decision) open(in Labeled) []string {
	last := ""
	if run := d.item.stageRun(); run != nil {
		last = d.p.LabelOf(run.Stage, run.Kind)
	}
	var others []string
	for _, l := range d.item.Labels {
		if _, known, _ := d.p.Trigger(l); known && !same(l, in.Label) && !same(l, last) && !has(d.item.Answered, l) {
			others = append(others, l)
		}
	}
	if others == nil {
		return nil // in.Label is the only one
	}
	return d.p.triggers(append(others, in.Label))
}

// mayAct reports whether the person may start, stop and revise runs.
func (d *decision) mayAct(sender Person) bool {
	cause, _ := d.mayTrigger(sender)
	return cause == ""
}

// mayTrigger is the rule for who may start, stop or revise a run: a person whose role in the project allows it. A
// program may not, so an agent can't start itself.
func (d *decision) mayTrigger(sender Person) (cause, why string) {
	switch {
	case d.item.Project == nil && d.item.NameTaken != 0:
		return reason.RepositoryIsAnother, fmt.Sprintf("%[1]s is the repository with the number %[2]d, and another one, number %[3]d, is known by that name. An owner of the platform writes `%[1]s@%[2]d` in the projects file if this one is meant too.",
			d.item.Repository, d.item.RepositoryID, d.item.NameTaken)
	case d.item.Project == nil:
		return reason.RepositoryNotBound, fmt.Sprintf("The repository %s belongs to no project. An owner of the platform adds it to one.", d.item.Repository)
	case sender.Login == "":
		return reason.SenderMissing, "GitHub did not say who did this. Do it again."
	case sender.Bot:
		return reason.SenderIsBot, fmt.Sprintf("%s is a program; only people start runs. A member of the project sets the label.", sender.Login)
	case d.item.Project.SenderRole == "" && d.item.Project.LoginTaken != 0 && sender.ID == 0:
		return reason.SenderMissing, fmt.Sprintf("GitHub did not say which account %s is. Do it again.", sender.Login)
	case d.item.Project.SenderRole == "" && d.item.Project.LoginTaken != 0:
		return reason.SenderIsAnother, fmt.Sprintf("%[1]s is the account with the number %[2]d, and the member of that name is number %[3]d. An owner of the platform writes `%[1]s@%[2]d` in the projects file if the right is this one's now.",
			sender.Login, sender.ID, d.item.Project.LoginTaken)
	case !d.item.Project.SenderRole.May(access.Runs):
		return reason.SenderNotPermitted, fmt.Sprintf("%s may not start runs in project %s. A maintainer of the project can, or an admin adds the person.", sender.Login, d.item.Project.ID)
	}
	return "", ""
}

// gate checks what must hold before a stage is entered.
func (d *decision) gate(t Trigger) (cause, why string) {
	labels, own := d.item.Labels, d.item.pullOf(t.Stage)
	again := "then set the label again."
	if t.Kind == events.KindDiscussion {
		again = "then write another comment."
	}
	switch {
	case d.p.Fault != "":
		return reason.ProcessInvalid, fmt.Sprintf("The project's own process can't be read: %s. Once an owner of the platform has corrected it, set the label again.", d.p.Fault)
	case d.item.Closed:
		return reason.IssueClosed, "The issue is closed. Reopen it, " + again
	case has(labels, d.p.Labels.Blocked):
		return reason.Blocked, fmt.Sprintf("The issue carries `%s`. Remove it when the way is free, %s", d.p.Labels.Blocked, again)
	case t.Kind != events.KindDiscussion && (d.item.NeedInput || has(labels, d.p.Labels.NeedInput)): // which a discussion may be about
		return reason.NeedInput, fmt.Sprintf("A question is open (`%s`). Answer it and remove that label, %s", d.p.Labels.NeedInput, again)
	case t.Kind == events.KindRevise && own.Number == 0:
		return reason.PullRequestMissing, fmt.Sprintf("There is no pull request to revise. Set `%s` first.", d.p.LabelOf(t.Stage, events.KindWork))
	case t.Kind == events.KindRevise && own.Merged:
		return reason.PullRequestMerged, fmt.Sprintf("Pull request #%d is merged, there is nothing left to revise. Set `%s` for another one.", own.Number, d.p.LabelOf(t.Stage, events.KindWork))
	case t.Kind == events.KindRevise && own.Closed:
		return reason.PullRequestClosed, fmt.Sprintf("Pull request #%d is closed. Reopen it, or set `%s` for another one.", own.Number, d.p.LabelOf(t.Stage, events.KindWork))
	}
	if why := d.stale(t); why != "" {
		return reason.Superseded, why
	}
	if _, conflict := choice(d.p.Models.Label, labels); conflict != nil {
		return reason.ModelConflict, fmt.Sprintf("The issue carries %s. Keep one of them, %s", quoted(conflict), again)
	}
	if _, conflict := choice(d.p.Reasoning.Label, labels); conflict != nil {
		return reason.ReasoningConflict, fmt.Sprintf("The issue carries %s. Keep one of them, %s", quoted(conflict), again)
	}
	if m, ok := d.p.model(labels); !ok {
		return reason.ModelUnknown, fmt.Sprintf("The model %s is not allowed. Allowed: %s.", code(m), quoted(d.p.Models.Allowed))
	}
	if r, ok := d.p.effort(labels); !ok {
		return reason.ReasoningUnknown, fmt.Sprintf("The reasoning effort %s does not exist.", code(r))
	}
	return d.unfitProfile(t)
}

// request makes a run from an accepted intent, with the item's approved text as its task. It waits for a place in its
// project.
func (d *decision) request(t Trigger, by Person, intent string, review *Review) {
	d.item.Held = nil
	d.goBy(d.item.profile(d.p), by)
	worked, talk := d.makeWay(t)
	s := d.p.StageOf(t.Stage, t.Kind)
	settings := d.item.Project.Settings
	model, _ := d.p.model(d.item.Labels)
	effort, _ := d.p.effort(d.item.Labels)
	id := events.DeriveID("run", intent)
	task := *d.approvedTask()
	task.compare(d.item.Title, d.item.Body, "")
	role, grant := d.grant(t, s)
	model = cmp.Or(model, settings.Model, d.p.Models.Default)
	grant.Fallback = d.p.fallback(settings, model)
	d.item.Run = &Run{
		ID: id, Project: d.item.Project.ID, Stage: t.Stage, Kind: t.Kind, Role: role,
		State:       Requested,
		Engine:      cmp.Or(settings.Engine, "codex"),
		Model:       model,
		Reasoning:   effort,
		RequestedBy: by.Login, RequesterID: by.ID, Intent: intent, Task: &task, Review: review, Talk: talk, CreatedAt: d.now,
		Namespace: Namespace(d.item.Key()),
		Process:   d.p,
		Grant:     grant,
	}
	d.item.Worked = worked
	d.stand(t)
	d.audit(actor(by), "run.requested", "", "%s with the text %s as of %s", d.p.LabelOf(t.Stage, t.Kind), task.Digest(), stamp(task.At))
	d.emit(events.RunRequested{RunRef: d.item.Ref(), Stage: t.Stage, Kind: t.Kind, RequestedBy: by.Login})
}

// see stores what GitHub says about the issue, unless something newer is known, and reports whether it did. Without a
// time, nothing is reopened.
func (d *decision) see(i Issue) bool {
	if !i.UpdatedAt.IsZero() && i.UpdatedAt.Before(d.item.UpdatedAt) {
		return false
	}
	d.item.Title, d.item.Body, d.item.URL = i.Title, i.Body, i.URL
	d.item.Labels, d.item.Closed = i.Labels, i.Closed || i.UpdatedAt.IsZero() && d.item.Closed
	d.item.Answered = among(d.item.Answered, i.Labels)
	d.item.BaseBranch = cmp.Or(i.BaseBranch, d.item.BaseBranch)
	d.item.CloneURL = cmp.Or(i.CloneURL, d.item.CloneURL)
	d.item.UpdatedAt = later(d.item.UpdatedAt, i.UpdatedAt)
	return true
}

// endOf is why a run ends with its issue, by GitHub's action.
var endOf = map[string]string{"closed": reason.IssueClosed, "deleted": reason.IssueDeleted, "transferred": reason.IssueTransferred}

// edited follows the issue; closing, deleting or transferring it stops its run.
func (d *decision) edited(in Edited) {
	d.heard(in.Sender, in.Issue.UpdatedAt)
	seen := d.see(in.Issue)
	if in.Action == "reopened" && in.Issue.UpdatedAt.IsZero() {
		d.item.Closed = in.Issue.Closed
	}
	if seen {
		d.rewritten(in)
	}
	if in.Action == "unlabeled" {
		d.undiscuss(in)
		d.item.NeedInput = d.item.NeedInput && !(seen && same(in.Label, d.p.Labels.NeedInput))
		d.rechoose(in.Label, false, in.Sender)
		d.adrift(in.Label, false, in.Sender)
		d.letGo(in)
	}
	gone := in.Action == "deleted" || in.Action == "transferred"
	if gone || seen && d.item.Closed {
		d.endDiscussion(actor(in.Sender))
	}
	if !gone && !(seen && d.item.Closed) {
		return
	}
	if !gone {
		in.Action = "closed"
	}
	d.drop(in.Sender, endOf[in.Action])
	if !d.item.active() {
		return
	}
	d.stop(Cancelled, endOf[in.Action], "The issue was "+in.Action+".")
}

// heard notes when a person did something.
func (d *decision) heard(who Person, at time.Time) {
	if !who.Bot {
		d.item.PersonAt = later(d.item.PersonAt, at)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
