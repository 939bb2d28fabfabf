package stage

import (
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// The gates of a stage. Before a run has a Job, the files that it works from must be there: on the issue's branch,
// where its agent would go on, or on the base branch. After its agent has reported, those that the stage makes must be
// at the commit that it reported, written to the end, and its pull request within the write scope. github-caller says
// what GitHub has, so neither gate believes an agent.

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
	var missing []string
	for _, f := range in.Files {
		if f.In == "" || f.Size == 0 {
			missing = append(missing, d.lacks(f))
		}
	}
	if len(missing) == 0 {
		return "", ""
	}
	return reason.ArtefactMissing, fmt.Sprintf("The stage works from files that are neither on branch `%s` nor on `%s`:\n\n%s\n\nHave the stage make them whose label is named, or put them there.",
		Branch(d.item.Issue), d.item.BaseBranch, strings.Join(missing, "\n"))
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
	if run.Grant != nil {
		write = run.Grant.Write
	}
	d.audit("agent:"+in.RunID, "agent.reported", "", "%s with #%d", in.HeadSHA, in.PullRequest)
	d.emit(events.GitHubLookupRequested{
		RunRef: d.item.Ref(), Attempt: run.Attempt, Files: files, Head: in.HeadSHA, PullRequest: in.PullRequest, Branch: Branch(d.item.Issue),
		Write: write,
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
	d.item.Pull.Delivered = true
	d.finish(Succeeded, "", "")
}
