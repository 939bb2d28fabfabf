package stage

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// reviewed starts a revise when changes are requested, and keeps approvals.
func (d *decision) reviewed(in Reviewed) {
	if !d.seePull(in.Pull) {
		d.audit(actor(in.Sender), "review.ignored", reason.NotOurPullRequest, "#%d", in.Pull.Number)
		return
	}
	d.seeChanges(in)
	switch in.State {
	case "dismissed":
		d.dismissed(in)
		return
	case "approved", "changes_requested":
	default:
		return
	}
	t := Trigger{Stage: d.pull.Stage, Kind: events.KindRevise}
	cause, why := d.whyNoChange(in, t)
	if d.mayAct(in.Sender) {
		d.item.ActedAt = later(d.item.ActedAt, in.At)
	}
	if cause != "" {
		d.audit(actor(in.Sender), "review.ignored", cause, "%s", why)
		d.unapproved(in, cause)
		if d.isToldOfReview(in, cause) {
			d.note("review", why)
		}
		return
	}
	if in.State == "approved" {
		d.audit(actor(in.Sender), "pull_request.approved", "", "#%d at %s", in.Pull.Number, cmp.Or(in.CommitSHA, d.pull.HeadSHA))
		d.pull.Approvals = append(d.pull.Approvals, Approval{Review: in.ID, By: in.Sender.Login, SHA: cmp.Or(in.CommitSHA, d.pull.HeadSHA)})
		return
	}
	d.pull.Approvals = nil
	review := in.Review
	if review.Before.IsZero() {
		review.Before = d.now
	}
	intent := reviewIntent(d.item.repository(), d.item.Issue, in.ID)
	if d.holds(d.p.LabelOf(t.Stage, t.Kind), intent, in.Sender) {
		return
	}
	d.request(t, in.Sender, intent, &review)
}

// seeChanges remembers the newest review that requests changes, for the label that asks for a revise: GitHub's lists
// say what a review's text is now, and not what it was when the label was set. As the agent's own search, it passes
// over strangers, who may review a public pull request.
func (d *decision) seeChanges(in Reviewed) {
	known := d.pull.Changes
	switch {
	case in.State == "dismissed" && known != nil && known.Review == in.ID:
		d.pull.Changes = nil
	case in.State != "changes_requested" || !in.Insider || slices.Contains(d.pull.Dismissed, in.ID):
	case known == nil || known.At.Before(in.At):
		d.pull.Changes = &Changes{Review: in.ID, By: in.Author, Body: in.Body, At: in.At}
	}
}

// reviewEdited keeps up with the text of a review. A run goes on with the text that it was asked for.
func (d *decision) reviewEdited(in ReviewEdited) {
	if !d.seePull(in.Pull) {
		d.audit(actor(in.Sender), "review.ignored", reason.NotOurPullRequest, "#%d", in.Pull.Number)
		return
	}
	if c := d.pull.Changes; c != nil && c.Review == in.Review {
		edited := *c
		edited.Body = in.Body
		d.pull.Changes = &edited
	}
	if r := d.item.Run; d.item.active() && r.Review != nil && r.Review.ID == in.Review && r.Review.Body != in.Body {
		d.audit(actor(in.Sender), "review.edited", "not_in_task", "the run goes by the text as of %s", stamp(r.Review.Before))
	}
}

// whyNoChange gives the reason why a review changes nothing, for programs and for people.
func (d *decision) whyNoChange(in Reviewed, t Trigger) (cause, why string) {
	if cause, why := d.mayTrigger(in.Sender); cause != "" {
		return cause, why
	}
	for _, a := range d.pull.Approvals {
		if a.Review == in.ID && in.ID != 0 {
			return reason.IntentKnown, "The same review was handled already."
		}
	}
	if slices.Contains(d.pull.Dismissed, in.ID) {
		return reason.OlderAct, "The review was dismissed since."
	}
	if d.pull.Superseded {
		return reason.Superseded, fmt.Sprintf("Pull request #%d no longer counts: the issue was thought through again.", d.pull.Number)
	}
	if d.item.IntentKnown || d.item.Held != nil && d.item.Held.Intent == reviewIntent(d.item.repository(), d.item.Issue, in.ID) {
		return reason.IntentKnown, "The same review was handled already."
	}
	if in.At.Before(d.item.ActedAt) && !in.At.IsZero() {
		return reason.OlderAct, fmt.Sprintf("The review is of %s, and something newer was asked for since.", in.At.UTC().Format("15:04:05 MST"))
	}
	if d.item.working() && !(in.State == "approved" && in.CommitSHA != "") { // an approval stays valid for its commit
		return reason.RunActive, fmt.Sprintf("Run %s is %s. Set `%s` when it has ended.", d.item.Run.ID, d.item.Run.State, d.p.LabelOf(d.item.Run.Stage, events.KindRevise))
	}
	if d.item.stageRun() == nil {
		return reason.StageUnknown, "No run of this issue is known: which stage made the pull request?"
	}
	if in.State == "changes_requested" {
		if cause, why := d.gate(t); cause != "" {
			return cause, why
		}
		if _, known := d.p.stage(t.Stage); !known {
			return reason.StageUnknown, gone(d.p, t.Stage)
		}
		return "", ""
	}
	switch {
	case d.pull.Merged:
		return reason.PullRequestMerged, "The pull request is merged."
	case d.pull.Closed:
		return reason.PullRequestClosed, "The pull request is closed."
	case in.CommitSHA != "" && d.pull.HeadSHA != "" && in.CommitSHA != d.pull.HeadSHA:
		return reason.ApprovalOutdated, fmt.Sprintf("The approval is of %s, and the pull request is at %s by now. Review it again.", short(in.CommitSHA), short(d.pull.HeadSHA))
	}
	return "", ""
}

