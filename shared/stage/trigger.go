package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"codexk8s.dev/shared/events"
)

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
