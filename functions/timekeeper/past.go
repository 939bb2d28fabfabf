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
func (h *handler) past(ctx context.Context, d lost, now time.Time) (why string, err error) {
	closes := d.Action == "closed" || d.Action == "reopened"
	label, review := labelOf(d), reviewOf(d)
	owner, name, ok := strings.Cut(d.Repository, "/")
	if h.clients == nil || !ok || d.Number == 0 || !closes && review == 0 && label == "" {
		return "", nil
	}
	if label != "" {
		r, err := h.db.Repository(ctx, 0, d.Repository)
		if err != nil {
			return "", err
		}
		if _, _, starts := r.Process.Trigger(label); !starts {
			return "", nil
		}
	}
	client, err := h.clients.For(ctx, d.Repository)
	if err != nil {
		return ifRefused(err, now)
	}
	there, _, err := client.Issues.Get(ctx, owner, name, int(d.Number)) // pull requests too
	if err != nil {
		return ifRefused(err, now)
	}
	switch closed := there.GetState() == "closed"; {
	case closes && closed != (d.Action == "closed"):
		return "it is " + there.GetState() + " now", nil
	case closes:
		return "", nil
	case closed:
		return "it is closed now", nil
	case label != "" && !bears(there, label):
		us, err := h.clients.Login(ctx)
		if err != nil {
			return ifRefused(err, now)
		}
		off, err := lastEvent(ctx, client, owner, name, int(d.Number), "unlabeled", label)
		if err != nil {
			return ifRefused(err, now)
		}
		// The platform removes a label when it has answered it. If nothing is known of that here, an older database was
		// restored, and the label brings the run back. With a person's token as the credential, labels that this
		// person removed look the same.
		if !strings.EqualFold(off.GetActor().GetLogin(), us) {
			return "the label is off", nil
		}
	case review != 0:
		given, _, err := client.PullRequests.GetReview(ctx, owner, name, int(d.Number), review)
		if err != nil {
			return ifRefused(err, now)
		}
		if given.GetState() == "DISMISSED" {
			return "the review was dismissed", nil
		}
	}
	return "", nil
}

func bears(issue *gh.Issue, label string) bool {
	return slices.ContainsFunc(issue.Labels, func(l *gh.Label) bool { return strings.EqualFold(l.GetName(), label) })
}

func labelOf(d lost) string {
	if d.Action != "labeled" {
		return ""
	}
	if p, err := webhook.PullRequestFrom(d.payload); err == nil {
		return p.Label
	}
	i, err := webhook.IssueFrom(d.payload)
	if err != nil {
		return ""
	}
	return i.Label
}

// reviewOf is the id of the review that was submitted, 0 for none.
func reviewOf(d lost) int64 {
	if r, err := webhook.ReviewFrom(d.payload); err == nil && d.Event == "pull_request_review" && d.Action == "submitted" {
		return r.Review.ID
	}
	return 0
}

// ifRefused ignores what GitHub refused: whoever handles the event will see the same.
func ifRefused(err error, now time.Time) (why string, _ error) {
	var refused *github.Refused
	if err = github.ClassifyError(err, now); errors.As(err, &refused) {
		return "", nil
	}
	return "", fmt.Errorf("asking how it is now: %w", err)
}
