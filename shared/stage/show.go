package stage

import (
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
)

// shown is what GitHub is to show of a work item: a projection of its state, and nothing else.
type shown struct {
	comment  string
	on, off  []string // the labels for the state, on the issue
	onIssue  []string // set on the issue alone: a trigger that nobody set there, as a person approved it or gave a command; an open question
	answered []string // triggers to remove from the issue
	pulls    []shownPull
}

// shownPull is what GitHub is to show of a pull request.
type shownPull struct {
	number   int
	on, off  []string // the labels for its state
	answered []string // triggers to remove
	base     string   // branch that it is turned to; "" = it is left alone
}

func show(i Item) shown {
	p := i.process()
	s := shown{comment: Comment(p, i), answered: i.Answered}
	for _, pull := range i.Pulls {
		if i.Run != nil || len(pull.Answered) > 0 {
			s.pulls = append(s.pulls, showPull(p, i, pull))
		}
	}
	switch held := p.Labels.Held; {
	case i.isHeld():
		s.onIssue = append(s.onIssue, held)
	case held != "" && has(i.Labels, held):
		s.answered = append(slices.Clip(s.answered), held)
	}
	if i.Run == nil {
		return s // it has no other labels of ours yet
	}
	if i.active() && (strings.HasPrefix(i.Run.Intent, approvedIntent) || strings.HasPrefix(i.Run.Intent, commandIntent)) {
		s.onIssue = append(s.onIssue, p.LabelOf(i.Run.Stage, i.Run.Kind))
	}
	if i.NeedInput {
		s.onIssue = append(s.onIssue, p.Labels.NeedInput)
	}
	s.on, s.off = states(p, i, i.Current())
	return s
}

func showPull(p *Process, i Item, pull Pull) shownPull {
	s := shownPull{number: pull.Number, answered: pull.Answered, base: i.turned(pull)}
	if i.Run != nil {
		s.on, s.off = states(p, i, pull)
	}
	return s
}

// states are the labels that say how the pull request stands, and those that don't.
func states(p *Process, i Item, pull Pull) (on, off []string) {
	if pull.Superseded && p.Labels.Superseded != "" {
		return []string{p.Labels.Superseded}, []string{p.Labels.Approved, p.Labels.InReview}
	}
	_, approved := pull.approval()
	approved = approved && !(i.working() && i.Run.Stage == pull.Stage && i.Run.Kind != events.KindReview)
	inReview := !approved && pull.isOpen() && !pull.Draft && i.delivered(pull)
	off = make([]string, 0, 4)
	for _, l := range [...]struct {
		name string
		on   bool
	}{{p.Labels.Approved, approved}, {p.Labels.InReview, inReview}} {
		if l.on {
			on = append(on, l.name)
		} else {
			off = append(off, l.name)
		}
	}
	if i.Run.Process != nil { // which may have had other labels
		off = takeOff(on, off, i.Run.Process.Labels.Approved, i.Run.Process.Labels.InReview)
	}
	slices.Sort(off)
	return on, off
}

// takeOff adds to off what is not on.
func takeOff(on, off []string, labels ...string) []string {
	for _, l := range labels {
		if !has(on, l) && !has(off, l) {
			off = append(off, l)
		}
	}
	return off
}

// differs reports whether something has to change on the issue. A trigger that has already been removed needs no
// change.
func (s shown) differs(from shown) bool {
	return s.comment != from.comment || !slices.Equal(s.on, from.on) || !slices.Equal(s.onIssue, from.onIssue) || !subset(s.answered, from.answered)
}

func (s shownPull) differs(from shownPull) bool {
	return s.number != from.number || !slices.Equal(s.on, from.on) || s.base != "" && s.base != from.base || !subset(s.answered, from.answered)
}

// pull is what is shown of the one with that number.
func (s shown) pull(number int) shownPull {
	for _, p := range s.pulls {
		if p.number == number {
			return p
		}
	}
	return shownPull{}
}

