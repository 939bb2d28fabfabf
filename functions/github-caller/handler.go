package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

// actFor bounds the calls of one event, well below Knative's five minutes for a request.
const actFor = time.Minute

type handler struct {
	db      *store.DB
	clients *github.Clients
	console string // base URL of the console, or ""
	send    func(context.Context, ...event.Event) error
}

func (h *handler) routes(s *serve.Server) {
	serve.On(s, h.changeRequested)
	serve.On(s, h.lookupRequested)
	serve.On(s, h.reviewRequested)
	serve.On(s, h.toolApproved)
	serve.On(s, h.labelsRequested)
}

// changeRequested brings GitHub to what the event asks for, then says so.
func (h *handler) changeRequested(ctx context.Context, e event.Event, p events.GitHubChangeRequested) ([]event.Event, error) {
	if _, _, ok := strings.Cut(p.Repository, "/"); !ok || p.Issue <= 0 {
		return nil, events.Malformed(fmt.Errorf("event %s: no work item %q #%d", e.ID(), p.Repository, p.Issue))
	}
	home, err := h.db.Repository(ctx, p.RepositoryID, p.Repository)
	if err != nil {
		return nil, err
	}
	c := h.newChange(e, p, home)
	return h.db.Act(ctx, e, c.key(), c.carryOut)
}

// actor is who acts, for the audit.
const actor = "function:github-caller"

// client is the repository's, unless a rate limit that was met before still applies.
func (h *handler) client(ctx context.Context, repository string) (*github.Client, error) {
	client, err := h.clients.For(ctx, repository)
	if err != nil {
		return nil, err
	}
	until, err := h.db.GitHubPause(ctx, client.Credential)
	if err != nil {
		return nil, err
	}
	if !until.IsZero() {
		return nil, events.RetryAt(until, fmt.Errorf("github's rate limit, met before, holds until %s", until.UTC().Format(time.RFC3339)))
	}
	return client, nil
}

// noteLimit tells all instances that err is a rate limit, if it is one that the client met.
func (h *handler) noteLimit(ctx context.Context, client *github.Client, err error) error {
	var limited *github.RateLimited
	if client != nil && errors.As(err, &limited) {
		err = errors.Join(err, h.db.PauseGitHub(context.WithoutCancel(ctx), client.Credential, limited.Until, limited.Error()))
	}
	return err
}
