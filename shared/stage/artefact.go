package stage

import (
	"slices"
	"strconv"
	"time"
)

// An Artefact is what a run has reported to have made, by a name that the process has among what its stage makes.
type Artefact struct {
	Stage, Name  string
	Value        string // the number of a pull request, the path of a file
	Run          string // id of the run that reported it first
	MadeAt       time.Time
	SupersededAt time.Time // by a later one of its stage and name; zero = it holds
}

// madePullRequest is the artefact whose value is the number of a pull request.
const madePullRequest = "pull_request"

// made keeps what the item's run has reported, if its stage makes such a thing. It takes the place of what the stage
// had of that name.
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

// makers are the stages that have made the item's pull request, the latest last. There are none of one that no run has
// reported: its run ended before it could, or is of the release before.
func (i *Item) makers() (stages []string) {
	for _, a := range i.Artefacts {
		if a.Name == madePullRequest && a.Value == strconv.Itoa(i.PullRequest) {
			stages = append(stages, a.Stage)
		}
	}
	return stages
}

// revises reports whether there is a pull request that a revise of the stage could go on with: not one that only others
// have made.
func (i *Item) revises(stage string) bool {
	by := i.makers()
	return i.PullRequest != 0 && (len(by) == 0 || slices.Contains(by, stage))
}

// reviewedStage is the one whose work a review of the pull request is about: that of the newest run, unless only others
// have made it.
func (i *Item) reviewedStage() string {
	by := i.makers()
	switch {
	case i.Run != nil && i.revises(i.Run.Stage):
		return i.Run.Stage
	case len(by) > 0:
		return by[len(by)-1]
	}
	return ""
}
