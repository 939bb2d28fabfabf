package stage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/tool"
)

// A pre-review is a run of the kind review, which a label on a pull request of ours starts: an agent of the role
// reviewer reads what a stage has made. What it writes becomes one review of the pull request, which github-caller
// leaves. It approves nothing and requests nothing, so it holds up no merge and starts no revise: people do, who have
// read it. The label stays until the run is over.

// reviewerRole is the role of those who review.
const reviewerRole = "reviewer"

// asksReview reports whether the label asks for a pre-review. Whoever sets it is told why there is none, members or
// not: unlike a trigger it looks like a call for people, who would wait for each other.
func (d *decision) asksReview(label string) bool {
	t, _, _ := d.p.Trigger(label)
	return t.Kind == events.KindReview
}

// nothingToReview says why there is no pull request to be reviewed.
func (d *decision) nothingToReview(in Labeled, t Trigger) (cause, why string) {
	label, current := d.p.Labels.Reviewer, d.item.Current()
	switch {
	case in.Pull == nil && current.isOpen():
		return reason.LabelMisplaced, fmt.Sprintf("%s is for a pull request. Set it on #%d.", code(label), current.Number)
	case in.Pull == nil:
		return reason.LabelMisplaced, fmt.Sprintf("%s is for a pull request, and this issue has none that is open.", code(label))
	case d.pull.Merged:
		return reason.PullRequestMerged, fmt.Sprintf("Pull request #%d is merged, there is nothing left to review.", in.Pull.Number)
	case d.pull.Closed:
		return reason.PullRequestClosed, fmt.Sprintf("Pull request #%d is closed. Reopen it, then set the label again.", in.Pull.Number)
	case d.pull.Reviewed != "" && d.pull.Reviewed == d.pull.HeadSHA:
		return reason.AlreadyReviewed, fmt.Sprintf("An agent's review of %s is on pull request #%d already. Set the label again when there is a newer commit.", short(d.pull.HeadSHA), d.pull.Number)
	case t.Stage == "":
		return reason.StageUnknown, "No run of this issue is known: which stage made the pull request?"
	case d.p.position(t.Stage) < 0:
		return reason.StageUnknown, gone(d.p, t.Stage)
	}
	return "", ""
}

// grant is the role of a run, and what it may do: of a review, to read and to ask.
func (d *decision) grant(t Trigger, s Stage) (role string, g *Grant) {
	settings := d.settings()
	g = &Grant{Process: d.p.Hash, HostedTools: append([]string{}, settings.HostedTools...)}
	if t.Kind == events.KindReview {
		s.Role, g.Write = reviewerRole, []string{scope.Nothing}
	} else {
		g.Write, g.Needs, g.GoesOn = d.p.WritesOf(s, d.item.Issue), d.required(s.Name), d.p.goesOn(s, d.item.profile(d.p))
	}
	g.Tools, g.Free = d.p.tools(s, settings)
	if t.Kind == events.KindReview {
		g.Tools = slices.DeleteFunc(g.Tools, func(name string) bool { return !tool.ReadsOnly(name) })
		g.Free = nil
	}
	return s.Role, g
}

// reviewWritten has what the agent has written left on the pull request, once.
func (d *decision) reviewWritten(in events.AgentReported) {
	run := d.item.Run
	switch {
	case run.Delivered != "":
		d.audit("agent:"+in.RunID, "agent.reported.late", "known", "its review of %s is being left", run.Delivered)
		return
	case in.Outcome != "succeeded":
		run.ThreadID = in.ThreadID
		d.finish(Failed, in.Reason, in.Summary)
		return
	case in.HeadSHA == "" || in.Summary == "":
		d.finish(Failed, reason.ReviewMissing, "The agent reported no review, or not of which commit.")
		return
	}
	run.ThreadID, run.Summary, run.Delivered, run.Reason, run.Message = in.ThreadID, in.Summary, in.HeadSHA, "", ""
	d.audit("agent:"+in.RunID, "agent.reported", "", "a review of %s", in.HeadSHA)
	d.emit(events.GitHubReviewRequested{
		RunRef: d.item.Ref(), PullRequest: d.pull.Number, Branch: run.branch(d.item.Issue), Head: in.HeadSHA,
		Role: run.Role, Model: run.Model, Text: in.Summary,
	})
}

// teach has what the agent explains of its work left on the pull request, each explanation on its line: once for the
// run, as a review that decides nothing. Agents explain where the project wants it (prompt.Lessons).
func (d *decision) teach(s State) {
	run, pull := d.item.Run, d.pull
	lessons := prompt.Lessons(run.Summary)
	if s != Succeeded || !run.Kind.Writes() || len(lessons) == 0 || pull.Number == 0 || pull.HeadSHA == "" {
		return
	}
	d.emit(events.GitHubReviewRequested{
		RunRef: d.item.Ref(), PullRequest: pull.Number, Branch: run.branch(d.item.Issue), Head: pull.HeadSHA, Role: run.Role, Model: run.Model,
		Text: "Why it is done this way, for whoever wants to learn from it.\n\n## Findings\n- " + strings.Join(lessons, "\n- "),
	})
}

// reviewLeft ends the run by what has become of its review.
func (d *decision) reviewLeft(in events.GitHubReviewed) {
	run := d.item.Run
	switch {
	case run.Kind != events.KindReview:
		d.audit(platform, "lessons.left", in.Reason, "%s", cmp.Or(in.Message, fmt.Sprintf("as review %d of #%d, %d on lines", in.ReviewID, in.PullRequest, in.OnLines)))
	case !d.item.active() || run.Delivered != in.Head:
		d.audit(platform, "github.reviewed.late", "run_"+string(run.State), "review %d of %s", in.ReviewID, in.Head)
	case in.Reason != "":
		d.finish(Failed, reason.ReviewRefused, "The review could not be left on the pull request: "+in.Message)
	default:
		d.pull.Reviewed = in.Head
		d.finish(Succeeded, "", fmt.Sprintf("A review of %s is on pull request #%d, with %s on lines of its diff and %s in its summary: %s",
			short(in.Head), in.PullRequest, findings(in.OnLines), findings(in.InSummary), in.URL))
	}
}

func findings(n int) string {
	if n == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", n)
}
