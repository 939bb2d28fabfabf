package stage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	agent "codexk8s.dev/shared/words"
)

// While an issue carries Labels.Discussion, an agent answers what people write there who may start runs, and changes
// nothing. Each answer is a turn: a run of kind discussion, for all comments that came while something else was at
// work. It waits for a place like any run, but counts for nothing that is shown of the issue's stages. A run of a stage
// ends the turn at work and is told what was discussed; meanwhile comments wait. The label's end is the discussion's,
// and so is the issue's.

// Talk is what is known of the discussion on an issue.
type Talk struct {
	On      bool     `json:"on,omitempty"`      // somebody with the right has set the label
	Turns   int      `json:"turns,omitempty"`   // that were requested since
	Waiting []Remark `json:"waiting,omitempty"` // for an answer, as they came
	Heard   []int64  `json:"heard,omitempty"`   // comments, the newest last
	Early   []Remark `json:"early,omitempty"`   // edits of comments that were not heard: they may have overtaken them
}

// A Remark is what somebody said in a discussion.
type Remark struct {
	Comment int64     `json:"comment,omitempty"` // its id on GitHub; 0 = the agent said it
	By      string    `json:"by,omitempty"`      // GitHub login
	ByID    int64     `json:"byId,omitempty"`    // GitHub's number of the account; 0 = not given
	Body    string    `json:"body"`
	At      time.Time `json:"at"`
}

const (
	// maxWaiting is how many comments wait at most, the newest ones: as many as a prompt shows.
	maxWaiting = 50
	// maxRemark is how much of a comment is kept, in bytes.
	maxRemark = 16 << 10
	// roomForAnswer is how much of an agent's answer is shown, in characters, below GitHub's limit of 65,536.
	roomForAnswer = 60_000
	// maxSaid is how much of a discussion a stage is told, in bytes: the newest.
	maxSaid = 64 << 10
	// maxHeard is how many comments are remembered, so that two hooks do not make two of one.
	maxHeard = 100
	// maxEarly is how many edits are kept for comments that may yet come.
	maxEarly = 5
)

// Commented says that somebody wrote a comment on the issue, or edited or deleted one.
type Commented struct {
	Remark          // as it is now
	Action string   // created, edited, deleted
	Labels []string // of the issue then
	Sender Person   // who did it, of another's comment too
}

// Needs implements Input.
func (in Commented) Needs(key string, issue int) Needs {
	return Needs{Sender: in.Sender, Intent: in.intent(events.WorkItem(key, issue))}
}

func (in Commented) decide(d *decision) { d.commented(in) }

// intent is the meaning of a comment: an answer to it, and to those before.
func (r Remark) intent(item string) string { return fmt.Sprintf("comment %s %d", item, r.Comment) }

// commented keeps what is said in a discussion, and begins a turn if nothing else is at work. The comment may overtake
// the news of the discussion's label.
func (d *decision) commented(in Commented) {
	t := &d.item.Talk
	if d.p.Labels.Discussion == "" || !t.On && !has(in.Labels, d.p.Labels.Discussion) {
		return
	}
	waits := slices.IndexFunc(t.Waiting, func(r Remark) bool { return r.Comment == in.Comment })
	if _, command := approval.ReadCommand(in.Body); command && in.Action == "edited" && in.Sender.ID == in.ByID {
		in.Action = "deleted" // what it said is said no more: it answers a request
	}
	if cause, why := d.notHeard(in); cause != "" {
		d.audit(actor(in.Sender), "comment.ignored", cause, "%d: %s", in.Comment, why)
		return
	}
	in.Body = plain.Cut(in.Body, maxRemark)
	switch {
	case in.Action == "deleted":
		t.Waiting, t.Early = withoutComment(t.Waiting, in.Comment), withoutComment(t.Early, in.Comment)
		t.hear(in.Comment)
	case in.Action == "edited" && waits >= 0:
		t.Waiting = slices.Clone(t.Waiting)
		t.Waiting[waits] = t.Waiting[waits].edited(in.Remark)
	case in.Action == "edited" && !slices.Contains(t.Heard, in.Comment):
		t.Early = newest(append(slices.Clone(t.Early), in.Remark), maxEarly)
	case in.Action == "created":
		for _, e := range t.Early {
			if e.Comment == in.Comment {
				in.Remark = in.Remark.edited(e)
			}
		}
		t.Early = withoutComment(t.Early, in.Comment)
		t.hear(in.Comment)
		t.Waiting = append(slices.Clone(t.Waiting), in.Remark)
		t.Waiting = newest(t.Waiting, maxWaiting)
		d.audit(actor(in.Sender), "comment.heard", "", "%d", in.Comment)
		d.turn()
	}
}