func subset(labels, of []string) bool { return len(among(labels, of)) == len(labels) }

// tell asks for GitHub to show the item as it is now, if that differs from before: the issue with its current pull
// request, and each other pull request by itself. A note stays until the state moves on.
func (d *decision) tell(before Item) {
	if !d.noted && movedOn(before, d.item) {
		d.item.Note = ""
	}
	now, was := show(d.item), show(before)
	current := d.item.Current().Number
	changed := slices.DeleteFunc(slices.Clone(now.pulls), func(p shownPull) bool {
		return !p.differs(was.pull(p.number)) && !(d.redo && p.number == d.pull.Number)
	})
	if !now.differs(was) && len(changed) == 0 && d.status == nil && !d.redo {
		return
	}
	d.item.Version++
	now.off = takeOff(now.on, now.off, slices.Concat(was.on, was.off)...) // by another process it may have had others
	c := events.GitHubChangeRequested{
		Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue,
		Version: d.item.Version, Comment: now.comment, Status: d.status, Base: d.base,
		On: slices.Concat(now.on, now.onIssue), Off: slices.Concat(now.off, now.answered),
	}
	if d.item.Run != nil {
		c.RunID = d.item.Run.ID
	}
	if c.Base != "" {
		c.Branch = d.item.Run.branch(d.item.Issue)
	}
	d.emit(now.pull(current).in(c, was.pull(current)))
	for _, p := range changed {
		if p.number != current {
			alone := events.GitHubChangeRequested{Repository: c.Repository, RepositoryID: c.RepositoryID, Issue: c.Issue, RunID: c.RunID, Version: c.Version}
			d.emit(p.in(alone, was.pull(p.number)))
		}
	}
}

// in adds the pull request, if there is one, to what is asked of GitHub.
func (s shownPull) in(c events.GitHubChangeRequested, was shownPull) events.GitHubChangeRequested {
	if s.number == 0 {
		return c
	}
	c.PullRequest, c.PullOn, c.PullBase = s.number, s.on, s.base
	c.PullOff = slices.Concat(takeOff(s.on, s.off, slices.Concat(was.on, was.off)...), s.answered)
	return c
}

// movedOn reports whether what a person was told is out of date.
func movedOn(before, now Item) bool {
	old, pull := before.Current(), now.Current()
	_, was := old.approval()
	_, is := pull.approval()
	return was != is || before.NeedInput != now.NeedInput || (before.Held == nil) != (now.Held == nil) || old.Closed != pull.Closed || old.Draft != pull.Draft ||
		now.Run != nil && (before.Run == nil || before.Run.ID != now.Run.ID || !before.Run.State.Final() && now.Run.State.Final())
}

// note shows people, next to the state, why something was not started.
func (d *decision) note(what, why string) { d.remark("Not started", what, why) }

// remark shows people a message next to the state.
func (d *decision) remark(verdict, what, why string) {
	d.item.Note, d.noted = fmt.Sprintf("**%s** (%s): %s", verdict, code(what), why), true
}

// adrift has a label put right that says how the item stands, when a person sets or removes it: only the platform
// does. What a program does is put right with the next change, lest two fight.
func (d *decision) adrift(label string, set bool, by Person) {
	s := show(d.item)
	d.putRight(label, set, by, d.item.Labels, s.on, s.off)
}

// adriftOnPull is adrift for the pull request that the event is about.
func (d *decision) adriftOnPull(label string, set bool, by Person) {
	s := showPull(d.item.process(), d.item, *d.pull)
	d.putRight(label, set, by, d.pull.Labels, s.on, s.off)
}

// putRight does so if the label, which was set or removed, is where it should not be. there are those that stand
// there.
func (d *decision) putRight(label string, set bool, by Person, there, on, off []string) {
	if by.Bot || has(there, label) != set || !(set && has(off, label) || !set && has(on, label)) {
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
