package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/webhook"
)

// past says why a lost delivery is obsolete: what comes so late is acted upon only if GitHub still shows it. A label
// that was removed since, an issue that is open again, a review of what is closed by now are obsolete. "" says that it
// may still apply; then stage-router decides by GitHub's times.
func (h *handler) past(ctx context.Context, d webhook.Delivery, payload []byte, now time.Time) (why string, err error) {
	closes := d.Action == "closed" || d.Action == "reopened"
	label, review := labelOf(d, payload), reviewOf(d, payload)
	owner, name, ok := strings.Cut(d.Repository, "/")
	if h.clients == nil || !ok || d.Number == 0 || !closes && review == 0 && label == "" {
		return "", nil
	}
	if label != "" {
		r, err := h.db.Repository(ctx, 0, d.Repository)
		if err != nil || !r.Process.IsTrigger(label) {
			return "", err
		}
	}
	client, err := h.clients.For(ctx, d.Repository)
	if err != nil {
		return ifRefused(err)
	}
	there, _, err := client.Issues.Get(ctx, owner, name, int(d.Number)) // pull requests too
	if err != nil {
		return ifRefused(github.ClassifyError(err, now))
	}
	switch closed := there.GetState() == "closed"; {
	case closes && closed != (d.Action == "closed"):
		return "it is " + there.GetState() + " now", nil
	case closes:
		return "", nil
	case closed:
		return "it is closed now", nil
	case label != "" && !slices.ContainsFunc(there.Labels, func(l *gh.Label) bool { return strings.EqualFold(l.GetName(), label) }):
		ours, err := h.tookOff(ctx, client, owner, name, int(d.Number), label)
		if err != nil {
			return ifRefused(github.ClassifyError(err, now))
		}
		if !ours {
			return "the label is off", nil
		}
	}
	if review == 0 {
		return "", nil
	}
	given, _, err := client.PullRequests.GetReview(ctx, owner, name, int(d.Number), review)
	if err != nil {
		return ifRefused(github.ClassifyError(err, now))
	}
	if given.GetState() == "DISMISSED" {
		return "the review was dismissed", nil
	}
	return "", nil
}

// tookOff reports whether the platform itself removed the label, which means that it had answered. If nothing is known
// of that here, an older database was restored, and the label brings the run back. If the credential is a person's
// token, labels removed by that person look the same.
func (h *handler) tookOff(ctx context.Context, client *github.Client, owner, name string, issue int, label string) (ours bool, err error) {
	us, err := h.clients.Login(ctx)
	if err != nil {
		return false, err
	}
	last, err := lastEvent(ctx, client, owner, name, issue, "unlabeled", label)
	return err == nil && strings.EqualFold(last.GetActor().GetLogin(), us), err
}

func labelOf(d webhook.Delivery, payload []byte) string {
	if d.Action != "labeled" {
		return ""
	}
	if p, err := webhook.PullRequestFrom(payload); err == nil {
		return p.Label
	}
	i, err := webhook.IssueFrom(payload)
	if err != nil {
		return ""
	}
	return i.Label
}

// reviewOf is the id of the review that was submitted, 0 for none.
func reviewOf(d webhook.Delivery, payload []byte) int64 {
	if r, err := webhook.ReviewFrom(payload); err == nil && d.Event == "pull_request_review" && d.Action == "submitted" {
		return r.Review.ID
	}
	return 0
}

// ifRefused ignores what GitHub refused: whoever handles the event will see the same.
func ifRefused(err error) (why string, _ error) {
	var refused *github.Refused
	if errors.As(err, &refused) {
		return "", nil
	}
	return "", fmt.Errorf("asking how it is now: %w", err)
}
