package stage

import (
	"fmt"

	"codexk8s.dev/shared/events"
)

// reviewed starts a revise when changes are requested, and records an approval.
func (d *decision) reviewed(in Reviewed) {
	if d.item.PullRequest != 0 && in.PullRequest != d.item.PullRequest {
		d.audit(actor(in.Sender), "review.ignored", "not_our_pull_request", "#%d", in.PullRequest)
		return
	}
	if in.State != "changes_requested" && in.State != "approved" {
		return
	}
	if d.item.PullRequest == 0 { // of our branch, but its run ended before it could tell
		d.item.PullRequest, d.item.HeadSHA = in.PullRequest, in.HeadSHA
	}
	reason, why := d.mayTrigger(in.Sender)
	if reason == "" && d.item.IntentKnown {
		reason, why = "intent_known", "The same review was handled already."
	}
	if reason == "" && d.item.active() {
		reason, why = "run_active", fmt.Sprintf("Run %s is %s; set `%s` when it has ended.", d.item.Run.ID, d.item.Run.State, d.p.LabelOf(d.item.Run.Stage, true))
	}
	if reason == "" && d.item.Run == nil {
		reason, why = "stage_unknown", "No run of this issue is known: which stage made the pull request?"
	}
	t := Trigger{Revise: true}
	if reason == "" && in.State == "changes_requested" {
		t.Stage = d.item.Run.Stage
		reason, why = d.gate(t)
	}
	if reason != "" {
		d.audit(actor(in.Sender), "review.ignored", reason, "%s", why)
		if reason != "intent_known" {
			d.tell(refusal("the review", why), events.GitHubChangeRequested{})
		}
		return
	}
	if in.State == "approved" {
		d.approved(in)
		return
	}
	review := in.Review
	d.request(t, in.Sender.Login, in.Intent, &review)
}

func (d *decision) approved(in Reviewed) {
	if in.HeadSHA != "" {
		d.item.HeadSHA = in.HeadSHA
	}
	d.audit(actor(in.Sender), "pull_request.approved", "", "#%d at %s", in.PullRequest, in.HeadSHA)
	add, remove := []string{d.p.Labels.Approved}, []string{d.p.Labels.InReview}
	d.tell("Approved by @"+in.Sender.Login+". Ready to merge.", events.GitHubChangeRequested{
		On: add, PullOn: add, Off: remove, PullOff: remove,
	})
}

func (d *decision) pullRequestClosed(in PullRequestClosed) {
	if in.PullRequest != d.item.PullRequest {
		return
	}
	if !in.Merged {
		d.item.PullRequest, d.item.PullRequestURL, d.item.HeadSHA = 0, "", ""
	}
	d.audit(actor(in.Sender), "pull_request.closed", "", "#%d merged=%t", in.PullRequest, in.Merged)
	if d.item.active() {
		d.stop(Cancelled, "pull_request_closed", "The pull request was closed.", nil)
	}
}
