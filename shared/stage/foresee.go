package stage

import (
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
)

// A Change is what a decision comes to, for people.
type Change struct {
	Started *Run   // nil = it starts no run
	Ended   *Run   // nil = it ends none
	Reason  string // why a label or a review has no effect, of package reason; "" = it has one, or asks for nothing
	Why     string // the same for a person

	LabelsOn, LabelsOff []string // of the issue, compared with what GitHub shows
	PullOn, PullOff     []string // of its pull requests
	Was, Comment        string   // the status comment before and after
}

// Changed compares a work item before a decision with the decision's result.
func Changed(before, after Item, d events.Decision) Change {
	was, is := show(before), show(after)
	c := Change{Was: was.comment, Comment: is.comment}
	run := after.Run
	switch {
	case run == nil:
	case before.Run == nil || before.Run.ID != run.ID:
		c.Started = run
	case run.State.Final() && before.active():
		c.Ended = run
	}
	for _, r := range d.Audit {
		if strings.HasSuffix(r.Action, ".ignored") || r.Action == "label.held" {
			c.Reason, c.Why = r.Reason, r.Detail
		}
	}
	for _, draft := range d.Emit {
		if g, ok := draft.Payload.(events.GitHubChangeRequested); ok {
			pull := after.PullOf(g.PullRequest)
			c.LabelsOn, c.LabelsOff = append(c.LabelsOn, missing(g.On, after.Labels)...), append(c.LabelsOff, among(g.Off, after.Labels)...)
			c.PullOn, c.PullOff = append(c.PullOn, missing(g.PullOn, pull.Labels)...), append(c.PullOff, among(g.PullOff, pull.Labels)...)
		}
	}
	return c
}

func missing(labels, from []string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return has(from, l) })
}

// Foresee is Decide for something that has not happened: see IfLabeled and the like. A label is set as if it had been
// off before.
func Foresee(item Item, in Input, now time.Time) (Item, events.Decision, Change, error) {
	if l, ok := in.(Labeled); ok {
		item.Labels = without(item.Labels, l.Label)
		if l.Pull != nil {
			item.Pulls = slices.Clone(item.Pulls)
			for i := range item.Pulls {
				item.Pulls[i].Labels = without(item.Pulls[i].Labels, l.Label)
			}
		}
	}
	after, d, err := Decide(item, in, now)
	return after, d, Changed(item, after, d), err
}

// Does says in a word what it comes to: starts, stops, changes, nothing.
func (c Change) Does() string {
	switch {
	case c.Started != nil:
		return "starts"
	case c.Ended != nil:
		return "stops"
	case c.Reason == "":
		return "changes"
	}
	return "nothing"
}

// Position is the place that the item's run, just requested, would have among those of its project that wait; 0 = it
// would start at once.
func (i *Item) Position(s project.Settings, places []Place, now time.Time) int {
	run := *i.Run
	for _, a := range Admit(s, append(places, Place{Run: run, Repository: i.Repository, Issue: i.Issue}), now) {
		if a.ID == run.ID {
			return a.Position
		}
	}
	return 0
}

// IfLabeled is the input of a person who sets a label on the issue now; or on its pull request, if there is one and the
// label is for that.
func (i *Item) IfLabeled(label string, by Person, now time.Time) Labeled {
	if t, _, _ := i.process().Trigger(label); t.Kind == events.KindReview && i.Current().Number != 0 {
		pull := i.asPull(now)
		pull.Labels = with(without(pull.Labels, label), label)
		return Labeled{Pull: &pull, Label: label, At: later(now, i.ActedAt), Sender: by}
	}
	issue := i.asIssue(now)
	issue.Labels = with(without(i.Labels, label), label)
	return Labeled{Issue: issue, Label: label, At: later(now, i.ActedAt), Sender: by}
}

