package stage

import (
	"fmt"
	"slices"

	"codexk8s.dev/shared/events"
)

// A rethink reopens an earlier stage: the one whose label its document names. What later stages made no longer counts:
// it is marked superseded, no stage begins upon it, and what needs it waits until it is made anew. Its pull requests
// get a label that says so, and are for people to close.

// reopening are the labels of which the run's document may name one, and the path of that document.
func (r *Run) reopening(issue int) (path string, labels []string) {
	s := r.Process.Stage(r.Stage)
	for _, file := range r.Process.files([]string{s.Reopens}, issue) {
		path = file
	}
	for _, other := range r.Process.Stages {
		if path != "" && r.Process.inProfiles(other.Name) {
			labels = append(labels, other.Label)
		}
	}
	return path, labels
}

// reopen begins the item again at the stage that the run's document names.
func (d *decision) reopen(files []events.FoundFile) {
	run := d.item.Run
	path, _ := run.reopening(d.item.Issue)
	at := slices.IndexFunc(files, func(f events.FoundFile) bool { return f.Path == path && f.Says != "" })
	if at < 0 {
		return
	}
	t, known, _ := run.Process.Trigger(files[at].Says)
	if !known || t.Stage == "" {
		return
	}
	run.Reopens = t.Stage
	var what []string
	d.item.Artefacts = slices.Clone(d.item.Artefacts)
	for i := range d.item.Artefacts {
		if a := &d.item.Artefacts[i]; a.SupersededAt.IsZero() && a.Stage != run.Stage && run.Process.after(a.Stage, t.Stage) {
			a.SupersededAt = d.now
		}
	}
	for i := range d.item.Pulls {
		if p := &d.item.Pulls[i]; !p.Superseded && p.Stage != run.Stage && run.Process.after(p.Stage, t.Stage) {
			p.Superseded = true
			d.supersede(*p)
			what = append(what, fmt.Sprintf("#%d", p.Number))
		}
	}
	d.audit("agent:"+run.ID, "stage.reopened", "", "%s; superseded: %v", t.Stage, what)
}

// supersede tells on the pull request itself, once, that it no longer counts: who reviews it may not read the issue.
func (d *decision) supersede(p Pull) {
	if !p.isOpen() {
		return
	}
	run := d.item.Run
	d.emit(events.GitHubChangeRequested{
		Repository: d.item.Repository, RepositoryID: d.item.RepositoryID, Issue: d.item.Issue, RunID: run.ID,
		Note: &events.GitHubNote{Key: fmt.Sprintf("superseded/%d", p.Number), On: p.Number, Version: 1, Text: fmt.Sprintf(
			"This pull request no longer counts: #%d was thought through again and goes on from %s. What is still of use here, its next run may take over. Close it when you have read it.",
			d.item.Issue, code(run.Process.LabelOf(run.Reopens, events.KindWork)))},
	})
}

// after reports whether the stage comes after another one in the canonical order.
func (p *Process) after(stage, other string) bool { return p.position(stage) > p.position(other) }

// superseded are those of the artefacts that count no longer.
func (d *decision) superseded(names []string) (gone []string) {
	for _, n := range names {
		made := func(a Artefact) bool { return a.Name == n }
		current := func(a Artefact) bool { return a.Name == n && a.SupersededAt.IsZero() }
		if slices.ContainsFunc(d.item.Artefacts, made) && !slices.ContainsFunc(d.item.Artefacts, current) {
			gone = append(gone, n)
		}
	}
	return gone
}

// stale says why a stage is not entered: something that it needs was superseded and is not made anew.
func (d *decision) stale(t Trigger) (why string) {
	if t.Kind != events.KindWork {
		return ""
	}
	gone := d.superseded(d.required(t.Stage))
	if len(gone) == 0 {
		return ""
	}
	var labels []string
	for _, s := range d.p.Stages {
		if slices.ContainsFunc(s.Makes, func(n string) bool { return slices.Contains(gone, n) }) {
			labels = append(labels, s.Label)
		}
	}
	return fmt.Sprintf("The stage works from what no longer counts since the issue was thought through again: %s. It is made anew by %s, then set the label again.", quoted(gone), quoted(labels))
}
