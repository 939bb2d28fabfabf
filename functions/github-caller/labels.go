package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
)

// labelsRequested makes the labels that a repository lacks, and puts right those that look otherwise. What GitHub
// refuses is audited, and asked for again with the next comparison.
func (h *handler) labelsRequested(ctx context.Context, e event.Event, p events.GitHubLabelsRequested) ([]event.Event, error) {
	if _, _, ok := strings.Cut(p.Repository, "/"); !ok || len(p.Labels) == 0 {
		return nil, events.Malformed(fmt.Errorf("event %s: no labels of a repository: %q, %d labels", e.ID(), p.Repository, len(p.Labels)))
	}
	home, err := h.db.Repository(ctx, p.RepositoryID, p.Repository)
	if err != nil {
		return nil, err
	}
	return h.db.Act(ctx, e, "repository/"+home.Key, func(ctx context.Context) (events.Decision, error) {
		steps, err := h.putRight(ctx, home.Name, p.Labels)
		var limited *github.RateLimited
		var no *github.Refused
		var d events.Decision
		switch why, void := github.Moot(err); {
		case err == nil:
		case errors.As(err, &limited):
			return d, events.RetryAt(limited.Until, err)
		case !errors.As(err, &no):
			return d, err
		default:
			if !void {
				why = reason.GitHubRefused
			}
			d.Audit = append(d.Audit, events.Record{Actor: actor, Action: "github.refused", Reason: why, Detail: err.Error()})
		}
		if len(steps) > 0 {
			d.Audit = append(d.Audit, events.Record{Actor: actor, Action: "github.labels_changed", Detail: home.Name + ": " + strings.Join(steps, "; ")})
		}
		return d, nil
	})
}

// putRight carries out what LabelDrift finds, and says what it did. One label that GitHub refuses is no reason to leave
// the others.
func (h *handler) putRight(ctx context.Context, repository string, want []events.RepositoryLabel) (steps []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	client, err := h.client(ctx, repository)
	if err != nil {
		return nil, err
	}
	owner, name, _ := strings.Cut(repository, "/")
	there, err := client.Labels(ctx, owner, name)
	if err != nil {
		return nil, h.noteLimit(ctx, client, github.ClassifyError(err, h.db.Now()))
	}
	var refusals []error
	for _, change := range github.LabelDrift(there, want) {
		err := github.ClassifyError(client.ChangeLabel(ctx, owner, name, change), h.db.Now())
		var no *github.Refused
		switch {
		case errors.As(err, &no):
			refusals = append(refusals, fmt.Errorf("label %s of %s: %w", change.Want.Name, repository, err))
		case err != nil:
			return steps, h.noteLimit(ctx, client, err)
		case change.There == "":
			steps = append(steps, "+"+change.Want.Name)
		default:
			steps = append(steps, change.There+" → "+change.Want.Name)
		}
	}
	return steps, errors.Join(refusals...)
}
