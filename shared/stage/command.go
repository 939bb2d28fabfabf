package stage

import (
	"fmt"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// Commanded says that a person gave a command in the console. It means what the same act on GitHub would mean, with
// one difference: no label was set, so the platform shows the one that the run stands for.
type Commanded struct {
	events.CommandRequested
	ID string // of the event
}

// Needs implements Input.
func (in Commanded) Needs(string, int) Needs {
	starts, releases := in.Command == events.CommandStart, in.Command == events.CommandRelease
	return Needs{
		Run: in.RunID, Sender: in.sender(), Intent: in.intent(),
		Artefacts: starts || releases, Said: starts || releases, Lately: starts, Held: releases,
	}
}
func (in Commanded) decide(d *decision) { d.commanded(in) }

func (in Commanded) sender() Person { return Person{Login: in.By.Login, ID: in.By.ID} }

func (in Commanded) intent() string { return commandIntent + in.ID }

// commandIntent begins the intents of commands.
const commandIntent = "command "

// commands are what each command does, or why it does nothing. Hear rejects others.
var commands = map[events.Command]func(*decision, Commanded) (cause, why string){
	events.CommandStart:   (*decision).startNow,
	events.CommandCancel:  (*decision).cancel,
	events.CommandRelease: (*decision).releaseNow,
	events.CommandDrop:    (*decision).dropNow,
}

// commanded does what a person with the right asks for, or says why not.
func (d *decision) commanded(in Commanded) {
	by := in.sender()
	cause, why := d.mayTrigger(by)
	if cause == "" {
		cause, why = commands[in.Command](d, in)
	}
	if cause != "" {
		d.audit(actor(by), "command.ignored", cause, "%s", why)
		return
	}
	d.item.ActedAt = later(d.item.ActedAt, in.At)
}

// startNow starts what the label starts. Who gives the command has seen the issue's text and answers for it.
func (d *decision) startNow(in Commanded) (cause, why string) {
	t, known, _ := d.p.Trigger(in.Label)
	switch {
	case d.item.Title == "":
		return reason.IssueUnknown, "The platform has not heard of this issue yet. Set the label on GitHub, or write a comment there."
	case !known || t.Abort || t.Kind == events.KindReview:
		return reason.UnknownStage, fmt.Sprintf("No stage has the label %s. Known: %s.", code(in.Label), d.p.known())
	}
	if h := d.item.Held; h != nil && h.Intent == in.intent() {
		return reason.IntentKnown, "The command was handled already."
	}
	asked := d.labelBy(in, in.Label)
	if cause, why := d.whyNot(asked, d.item, t, known, true); cause != "" {
		return cause, why
	}
	if text := d.task(asked.Issue); t.Kind == events.KindWork && in.Seen != "" && in.Seen != text.Digest() {
		return reason.TextUnseen, "The issue's text was changed since you saw it. Read it, then give the command again."
	}
	d.unanswered(in.Label)
	if d.holds(in.Label, in.intent(), in.sender()) {
		return "", ""
	}
	review := d.reviewsUntil(t, d.now)
	if t.Kind == events.KindRevise && in.Text != "" {
		review = &Review{Author: in.By.Login, Body: in.Text, Before: d.now}
	}
	d.approve(asked, t)
	d.request(t, in.sender(), in.intent(), review)
	return "", ""
}

// labelBy is the command as if the label was set on the issue as it is known.
func (d *decision) labelBy(in Commanded, label string) Labeled {
	return Labeled{
		Issue: Issue{Title: d.item.Title, Body: d.item.Body, UpdatedAt: d.item.UpdatedAt},
		Label: label, Sender: in.sender(), Delivery: in.ID,
	}
}

// cancel ends the run.
func (d *decision) cancel(in Commanded) (cause, why string) {
	if !d.item.active() {
		return reason.NothingToAbort, fmt.Sprintf("The run is over: it is %s.", d.item.Run.State)
	}
	d.audit(actor(in.sender()), "run.aborted", "", "in the console")
	d.stop(Cancelled, reason.Aborted, "Stopped by @"+in.By.Login+".")
	return "", ""
}

// releaseNow starts what is held on the issue.
func (d *decision) releaseNow(in Commanded) (cause, why string) {
	if !d.item.isHeld() {
		return reason.NothingHeld, "Nothing is held here."
	}
	return d.release(d.labelBy(in, d.item.Held.Label))
}

// dropNow forgets what is held on the issue.
func (d *decision) dropNow(in Commanded) (cause, why string) {
	if !d.item.isHeld() {
		return reason.NothingHeld, "Nothing is held here."
	}
	d.drop(in.sender(), reason.Aborted)
	return "", ""
}
