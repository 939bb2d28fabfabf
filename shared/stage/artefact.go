package stage

import (
	"slices"
	"time"
)

// An Artefact is something that a run reported it made, under one of the names that the process lists for its stage.
type Artefact struct {
	Stage, Name  string
	Value        string // the number of a pull request, the path of a file
	Run          string // id of the run that reported it first
	MadeAt       time.Time
	SupersededAt time.Time // by a later one of the same stage and name; zero = it is current
}

// madePullRequest is the artefact whose value is the number of a pull request.
const madePullRequest = "pull_request"

// made keeps what the item's run reported, if its stage makes such a thing. It replaces the stage's previous artefact
// of that name.
func (d *decision) made(name, value string) {
	run := d.item.Run
	if !slices.Contains(d.p.Stage(run.Stage).Makes, name) {
		return
	}
	all, known := slices.Clone(d.item.Artefacts), false
	for i, a := range all {
		if a.Stage != run.Stage || a.Name != name {
			continue
		}
		switch {
		case a.Value == value:
			all[i].SupersededAt, known = time.Time{}, true
		case a.SupersededAt.IsZero():
			all[i].SupersededAt = d.now
		}
	}
	if !known {
		all = append(all, Artefact{Stage: run.Stage, Name: name, Value: value, Run: run.ID, MadeAt: d.now})
	}
	d.item.Artefacts = all
}
