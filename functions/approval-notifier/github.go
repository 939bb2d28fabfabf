package main

import (
	"context"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// comment wants the request as a comment on its issue, and a reminder as another one, which people are notified of.
// github-caller says whether the request is there.
func (h *handler) comment(c events.ApprovalChanged, at events.ApprovalTarget) []events.Draft {
	m := c.Message
	shown := events.ApprovalDelivered{RequestID: m.RequestID, Version: m.Version, ApprovalTarget: at}
	emit := []events.Draft{
		note(c.RunRef, events.GitHubNote{Key: "approval/" + m.RequestID, Text: chat.GitHubComment(m), Version: m.Version, Delivered: &shown}),
	}
	if r := c.Reminder; r != nil {
		emit = append(emit, note(c.RunRef, events.GitHubNote{Key: "reminder of approval/" + m.RequestID, Text: r.Text, Version: int64(r.Number)}))
	}
	return emit
}

// refused tells who voted by a comment on GitHub why that did not count. On the other channels the click was answered.
func (h *handler) refused(ctx context.Context, e event.Event, r events.ApprovalRefused) ([]event.Event, error) {
	return h.db.Step(ctx, e, "messages/"+r.RequestID, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		if r.By.Channel != approval.GitHub {
			return events.Decision{}, nil
		}
		t, err := tx.Ticket(ctx, r.RequestID)
		if err != nil || t.State == "" {
			return events.Decision{}, err
		}
		words := "@" + r.By.Name + ": " + r.Text
		return events.Decision{Emit: []events.Draft{note(t.Request.RunRef, events.GitHubNote{Key: "vote/" + r.VoteID, Text: words, Version: 1})}}, nil
	})
}

func note(of events.RunRef, n events.GitHubNote) events.Draft {
	return events.Now(events.GitHubChangeRequested{
		Repository: of.Repository, RepositoryID: of.RepositoryID, Issue: of.Issue, RunID: of.RunID, Note: &n,
	})
}
