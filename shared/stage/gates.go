package stage

import (
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// The gates of a stage. Before a run has a Job, the files that it works from must be there: on its own branch, where
// its agent would go on, in an open pull request of an earlier stage, from which it then begins, or on the base
// branch. After its agent has reported, those that the stage makes must be at the commit that it reported, written to
// the end, and its pull request within the write scope. github-caller says what GitHub has, so neither gate believes
// an agent.

// files are the artefacts of those names that are files, by their paths for the issue.
func (p *Process) files(names []string, issue int) (paths []string) {
	for _, n := range names {
		if a := p.Artefact(n); a.Path != "" {
			paths = append(paths, a.PathFor(issue))
		}
	}
	return paths
}

// needs are the paths of files without which the run does not begin. Only work does not begin with a pull request.
func (r *Run) needs(issue int) []string {
	if r.Grant == nil || r.Kind != events.KindWork {
		return nil
	}
	return r.Process.files(r.Grant.Needs, issue)
}

// reads are the paths of all files that the run works from. Those that it does not need say where it begins.
func (r *Run) reads(issue int) []string {
	s := r.Process.Stage(r.Stage)
	return r.Process.files(slices.Concat(s.Needs, s.Reads), issue)
}

// Makes are the paths of files that the run is to leave.
func (r *Run) Makes(issue int) []string {
	return r.Process.files(r.Process.Stage(r.Stage).Makes, issue)
}

// required are the artefacts that a run of the stage needs, by the item's profile.
func (d *decision) required(stage string) (names []string) {
	for _, a := range d.p.Required(stage, d.item.profile(d.p).Name) {
		names = append(names, a.Name)
	}
	return names
}

// unfit says why a run can't begin with what the repository has.
func (d *decision) unfit(in events.GitHubLookedUp) (cause, why string) {
	switch {
	case in.Reason != "" && len(in.Files) == 0:
		return reason.ServicesUnreadable, "The project's services are not known: " + in.Message
	case in.Reason != "":
		return reason.ArtefactsUnreadable, "What the stage works from is not known: " + in.Message
	}
	run := d.item.Run
	needs := run.needs(d.item.Issue)
	var missing, elsewhere []string
	for _, f := range in.Files {
		switch {
		case !slices.Contains(needs, f.Path):
		case f.In == "" || f.Size == 0:
			missing = append(missing, d.lacks(f))
		case in.From != "" && f.In != in.From:
			elsewhere = append(elsewhere, fmt.Sprintf("- %s is on %s", code(f.Path), d.place(f.In)))
		}
	}
	switch {
	case len(missing) > 0:
		return reason.ArtefactMissing, fmt.Sprintf("The stage works from files that are neither on branch `%s` nor in an open pull request of the issue:\n\n%s\n\nHave the stage make them whose label is named, or put them there.",
			d.item.BaseBranch, strings.Join(missing, "\n"))
	case len(elsewhere) > 0:
		return reason.ArtefactMissing, fmt.Sprintf("No branch has all files that the stage works from. Of what %s lacks:\n\n%s\n\nMerge those pull requests, oldest first, then set the label again.",
			d.place(in.From), strings.Join(elsewhere, "\n"))
	}
	return "", ""
}

// place names a branch for people, with its pull request.
func (d *decision) place(branch string) string {
	for _, p := range d.item.Pulls {
		if p.Branch == branch {
			return fmt.Sprintf("%s (#%d)", code(branch), p.Number)
		}
	}
	return code(branch)
}

// lacks says in one line of a list which file is not there, and which label's stage makes it.
func (d *decision) lacks(f events.FoundFile) string {
	line := "- " + code(f.Path)
	if f.In != "" {
		line += " is empty"
	}
	for _, s := range d.item.Run.Process.Stages {
		if slices.Contains(d.item.Run.Process.files(s.Makes, d.item.Issue), f.Path) {
			return line + ", made by " + code(s.Label)
		}
	}
	return line
}