// hear remembers that a comment has been heard, or is never to be: it may come after the news that it was deleted.
func (t *Talk) hear(comment int64) {
	if !slices.Contains(t.Heard, comment) {
		t.Heard = newest(append(slices.Clone(t.Heard), comment), maxHeard)
	}
}

// edited is a comment with the text that it had last, by GitHub's time.
func (r Remark) edited(edit Remark) Remark {
	if !edit.At.Before(r.At) {
		r.Body, r.At = edit.Body, edit.At
	}
	return r
}

func withoutComment(all []Remark, comment int64) []Remark {
	return slices.DeleteFunc(slices.Clone(all), func(r Remark) bool { return r.Comment == comment })
}

// notHeard gives the reason why a comment says nothing to the agent, for programs and for people. Anybody may delete
// what is no longer to be said.
func (d *decision) notHeard(in Commented) (cause, why string) {
	if in.Action == "deleted" {
		return "", ""
	}
	if cause, why := d.mayTrigger(in.Sender); cause != "" {
		return cause, why
	}
	if in.Action == "created" && (d.item.IntentKnown || slices.Contains(d.item.Talk.Heard, in.Comment)) {
		return reason.IntentKnown, "The comment was heard already."
	}
	if _, command := approval.ReadCommand(in.Body); command {
		return reason.NotARemark, "The comment answers a request."
	}
	return "", ""
}

func newest[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }

// discuss begins a discussion when somebody with the right has set its label. The agent speaks first, unless something
// else is at work or about to begin.
func (d *decision) discuss(in Labeled, before Item) {
	label := d.p.Labels.Discussion
	if label == "" || !same(in.Label, label) || !has(d.item.Labels, label) || d.item.Talk.On || d.isOff(in, before) {
		return
	}
	cause, why := d.mayTrigger(in.Sender)
	if cause == "" && in.Rewriter != "" {
		cause, why = unseen(in.Rewriter)
	}
	if cause != "" {
		d.audit(actor(in.Sender), "label.ignored", cause, "%s: %s", in.Label, why)
		if d.isAnswered(in.Sender) {
			d.item.Answered = with(d.item.Answered, in.Label)
			d.note(in.Label, why)
		}
		return
	}
	d.item.Talk.On, d.item.Talk.Turns = true, 0
	d.item.Answered = without(d.item.Answered, label)
	d.item.Approved = d.task(in.Issue)
	d.audit(actor(in.Sender), "discussion.begun", "", "with the text %s as of %s", d.item.Approved.Digest(), stamp(d.item.Approved.At))
	switch {
	case d.item.IntentKnown: // within the same second it is no new act
	case len(d.open(in)) > 0: // its run goes first
	case len(d.item.Talk.Waiting) > 0:
		d.turn()
	default:
		d.turnOf(in.Sender, in.intent(d.item.repository(), d.item.Issue))
	}
}

// undiscuss ends the discussion when its label was taken off, whoever did it.
func (d *decision) undiscuss(in Edited) {
	if label := d.p.Labels.Discussion; label != "" && same(in.Label, label) && !has(d.item.Labels, label) {
		d.endDiscussion(actor(in.Sender))
	}
}

// endDiscussion forgets what waits for an answer and stops the turn at work. A label that is still there goes.
func (d *decision) endDiscussion(by string) {
	t := d.item.Talk
	d.item.Talk = Talk{Heard: t.Heard}
	if !t.On {
		return
	}
	d.audit(by, "discussion.ended", "", "after %d turns, with %d comments unanswered", t.Turns, len(t.Waiting))
	label := d.p.Labels.Discussion
	if has(d.item.Labels, label) {
		d.item.Answered = with(d.item.Answered, label)
	}
	switch {
	case d.item.stageRun() == nil:
		d.remark("Ended", label, "The label begins another discussion, that of a stage its work.")
	case strings.Contains(d.item.Note, code(label)):
		d.item.Note = ""
	}
	if d.item.active() && !d.item.working() {
		d.stop(Cancelled, reason.DiscussionEnded, "The discussion has ended.")
	}
}

// turn begins the next turn for all that waits, as the word of who spoke last, unless a run is active.
func (d *decision) turn() {
	t := d.item.Talk
	if !t.On || len(t.Waiting) == 0 || d.item.active() {
		return
	}
	last := t.Waiting[len(t.Waiting)-1]
	d.turnOf(Person{Login: last.By, ID: last.ByID}, last.intent(d.item.Key()))
}

func (d *decision) turnOf(by Person, intent string) {
	if d.item.active() {
		return
	}
	d.p = d.item.process() // that of a run which has just ended no longer counts
	t := Trigger{Stage: d.comingStage(), Kind: events.KindDiscussion}
	cause, why := d.gate(t)
	if most := d.p.Discussion.Turns; cause == "" && d.item.Talk.Turns >= most {
		cause, why = reason.DiscussionUsedUp, fmt.Sprintf("The discussion has had its %d answers. To go on with it, take the label off and set it again.", most)
	}
	if cause != "" {
		d.audit(actor(by), "comment.ignored", cause, "%s", why)
		d.remark("Not answered", d.p.Labels.Discussion, why)
		return
	}
	d.request(t, by, intent, nil)
}

