package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
)

// A Task is what an agent is asked to do: the issue's text as approved by a person who may start runs. That person set
// the label or, while the run still waited for its place, edited the issue. What others change in the text afterwards
// is not part of it. A revise works from the text of the run before, with edits since then by people who may start
// runs: its label says "do what the review asks for", not "I have read the issue again".
type Task struct {
	Title string    `json:"title"`
	Body  string    `json:"body"`
	At    time.Time `json:"at"` // the text as of then, by GitHub's clock
	// Hidden is the part of the text that GitHub does not show to people: prompt.Hidden.
	Hidden []string `json:"hidden,omitempty"`
	// Editor is who changed the issue's text but not the task: "mallory", or somebody where it is not known.
	Editor string `json:"editor,omitempty"`
}

// somebody is an Editor that no event named.
const somebody = "somebody"

// Digest is the short name of the text, seven hexadecimal digits, for people to compare.
func (t *Task) Digest() string {
	sum := sha256.Sum256([]byte(t.Title + "\x00" + t.Body))
	return hex.EncodeToString(sum[:4])[:7]
}

// compare notes that the issue's text differs from the task, or no longer does.
func (t *Task) compare(title, body, editor string) {
	switch {
	case t.Title == title && t.Body == body:
		t.Editor = ""
	case editor != "":
		t.Editor = editor
	case t.Editor == "":
		t.Editor = somebody
	}
}

// approve makes the issue's text, as the person who set the label saw it, the task of the next run. A revise works from
// the text of the run before, and so does a label on the pull request, which shows another text.
func (d *decision) approve(in Labeled, t Trigger) {
	switch {
	case d.item.Approved == nil && in.Pull != nil:
		d.item.Approved = d.task(Issue{Title: d.item.Title, Body: d.item.Body, UpdatedAt: d.item.UpdatedAt})
	case d.item.Approved == nil || t.Kind != events.KindRevise && in.Pull == nil:
		d.item.Approved = d.task(in.Issue)
	}
}

// task is what the issue says now, approved by somebody who may start runs.
func (d *decision) task(i Issue) *Task {
	at := i.UpdatedAt
	if at.IsZero() {
		at = d.now
	}
	return &Task{Title: i.Title, Body: i.Body, At: at, Hidden: prompt.Hidden(i.Title, i.Body)}
}

// approvedTask is the task of a revise.
func (d *decision) approvedTask() *Task {
	if d.item.Approved == nil {
		return d.task(Issue{Title: d.item.Title, Body: d.item.Body})
	}
	return d.item.Approved
}

// rewritten says what an edit of the issue's text means for its runs. An edit by somebody who may start runs becomes
// the task, also of the active run as long as it waits for its place; any other edit is only shown.
func (d *decision) rewritten(in Edited) {
	if in.Action != "edited" || d.item.Approved == nil {
		return
	}
	text := d.task(in.Issue)
	if text.At.Before(d.item.Approved.At) {
		return // whoever approved the text since then saw it
	}
	approved, stands := *d.item.Approved, d.mayAct(in.Sender)
	approved.compare(text.Title, text.Body, in.Sender.Login)
	if stands {
		approved = *text
	}
	d.item.Approved = &approved
	if !d.item.active() || d.item.Run.Task == nil {
		return
	}
	run := *d.item.Run.Task
	waits := d.item.Run.State.Queues()
	run.compare(text.Title, text.Body, in.Sender.Login)
	if waits && stands {
		run = approved
	}
	was := d.item.Run.Task
	d.item.Run.Task = &run
	switch {
	case run.Digest() != was.Digest():
		d.audit(actor(in.Sender), "task.edited", "", "the run goes by the text %s as of %s", run.Digest(), stamp(run.At))
	case run.Editor != "":
		d.audit(actor(in.Sender), "issue.edited", "not_in_task", "the run goes by the text %s as of %s", run.Digest(), stamp(run.At))
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// unseen is why nothing begins with a text that nobody with the right is known to have seen.
func unseen(rewriter string) (cause, why string) {
	return reason.TextUnseen, fmt.Sprintf("@%s changed the issue's text after the label was set, and GitHub's message about the label never came, so what the text was then is not known. Read it, then set the label again.", rewriter)
}
