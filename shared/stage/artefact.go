package stage

import (
	"slices"
	"strconv"
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

// makers are the stages that made the item's pull request, the latest last. There are none if no run reported it,
// because the run ended before it could or belongs to the previous release.
func (i *Item) makers() (stages []string) {
	for _, a := range i.Artefacts {
		if a.Name == madePullRequest && a.Value == strconv.Itoa(i.Pull.Number) {
			stages = append(stages, a.Stage)
		}
	}
	return stages
}

// revises reports whether there is a pull request that a revise of the stage can work on: not one that only other
// stages made.
func (i *Item) revises(stage string) bool {
	by := i.makers()
	return i.Pull.Number != 0 && (len(by) == 0 || slices.Contains(by, stage))
}

// reviewedStage is the stage whose work a review of the pull request is about: that of the newest run, unless only
// other stages made it.
func (i *Item) reviewedStage() string {
	by, run := i.makers(), i.stageRun()
	switch {
	case run != nil && i.revises(run.Stage):
		return run.Stage
	case len(by) > 0:
		return by[len(by)-1]
	}
	return ""
}
