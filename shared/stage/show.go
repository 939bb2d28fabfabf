package stage

import (
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
)

// shown is what GitHub is to show of a work item: a projection of its state, and nothing else.
type shown struct {
	comment         string
	on, off         []string // the labels for the state, on issue and pull request
	onIssue         []string // set on the issue alone: a trigger that an agent wanted and a person approved, an open question
	answered        []string // triggers to remove from the issue
	answeredPull    []string // triggers to remove from the pull request
	withPullRequest bool
}

func show(i Item) shown {
	p := i.process()
	s := shown{
		comment: Comment(p, i), answered: i.Answered, answeredPull: i.Pull.Answered,
		withPullRequest: i.Pull.Number != 0 && (i.Run != nil || len(i.Pull.Answered) > 0),
	}
	if i.Run == nil {
		return s // it has no labels of ours yet
	}
	if i.active() && strings.HasPrefix(i.Run.Intent, approvedIntent) {
		s.onIssue = []string{p.LabelOf(i.Run.Stage, i.Run.Kind)}
	}
	if i.NeedInput {
		s.onIssue = append(s.onIssue, p.Labels.NeedInput)
	}
	_, approved := i.approval()
	approved = approved && !(i.working() && i.Run.Kind != events.KindReview)
	inReview := !approved && i.Pull.Number != 0 && !i.Pull.Closed && !i.Pull.Draft && i.delivered()
	s.off = make([]string, 0, 4)
	for _, l := range [...]struct {
		name string
		on   bool
	}{{p.Labels.Approved, approved}, {p.Labels.InReview, inReview}} {
		if l.on {
			s.on = append(s.on, l.name)
		} else {
			s.off = append(s.off, l.name)
		}
	}
	if i.Run.Process != nil { // which may have had other labels
		s.takeOff(i.Run.Process.Labels.Approved, i.Run.Process.Labels.InReview)
	}
	slices.Sort(s.off)
	return s
}

// takeOff adds to off what is not on.
func (s *shown) takeOff(labels ...string) {
	for _, l := range labels {
		if !has(s.on, l) && !has(s.off, l) {
			s.off = append(s.off, l)
		}
	}
}

// differs reports whether something has to change on GitHub. A trigger that has already been removed needs no change.
func (s shown) differs(from shown) bool {
	return s.comment != from.comment || !slices.Equal(s.on, from.on) || !slices.Equal(s.onIssue, from.onIssue) || s.withPullRequest != from.withPullRequest ||
		!subset(s.answered, from.answered) || !subset(s.answeredPull, from.answeredPull)
}

func subset(labels, of []string) bool { return len(among(labels, of)) == len(labels) }

// tell asks for GitHub to show the item as it is now, if that differs from before. A note stays until the state moves
// on.
func (d *decision) tell(before Item) {
	if !d.noted && movedOn(before, d.item) {
		d.item.Note = ""
	}
	now, was := show(d.item), show(before)
	if !now.differs(was) && d.status == nil && !d.redo {
		return
	}
	now.takeOff(slices.Concat(was.on, was.off)...) // by another process it may have had others
	d.item.Version++
	c := events.GitHubChangeRequested{
		Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue, PullRequest: d.item.Pull.Number,
		Version: d.item.Version, Comment: now.comment, Status: d.status, Base: d.base,
		On: slices.Concat(now.on, now.onIssue), Off: slices.Concat(now.off, now.answered),
	}
	if now.withPullRequest {
		c.PullOn, c.PullOff = now.on, slices.Concat(now.off, now.answeredPull)
	}
	if d.item.Run != nil {
		c.RunID = d.item.Run.ID
	}
	d.emit(c)
}

// movedOn reports whether what a person was told is out of date.
func movedOn(before, now Item) bool {
	_, was := before.approval()
	_, is := now.approval()
	return was != is || before.NeedInput != now.NeedInput || before.Pull.Closed != now.Pull.Closed || before.Pull.Draft != now.Pull.Draft ||
		now.Run != nil && (before.Run == nil || before.Run.ID != now.Run.ID || !before.Run.State.Final() && now.Run.State.Final())
}

// note shows people, next to the state, why something was not started.
func (d *decision) note(what, why string) { d.remark("Not started", what, why) }

// remark shows people a message next to the state.
func (d *decision) remark(verdict, what, why string) {
	d.item.Note, d.noted = fmt.Sprintf("**%s** (%s): %s", verdict, code(what), why), true
}

// adrift has a label put right that says how the item stands, when a person sets or removes it: only the platform does.
// there are the labels where that was. What a program does is put right with the next change, lest two fight.
func (d *decision) adrift(label string, set bool, by Person, there []string) {
	s := show(d.item)
	if by.Bot || has(there, label) != set || !(set && has(s.off, label) || !set && has(s.on, label)) {
		return
	}
	d.redo = true
	d.audit(actor(by), "label.repaired", "", "%s set=%t", label, set)
	if !d.isAnswered(by) {
		return
	}
	way := "An approving review of the last commit brings it."
	if same(label, d.p.Labels.InReview) {
		way = "It says that a pull request of an agent waits for a review."
	}
	d.remark("Put right", label, "Only the platform sets and removes this label. "+way)
}
