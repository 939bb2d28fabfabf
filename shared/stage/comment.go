package stage

import (
	"fmt"
	"strings"
)

// Comment is the body of the item's one status comment, in GitHub's Markdown:
// where its run stands, what came of it, and what a person can do next. The note
// stands on top.
func Comment(p *Process, i Item, note string) string {
	var b strings.Builder
	if note != "" {
		fmt.Fprintf(&b, "%s\n\n", note)
	}
	r := i.Run
	if r == nil {
		return strings.TrimSpace(b.String()) + "\n"
	}
	fmt.Fprintf(&b, "### `%s`: %s\n\n", p.LabelOf(r.Stage, r.Revise), headline(r))
	if r.Message != "" {
		fmt.Fprintf(&b, "%s\n\n", r.Message)
	}
	if r.Summary != "" && r.State == Succeeded {
		fmt.Fprintf(&b, "%s\n\n", r.Summary)
	}
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	if i.PullRequest != 0 {
		fmt.Fprintf(&b, "| Pull request | #%d |\n", i.PullRequest)
	}
	fmt.Fprintf(&b, "| Asked for by | @%s |\n| Agent | %s, %s, reasoning %s |\n| Run | `%s` |\n", r.RequestedBy, r.Engine, r.Model, r.Reasoning, r.ID)
	fmt.Fprintf(&b, "\n%s\n", next(p, i))
	return b.String()
}

func headline(r *Run) string {
	words := map[State]string{
		Requested: "accepted", Queued: "waiting for a free place", Starting: "starting", Running: "the agent is working",
		Waiting: "waiting", Succeeded: "done, ready for review", Failed: "failed", Cancelled: "stopped", TimedOut: "out of time",
	}
	s := words[r.State]
	if r.Reason != "" {
		s += " (" + r.Reason + ")"
	}
	return s
}

// next says what a person can do now.
func next(p *Process, i Item) string {
	r := i.Run
	switch {
	case !r.State.Final():
		return fmt.Sprintf("`%s` stops it.", p.Labels.Abort)
	case r.State == Succeeded:
		return fmt.Sprintf("Review the pull request: *Request changes* starts `%s`, and so does the label.", p.LabelOf(r.Stage, true))
	default:
		return fmt.Sprintf("Set `%s` again to retry.", p.LabelOf(r.Stage, r.Revise))
	}
}

func refusal(what, why string) string {
	return fmt.Sprintf("**Not started** (`%s`): %s", strings.TrimPrefix(what, "the "), why)
}