// isToldOfReview says who gets an answer to a review without effect: anybody may approve and comment, but only those
// who may start a revise expect one.
func (d *decision) isToldOfReview(in Reviewed, cause string) bool {
	switch cause {
	case reason.IntentKnown, reason.OlderAct:
		return false
	case reason.RunActive, reason.StageUnknown, reason.ApprovalOutdated:
		return true
	case reason.SenderNotPermitted:
		return in.State == "changes_requested" && d.item.Project.SenderRole.May(access.Answers)
	}
	return in.State == "changes_requested" && d.mayAct(in.Sender)
}

// unapproved takes all approvals back when somebody with the right requests changes, even if that starts nothing now.
func (d *decision) unapproved(in Reviewed, cause string) {
	if in.State != "changes_requested" || cause == reason.IntentKnown || cause == reason.OlderAct || !d.mayAct(in.Sender) {
		return
	}
	d.approvals(in.Sender, "changes_requested", func() { d.pull.Approvals = nil })
}

// reviewsUntil is what a revise that a label starts is to answer; nil for other runs.
func (d *decision) reviewsUntil(t Trigger, at time.Time) *Review {
	if t.Kind != events.KindRevise {
		return nil
	}
	if at.IsZero() {
		at = d.now
	}
	if c := d.item.pullOf(t.Stage).Changes; c != nil && !c.At.After(at) {
		return &Review{ID: c.Review, Author: c.By, Body: c.Body, Before: at}
	}
	return &Review{Before: at}
}

// maxDismissed is how many dismissed reviews are remembered.
const maxDismissed = 100

// dismissed takes an approval back. GitHub counts a person's last review, so their earlier ones go with it. The news of
// the review itself may be yet to come.
func (d *decision) dismissed(in Reviewed) {
	if gone := d.pull.Dismissed; !slices.Contains(gone, in.ID) {
		d.pull.Dismissed = append(slices.Clone(gone[max(0, len(gone)-maxDismissed+1):]), in.ID)
	}
	d.approvals(in.Sender, "review_dismissed", func() {
		var kept []Approval
		for _, a := range d.pull.Approvals {
			if a.Review != in.ID && !(a.Review < in.ID && same(a.By, in.Author)) {
				kept = append(kept, a)
			}
		}
		d.pull.Approvals = kept
	})
}

// approvals calls change, and audits it if the pull request is then no longer approved.
func (d *decision) approvals(by Person, cause string, change func()) {
	_, before := d.pull.approval()
	change()
	if _, after := d.pull.approval(); before && !after {
		d.audit(actor(by), "pull_request.unapproved", cause, "#%d at %s", d.pull.Number, d.pull.HeadSHA)
	}
}

// pullRequestChanged keeps up with a pull request of the item; closing it stops the run of its stage.
func (d *decision) pullRequestChanged(in PullRequestChanged) {
	d.heard(in.Sender, in.Pull.UpdatedAt)
	was := d.item.PullOf(in.Pull.Number)
	ours := false
	d.approvals(in.Sender, "pull_request_"+cmp.Or(in.Action, "changed"), func() { ours = d.seePull(in.Pull) })
	if ours && in.Action == "unlabeled" {
		d.adriftOnPull(in.Label, false, in.Sender)
	}
	if !ours || !d.pull.Closed || was.Closed {
		return
	}
	d.audit(actor(in.Sender), "pull_request.closed", "", "#%d merged=%t", in.Pull.Number, d.pull.Merged)
	switch {
	case !d.item.working() || d.item.Run.Stage != d.pull.Stage:
	case d.pull.Merged && d.item.Run.awaited():
		d.look()
	case d.pull.Merged:
		d.stop(Cancelled, reason.PullRequestMerged, "The pull request was merged.")
	default:
		d.stop(Cancelled, reason.PullRequestClosed, "The pull request was closed.")
	}
}

// short is a commit as people read it.
func short(sha string) string { return code(sha[:min(len(sha), 7)]) }
