package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

// labels looks for open issues that have a trigger label without a run for it, or with a run that it should have
// stopped. What was set before the last comparison was seen then: a label changes when its issue was updated, so only
// what was updated since is read, with the time in which a label's own event may be under way. At first every issue
// with such a label is.
func (c *comparison) labels(ctx context.Context, last time.Time) error {
	if !last.IsZero() {
		return c.issues(ctx, gh.IssueListByRepoOptions{Since: last.Add(-overlap)})
	}
	for _, l := range c.repository.Process.Catalogue() {
		if !c.repository.Process.Begins(l.Name) {
			continue
		}
		if err := c.issues(ctx, gh.IssueListByRepoOptions{Labels: []string{l.Name}}); err != nil {
			return fmt.Errorf("those with label %s: %w", l.Name, err)
		}
	}
	return nil
}

// issues reports the triggers of the open issues among those.
func (c *comparison) issues(ctx context.Context, among gh.IssueListByRepoOptions) error {
	among.State, among.ListOptions = "open", gh.ListOptions{PerPage: 100}
	for {
		issues, resp, err := c.client.Issues.ListByRepo(ctx, c.owner, c.name, &among)
		if resp != nil && resp.StatusCode == http.StatusGone { // the repository has its issues turned off
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing the issues: %w", err)
		}
		for _, issue := range issues {
			if issue == nil || issue.IsPullRequest() { // a null in GitHub's list, or something with events of its own
				continue
			}
			if err := c.triggers(ctx, issue); err != nil {
				return fmt.Errorf("issue %d: %w", issue.GetNumber(), err)
			}
		}
		if among.Page = resp.NextPage; among.Page == 0 {
			return nil
		}
	}
}

// triggers reports those of one issue.
func (c *comparison) triggers(ctx context.Context, issue *gh.Issue) error {
	for _, l := range issue.Labels {
		if !c.repository.Process.Begins(l.GetName()) {
			continue
		}
		trigger, _, starts := c.repository.Process.Trigger(l.GetName())
		err := c.label(ctx, issue, l.GetName(), trigger.Abort || !starts) // a discussion may begin beside a run
		if events.Unstorable(err) {
			slog.Warn("a label without a webhook can't be kept", "repository", c.repository.Name, "issue", issue.GetNumber(), "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// label reports one label, unless it has been answered; beside says that an active run is no answer to it.
func (c *comparison) label(ctx context.Context, issue *gh.Issue, label string, beside bool) error {
	set, err := lastEvent(ctx, c.client, c.owner, c.name, issue.GetNumber(), "labeled", label)
	if err != nil || set == nil || c.now.Sub(set.GetCreatedAt().Time) < underWay {
		return err
	}
	cause := c.causeOf(set.GetID())
	answered, err := c.db.LabelAnswered(ctx, c.repository.Key, issue.GetNumber(), set.GetCreatedAt().Time, cause.ID, beside)
	if err != nil || answered {
		return err
	}
	rewriter, err := c.rewriter(ctx, issue.GetNumber(), set)
	if err != nil {
		return err
	}
	observed := events.LabelObserved{
		Repository: c.owner + "/" + c.name, RepositoryID: c.repository.ID, Issue: issue.GetNumber(),
		Title: issue.GetTitle(), Body: issue.GetBody(), URL: issue.GetHTMLURL(), UpdatedAt: issue.GetUpdatedAt().UTC(),
		Label: label, LabeledAt: set.GetCreatedAt().UTC(),
		Sender: set.GetActor().GetLogin(), SenderID: set.GetActor().GetID(), SenderType: set.GetActor().GetType(),
		Rewriter: rewriter, DefaultBase: c.base, CloneURL: c.clone,
	}
	for _, l := range issue.Labels {
		observed.Labels = append(observed.Labels, l.GetName())
	}
	emitted, err := c.db.Emit(ctx, cause, events.WorkItem(c.repository.Key, observed.Issue), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{
			Emit: []events.Draft{events.Now(observed)},
			Audit: []events.Record{{
				Actor: "github:" + observed.Sender, Action: "label.observed", Reason: "no_webhook", Detail: label,
			}},
		}, nil
	})
	if err != nil {
		return err
	}
	return c.send(ctx, emitted...)
}

// unnamed is whom GitHub shows in place of an account that was deleted.
const unnamed = "ghost"

// rewriter is who changed the issue's text or title after the label was set, if that is not who set it: nobody knows
// what the text was then. Where GitHub refuses to tell, somebody may have.
func (c *comparison) rewriter(ctx context.Context, issue int, set *gh.IssueEvent) (login string, err error) {
	renamed, err := lastEvent(ctx, c.client, c.owner, c.name, issue, "renamed", "")
	if err != nil {
		return "", err
	}
	if renamed != nil && renamed.GetCreatedAt().After(set.GetCreatedAt().Time) && renamed.GetActor().GetID() != set.GetActor().GetID() {
		return cmp.Or(renamed.GetActor().GetLogin(), unnamed), nil
	}
	edit, err := c.client.LastEdit(ctx, c.owner, c.name, issue)
	var refused *github.Refused
	if err = github.ClassifyError(err, c.now); errors.As(err, &refused) {
		slog.Warn("who edited an issue last can't be asked", "repository", c.repository.Name, "issue", issue, "error", err)
		return unnamed, nil
	}
	if err != nil || !edit.At.After(set.GetCreatedAt().Time) || edit.By.ID != 0 && edit.By.ID == set.GetActor().GetID() {
		return "", err
	}
	return cmp.Or(edit.By.Login, unnamed), nil
}

// lastEvent finds when and by whom the label was last set (labeled) or removed (unlabeled), or the issue renamed, which
// has no label; nil if GitHub knows of none.
func lastEvent(ctx context.Context, client *github.Client, owner, name string, issue int, what, label string) (last *gh.IssueEvent, err error) {
	opts := &gh.ListOptions{PerPage: 100}
	for {
		page, resp, err := client.Issues.ListIssueEvents(ctx, owner, name, issue, opts)
		if err != nil {
			return nil, fmt.Errorf("listing the issue's events: %w", err)
		}
		for _, e := range page { // oldest first
			if e.GetEvent() == what && strings.EqualFold(e.GetLabel().GetName(), label) {
				last = e
			}
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return last, nil
		}
	}
}