// comingStage is the one that a discussion comes before: the next one of the item's profile, or the present one as long
// as it has not succeeded.
func (d *decision) comingStage() string {
	f, run := d.item.profile(d.p), d.item.stageRun()
	if run != nil && d.p.position(run.Stage) >= 0 {
		if next, more := d.p.nextOf(f, run.Stage); more && run.State == Succeeded {
			return next
		}
		return run.Stage
	}
	if f.Name == "" && len(d.p.Profiles) > 0 {
		f = d.p.Profiles[0]
	}
	return append(f.Stages, d.p.Stages[0].Name)[0]
}

// makeWay prepares the item for a run: it takes what waits for an answer into a turn. A run of a stage ends the turn at
// work, and is told what was discussed; a review is not, so that waits on. worked is for Item.Worked.
func (d *decision) makeWay(t Trigger) (worked *Run, talk []Remark) {
	waiting := d.item.Talk.Waiting
	d.item.Talk.Waiting = nil
	if t.Kind == events.KindDiscussion {
		d.item.Talk.Turns++
		return d.item.stageRun(), waiting
	}
	if d.item.active() {
		waiting = slices.Concat(d.item.Run.Talk, waiting)
		d.stop(Cancelled, reason.StageBegan, fmt.Sprintf("%s has begun.", code(d.p.LabelOf(t.Stage, t.Kind))))
	}
	if t.Kind == events.KindReview {
		d.item.Talk.Waiting = waiting
		return nil, nil
	}
	return nil, lastSaid(slices.Concat(d.item.Said, waiting))
}

// lastSaid is as much of a discussion as a stage is told.
func lastSaid(talk []Remark) []Remark {
	size := 0
	for i := len(talk) - 1; i >= 0; i-- {
		if size += len(talk[i].Body); size > maxSaid || len(talk)-i > maxWaiting {
			return talk[i+1:]
		}
	}
	return talk
}

// said ends a turn with what its agent has to say.
func (d *decision) said(in events.AgentReported) {
	run := d.item.Run
	run.ThreadID, run.Summary = in.ThreadID, in.Summary
	switch {
	case in.Outcome != "succeeded":
		d.finish(Failed, in.Reason, in.Summary)
	case strings.TrimSpace(in.Summary) == "":
		d.finish(Failed, reason.NoAnswer, "The agent ended without a word.")
	default:
		d.finish(Succeeded, "", "")
	}
}

// turnNext follows on a run that has ended: a turn's answer becomes a comment, and what was said meanwhile has its
// turn. What a failed turn should have answered waits for the next one, which somebody's comment begins. Who stops a
// run does not want another one at once.
func (d *decision) turnNext(s State) {
	run, t := d.item.Run, &d.item.Talk
	meanwhile := len(t.Waiting) > 0
	switch {
	case run.Kind != events.KindDiscussion:
	case s == Succeeded:
		d.emit(events.GitHubChangeRequested{
			Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue, RunID: run.ID,
			Note: &events.GitHubNote{Key: "turn/" + run.ID, Text: agent.Fit(run.Summary, roomForAnswer, agent.WithoutMiddle, agent.Harmless), Version: 1},
		})
	case s != Cancelled && t.On:
		t.Waiting = newest(slices.Concat(run.Talk, t.Waiting), maxWaiting)
		if !meanwhile {
			d.remark("Not answered", d.p.Labels.Discussion, "The agent could not answer. Write another comment to have it tried again.\n\n"+quote(run.Message, usual))
		}
	}
	if meanwhile && s != Cancelled {
		d.turn()
	}
}

// discussed says how the discussion stands; "" if there is none.
func discussed(p *Process, i Item) string {
	if !i.Talk.On {
		return ""
	}
	stands, more := "waiting for a comment", ""
	switch waiting := len(i.Talk.Waiting); {
	case i.working() && waiting > 0:
		stands = fmt.Sprintf("comments wait until the run has ended (%d)", waiting)
	case i.working():
		stands = "comments wait until the run has ended"
	case i.active():
		stands = words[i.Run.State]
		if i.Run.Reason != "" {
			stands += " (" + i.Run.Reason + ")"
		}
		if t := i.Run.Task; t != nil && len(t.Hidden) > 0 {
			more = "\n\n" + hidden(p, i, t)
		}
	}
	label := code(p.Labels.Discussion)
	return fmt.Sprintf("### %[1]s: %[2]s\n\nAn agent answers what people write here who may start runs, and changes nothing. A stage's label goes on from what was said. Take %[1]s off to end it.%[3]s",
		label, stands, more)
}
