package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/tool"
)

// toolApproved changes the labels that an agent wanted changed, on its own issue or pull request. What GitHub refuses
// is told the agent, once; an outage or a limit is an error, and the event comes again. Other tools are other
// functions'.
func (h *handler) toolApproved(ctx context.Context, e event.Event, t events.ToolApproved) ([]event.Event, error) {
	home, err := h.db.Repository(ctx, t.RepositoryID, t.Repository)
	if err != nil {
		return nil, err
	}
	c := h.newChange(e, events.GitHubChangeRequested{Repository: t.Repository, RepositoryID: t.RepositoryID, Issue: t.Issue, PullRequest: t.PullRequest, RunID: t.RunID}, home)
	return h.db.Act(ctx, e, c.key(), func(ctx context.Context) (events.Decision, error) {
		switch t.Tool {
		case tool.LabelsAdd, tool.LabelsRemove, tool.LabelsTransition, tool.PullRequestLabels:
		default:
			return events.Decision{}, nil
		}
		known, err := h.db.RunStatus(ctx, t.RunID)
		if err != nil {
			return events.Decision{}, err
		}
		if known.State == "" || known.State == stage.Cancelled {
			return t.Executed(actor, "run_is_over", "The run was stopped before it was done."), nil
		}
		err = c.relabelFor(ctx, t)
		var refused *github.Refused
		switch why, void := moot(err); {
		case err == nil:
			return t.Executed(actor, "", strings.Join(append(c.steps, "The labels are as you wanted them."), "; ")), nil
		case void:
			return t.Executed(actor, why, err.Error()), nil
		case errors.As(err, &refused) && !temporary(err):
			return t.Executed(actor, reason.GitHubRefused, refused.Message), nil
		}
		return events.Decision{}, c.explain(ctx, err)
	})
}

// relabelFor brings the labels about, beside whatever else of the work item is being shown.
func (c *change) relabelFor(ctx context.Context, t events.ToolApproved) (err error) {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	var want tool.LabelChange
	if err := tool.Read(t.Arguments, &want); err != nil {
		return &github.Refused{Message: err.Error()}
	}
	number := c.Issue
	if want.On == tool.OnPullRequest {
		number = t.PullRequest
	}
	if c.client, err = c.handler.client(ctx, c.Repository); err != nil {
		return err
	}
	if c.view, err = c.db.GitHubView(ctx, c.home.Key, c.Issue); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.view.Close(ctx)) }()
	c.keep("labels", c.relabel(ctx, number, want.Add, want.Remove))
	return c.noteLimit(ctx, c.client, c.failed.err())
}