// IfEdited is the input of a person who does something else to the issue now: closed, reopened, deleted, transferred.
func (i *Item) IfEdited(action string, by Person, now time.Time) Edited {
	issue := i.asIssue(now)
	issue.Closed = action == "closed" || action != "reopened" && i.Closed
	return Edited{Issue: issue, Action: action, Sender: by}
}

// IfReviewed is the input of a person who reviews the item's current pull request now, at its last commit: approved,
// changes_requested.
func (i *Item) IfReviewed(state string, by Person, now time.Time) Reviewed {
	return Reviewed{
		Review: Review{ID: -1, Author: by.Login}, State: state, CommitSHA: i.Current().HeadSHA, At: later(now, i.ActedAt), Pull: i.asPull(now), Sender: by,
	}
}

// IfCommented is the input of a person who writes a comment on the issue now.
func (i *Item) IfCommented(text string, by Person, now time.Time) Commented {
	return Commented{Remark: Remark{Comment: -1, By: by.Login, ByID: by.ID, Body: text, At: now}, Action: "created", Labels: i.Labels, Sender: by}
}

// IfPullChanged is the input of a person who closes or merges the item's current pull request now, or reopens it:
// closed, merged, reopened.
func (i *Item) IfPullChanged(action string, by Person, now time.Time) PullRequestChanged {
	pull := i.asPull(now)
	pull.Merged = pull.Merged || action == "merged"
	pull.State = map[bool]string{true: "open", false: "closed"}[action == "reopened"]
	return PullRequestChanged{Pull: pull, Action: action, Sender: by}
}

func (i *Item) asIssue(now time.Time) Issue {
	return Issue{
		Title: i.Title, Body: i.Body, URL: i.URL, BaseBranch: i.BaseBranch, CloneURL: i.CloneURL, Labels: i.Labels, Closed: i.Closed,
		UpdatedAt: later(now, i.UpdatedAt),
	}
}

func (i *Item) asPull(now time.Time) PullRequest {
	is := i.Current()
	p := PullRequest{
		Number: is.Number, Branch: is.Branch, URL: is.URL, HeadSHA: is.HeadSHA, Base: is.Base, State: "open", Merged: is.Merged,
		Labels: is.Labels, UpdatedAt: later(now, is.UpdatedAt),
	}
	if is.Closed {
		p.State = "closed"
	}
	return p
}

// A Prospect is what a person with the right would reach by an act now.
type Prospect struct {
	Act string // a label, or a review: approved, changes_requested
	Change
}

// Prospects are what each label that starts or stops something would do if a maintainer set it now, and each review.
// The item must be loaded as for a label.
func Prospects(item Item, now time.Time) ([]Prospect, error) {
	if item.Project != nil {
		p := *item.Project
		p.SenderRole, p.LoginTaken = access.Maintainer, 0
		item.Project = &p
	}
	by := Person{Login: "maintainer"}
	acts := map[string]Input{}
	var names []string
	p := item.process()
	for _, s := range p.Stages {
		names = append(names, s.Label, s.Label+p.Labels.Revise)
	}
	names = append(names, p.Labels.Abort)
	if item.Current().Number != 0 && p.Labels.Reviewer != "" {
		names = append(names, p.Labels.Reviewer)
	}
	if label := p.Labels.Discussion; label != "" && !item.Talk.On {
		names = append(names, label)
	}
	for _, label := range names {
		acts[label] = item.IfLabeled(label, by, now)
	}
	if item.Current().Number != 0 {
		for _, state := range []string{"approved", "changes_requested"} {
			names = append(names, state)
			acts[state] = item.IfReviewed(state, by, now)
		}
	}
	all := make([]Prospect, 0, len(names))
	for _, name := range names {
		_, _, c, err := Foresee(item, acts[name], now)
		if err != nil {
			return nil, err
		}
		all = append(all, Prospect{name, c})
	}
	return all, nil
}

// Projection is the labels for the item's state that the platform shows.
func (i *Item) Projection() []string {
	on := show(*i).on
	slices.Sort(on)
	return on
}
