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

// inspect has GitHub asked for what the run has left, once; it reports whether the stage makes files at all.
func (d *decision) inspect(in events.AgentReported) bool {
	run := d.item.Run
	files := run.Makes(d.item.Issue)
	if len(files) == 0 {
		return false
	}
	if run.Delivered != "" {
		d.audit("agent:"+in.RunID, "agent.reported.late", "known", "its commit %s is being looked at", run.Delivered)
		return true
	}
	if in.HeadSHA == "" || in.PullRequest == 0 {
		d.finish(Failed, reason.ArtefactsIncomplete, "The agent reported no pull request and commit that could be looked at.")
		return true
	}
	run.Delivered, run.Reason, run.Message = in.HeadSHA, "", ""
	var write []string
	_, words := run.reopening(d.item.Issue)
	if run.Grant != nil {
		write = run.Grant.Write
	}
	d.audit("agent:"+in.RunID, "agent.reported", "", "%s with #%d", in.HeadSHA, in.PullRequest)
	d.emit(events.GitHubLookupRequested{
		RunRef: d.item.Ref(), Attempt: run.Attempt, Files: files, Head: in.HeadSHA, PullRequest: in.PullRequest, Branch: run.branch(d.item.Issue),
		Write: write, Words: words,
	})
	return true
}

// inspected ends the run by what GitHub has of what it was to leave. What is missing is for people to decide.
func (d *decision) inspected(in events.GitHubLookedUp) {
	run := d.item.Run
	if !d.item.active() || run.Delivered != in.Head {
		d.audit(platform, "github.looked_up.late", "run_"+string(run.State), "%s", in.Head)
		return
	}
	if in.Reason != "" {
		d.finish(Failed, reason.ArtefactsUnreadable, "What the agent has left could not be looked at: "+in.Message)
		return
	}
	var faults []string
	for _, f := range in.Files {
		switch {
		case f.In == "":
			faults = append(faults, "- "+code(f.Path)+" is missing")
		case len(f.Faults) > 0:
			faults = append(faults, "- "+code(f.Path)+": "+strings.Join(f.Faults, "; "))
		}
	}
	for _, path := range in.Outside {
		faults = append(faults, "- "+code(path)+" is changed, which the stage may not do")
	}
	if len(faults) > 0 {
		d.item.NeedInput = true
		d.finish(Failed, reason.ArtefactsIncomplete, fmt.Sprintf("The stage's work is not complete at %s:\n\n%s", short(in.Head), strings.Join(faults, "\n")))
		return
	}
	for _, name := range run.Process.Stage(run.Stage).Makes {
		for _, path := range run.Process.files([]string{name}, d.item.Issue) {
			d.made(name, path)
		}
	}
	d.pull.Delivered = true
	d.reopen(in.Files)
	d.finish(Succeeded, "", "")
}
