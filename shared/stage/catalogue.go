package stage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
)

// GitHub's limits of a label, in characters.
// https://docs.github.com/en/rest/issues/labels#create-a-label
const (
	maxLabel       = 50
	maxDescription = 100
)

// Catalogue are all labels of the process as a repository has them, those that start something first.
func (p *Process) Catalogue() []events.RepositoryLabel {
	all := p.names()
	labels := make([]events.RepositoryLabel, len(all))
	for i, n := range all {
		labels[i] = events.RepositoryLabel{Name: n.label, Colour: n.colour, Description: n.about}
	}
	return labels
}

// The colours say what kind a label is of.
const (
	blue   = "1d76db" // starts a stage
	sky    = "c5def5" // reworks what it made
	red    = "b60205" // stops
	rose   = "e99695" // blocks
	green  = "0e8a16" // is done
	amber  = "fbca04" // waits for somebody
	grey   = "cfd3d7" // no longer counts
	violet = "5319e7" // another way to work
	lilac  = "d4c5f9" // a choice for the next run
	teal   = "bfdadc" // a choice for the issue
)

// What a label is to whoever sets it.
type meaning int

const (
	inert     meaning = iota // starts nothing
	starting                 // a stage
	elsewhere                // checked by another rule
)

// A name is a label as GitHub shows it, and where the process has it from.
type name struct {
	label, colour, about string
	owner                string
	path                 []any // in the process's file
	is                   meaning
}

// names are all labels of the process with their owners. One that it must have and doesn't has no name.
func (p *Process) names() (all []name) {
	l := p.Labels
	for i, s := range p.Stages {
		at := []any{"stages", i, "label"}
		about := cmp.Or(s.About, "An agent works on the stage "+s.Name)
		all = append(all, name{s.Label, blue, about, "stage " + s.Name, at, starting},
			name{s.Label + l.Revise, sky, "Reworks what the stage " + s.Name + " made", "the revise of stage " + s.Name, at, elsewhere})
	}
	of := func(key, label, colour, about string) {
		all = append(all, name{label, colour, about, key, []any{"labels", key}, inert})
	}
	of("abort", l.Abort, red, "Stops the run")
	all[len(all)-1].is = elsewhere
	of("blocked", l.Blocked, rose, "Nothing starts while this is set")
	of("inReview", l.InReview, amber, "Waits for people to review it; the platform sets this")
	of("approved", l.Approved, green, "Somebody with the right has approved the last commit; the platform sets this")
	of("needInput", l.NeedInput, amber, "A question is open; nothing starts while this is set")
	optional := func(key, label, colour, about string) {
		if label != "" {
			of(key, label, colour, about)
		}
	}
	optional("held", l.Held, rose, "Too much was asked for at once; take this off to start what was asked for here")
	optional("superseded", l.Superseded, grey, "Something newer has taken its place")
	optional("abandoned", l.Abandoned, grey, "Nobody works on this any more")
	optional("reviewer", l.Reviewer, amber, "On a pull request: an agent reviews it")
	optional("discussion", l.Discussion, violet, "An agent answers comments and changes nothing")
	for _, label := range l.Needs {
		_, role, _ := strings.Cut(label, ":")
		optional("needs", label, amber, "Somebody's word is wanted: "+cmp.Or(role, label))
	}
	return append(all, p.choices()...)
}

// choices are the labels that choose a profile, a model or an effort.
func (p *Process) choices() (all []name) {
	of := func(pattern, value, owner, colour, about string, path ...any) {
		if strings.Count(pattern, "*") == 1 {
			all = append(all, name{strings.Replace(pattern, "*", value, 1), colour, about, owner, path, inert})
		}
	}
	for i, f := range p.Profiles {
		about := fmt.Sprintf("The issue goes through %d of the stages", len(f.Stages))
		of(p.Labels.Profile, f.Name, "profile "+f.Name, teal, about, "profiles", i)
	}
	for _, m := range p.Models.Allowed {
		of(p.Models.Label, m, "model "+m, lilac, "The next run's model is "+m, "models", "allowed")
	}
	for _, word := range slices.Sorted(maps.Keys(p.Reasoning.Allowed)) {
		of(p.Reasoning.Label, word, "effort "+word, lilac, "The next run's model thinks with this effort: "+word, "reasoning", "allowed")
	}
	return all
}
