package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

// A trigger is a label by which an issue asks for something.
type trigger struct {
	issue  *gh.Issue
	label  string
	beside bool // an active run is no answer to it
}

// triggers are those of open issues, which may have a run for them or not. What was set before the last comparison was
// seen then: a label changes when its issue was updated, so only what was updated since is read, with the time in which
// a label's own event may be under way. At first every issue with such a label is.
func (c *comparison) triggers(ctx context.Context) iter.Seq2[trigger, error] {
	if last := c.bound.Reconciled; !last.IsZero() {
		return c.triggersAmong(ctx, gh.IssueListByRepoOptions{Since: last.Add(-overlap)})
	}
	return func(yield func(trigger, error) bool) {
		for _, l := range c.repository.Process.Catalogue() {
			if !c.repository.Process.Begins(l.Name) {
				continue
			}
			for t, err := range c.triggersAmong(ctx, gh.IssueListByRepoOptions{Labels: []string{l.Name}}) {
				if !yield(t, err) {
					return
				}
			}
		}
	}
}

// triggersAmong are the triggers of the open issues among those. An error is the last.
func (c *comparison) triggersAmong(ctx context.Context, among gh.IssueListByRepoOptions) iter.Seq2[trigger, error] {
	return func(yield func(trigger, error) bool) {
		among.State, among.ListOptions = "open", gh.ListOptions{PerPage: 100}
		for {
			issues, resp, err := c.client.Issues.ListByRepo(ctx, c.owner, c.name, &among)
			if resp != nil && resp.StatusCode == http.StatusGone { // the repository has its issues turned off
				return
			}
			if err != nil {
				yield(trigger{}, fmt.Errorf("listing the issues: %w", err))
				return
			}
			for _, issue := range issues {
				if issue == nil || issue.IsPullRequest() { // a null in GitHub's list, or something with events of its own
					continue
				}
				for _, l := range issue.Labels {
					if !c.repository.Process.Begins(l.GetName()) {
						continue
					}
					asked, _, starts := c.repository.Process.Trigger(l.GetName())
					if !yield(trigger{issue, l.GetName(), asked.Abort || !starts}, nil) { // a discussion may begin beside a run
						return
					}
				}
			}
			if among.Page = resp.NextPage; among.Page == 0 {
				return
			}
		}
	}
}

// observe reports a label, unless it has been answered.
func (c *comparison) observe(ctx context.Context, t trigger) error {
	issue := t.issue.GetNumber()
	set, err := lastEvent(ctx, c.client, c.owner, c.name, issue, "labeled", t.label)
	if err != nil || set == nil || c.now.Sub(set.GetCreatedAt().Time) < underWay {
		return err
	}
	cause := c.causeOf(set.GetID())
	answered, err := c.db.LabelAnswered(ctx, c.repository.Key, issue, set.GetCreatedAt().Time, cause.ID, t.beside)
	if err != nil || answered {
		return err
	}
	rewriter, err := c.rewriter(ctx, issue, set)
	if err != nil {
		return err
	}
	observed := events.LabelObserved{
		Repository: c.owner + "/" + c.name, RepositoryID: c.repository.ID, Issue: issue,
		Title: t.issue.GetTitle(), Body: t.issue.GetBody(), URL: t.issue.GetHTMLURL(), UpdatedAt: t.issue.GetUpdatedAt().UTC(),
		Label: t.label, LabeledAt: set.GetCreatedAt().UTC(),
		Sender: set.GetActor().GetLogin(), SenderID: set.GetActor().GetID(), SenderType: set.GetActor().GetType(),
		Rewriter: rewriter, DefaultBase: c.base, CloneURL: c.clone,
	}
	for _, l := range t.issue.Labels {
		observed.Labels = append(observed.Labels, l.GetName())
	}
	emitted, err := c.db.Emit(ctx, cause, events.WorkItem(c.repository.Key, issue), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{
			Emit: []events.Draft{events.Now(observed)},
			Audit: []events.Record{{
				Actor: "github:" + observed.Sender, Action: "label.observed", Reason: "no_webhook", Detail: t.label,
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
