package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

// A change is one event being carried out.
type change struct {
	events.GitHubChangeRequested
	owner, name string
	client      *github.Client
	login       func(context.Context) (string, error) // who we are on GitHub
	now         func() time.Time
	console     string
	view        *store.GitHubView
	did         done
}

// failures are the parts that did not work.
type failures struct {
	errs      []error
	temporary bool
}

func (f *failures) Error() string   { return errors.Join(f.errs...).Error() }
func (f *failures) Unwrap() []error { return f.errs }

// apply brings every part to its state, in the order in which people look: labels, commit status, comment. A rate limit
// ends it at once; any other failure lets the remaining parts have their try.
func (c *change) apply(ctx context.Context) error {
	var failed failures
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"labels of the issue", func(ctx context.Context) error { return c.labels(ctx, c.Issue, c.AddLabels, c.RemoveLabels) }},
		{"labels of the pull request", func(ctx context.Context) error {
			return c.labels(ctx, c.PullRequest, c.AddLabelsToPR, c.RemoveLabelsOffPR)
		}},
		{"commit status", c.status},
		{"status comment", c.comment},
	} {
		err := github.Sort(part.do(ctx), c.now())
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s of %s: %w", part.name, c.EventSubject(), err)
		var limited *github.RateLimited
		if errors.As(err, &limited) {
			return err
		}
		var refused *github.Refused
		failed.temporary = failed.temporary || !errors.As(err, &refused)
		failed.errs = append(failed.errs, err)
	}
	if len(failed.errs) > 0 {
		return &failed
	}
	return nil
}

// labels takes off and puts on. Taking off comes first, so that an issue never shows two states.
func (c *change) labels(ctx context.Context, number int, add, remove []string) error {
	if number == 0 {
		return nil
	}
	for _, label := range remove {
		// go-github does not escape it.
		_, err := c.client.Issues.RemoveLabelForIssue(ctx, c.owner, c.name, number, url.PathEscape(label))
		if err = github.Sort(err, c.now()); err != nil && !absent(err) {
			return err
		}
		c.did.steps = append(c.did.steps, fmt.Sprintf("#%d -%s", number, label))
	}
	if len(add) == 0 {
		return nil
	}
	if _, _, err := c.client.Issues.AddLabelsToIssue(ctx, c.owner, c.name, number, add); err != nil {
		return err
	}
	c.did.steps = append(c.did.steps, fmt.Sprintf("#%d +%s", number, strings.Join(add, " +")))
	return nil
}

// absent tells "the issue has no such label", which is what we want, from "there is no such issue": both are 404, and
// only the words differ.
// https://docs.github.com/en/rest/issues/labels#remove-a-label-from-an-issue
func absent(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && github.Gone(err) && strings.Contains(refused.Message, "Label does not exist")
}

// maxDescription is GitHub's limit in characters.
// https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
const maxDescription = 140

// status sets the commit status, unless a newer state of the work item has set it already: the latest wins on GitHub,
// and events may overtake each other.
func (c *change) status(ctx context.Context) error {
	s := c.Status
	if s == nil || s.SHA == "" {
		return nil
	}
	if c.CommentVersion > 0 {
		shown, err := c.view.StatusVersion(ctx, s.SHA, s.Context)
		if err != nil || shown >= c.CommentVersion {
			return err
		}
	}
	status := &gh.RepoStatus{State: &s.State, Context: &s.Context, Description: gh.String(cut(s.Description, maxDescription))}
	if c.console != "" && c.RunID != "" {
		status.TargetURL = gh.String(strings.TrimRight(c.console, "/") + "/runs/" + c.RunID)
	}
	if _, _, err := c.client.Repositories.CreateStatus(ctx, c.owner, c.name, s.SHA, status); err != nil {
		return err
	}
	c.did.steps = append(c.did.steps, fmt.Sprintf("status %s %s", s.Context, s.State))
	return c.view.SaveStatus(ctx, s.SHA, s.Context, c.CommentVersion)
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
