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
}

func (h *handler) routes(s *serve.Server) {
	serve.On(s, h.changeRequested)
	serve.On(s, h.lookupRequested)
}

// changeRequested does what the event asks for, then says so. All parts are tried: a commit that was force-pushed away
// must not keep the comment from telling about it.
func (h *handler) changeRequested(ctx context.Context, e event.Event, p events.GitHubChangeRequested) ([]event.Event, error) {
	owner, name, ok := strings.Cut(p.Repository, "/")
	if !ok || p.Issue <= 0 {
		return nil, events.Malformed(fmt.Errorf("event %s: no work item %q #%d", e.ID(), p.Repository, p.Issue))
	}
	var did done
	handled, err := h.db.Handled(ctx, e)
	if err == nil && !handled {
		did, err = h.act(ctx, &change{GitHubChangeRequested: p, owner: owner, name: name})
	}
	if err != nil {
		return nil, h.explain(ctx, e, p, err)
	}
	return h.db.Step(ctx, e, p.EventSubject(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{
			Emit: []events.Draft{events.Now(events.GitHubChanged{Repository: p.Repository, Issue: p.Issue, RunID: p.RunID, CommentID: did.comment})},
			Audit: []events.Record{{
				Actor: "function:github-caller", Action: "github.changed", Run: p.RunID, Detail: strings.Join(did.steps, "; "),
			}},
		}, nil
	})
}

// done is what was changed, for the audit and for whoever waits for it.
type done struct {
	comment int64
	steps   []string
}

// act calls GitHub under the work item's lock.
func (h *handler) act(ctx context.Context, c *change) (done, error) {
	err := h.call(ctx, c.Repository, func(ctx context.Context, client *github.Client) error {
		c.client, c.login, c.console, c.now = client, h.clients.Login, h.console, h.db.Now
		return h.db.WithGitHubView(ctx, c.Repository, c.Issue, func(ctx context.Context, view *store.GitHubView) error {
			c.view = view
			return c.apply(ctx)
		})
	})
	return c.did, err
}

// call lets do call GitHub for the repository, unless a rate limit that was met before still holds; one that it meets
// is written down for all.
func (h *handler) call(ctx context.Context, repository string, do func(context.Context, *github.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	client, err := h.clients.For(ctx, repository)
	if err != nil {
		return err
	}
	until, err := h.db.GitHubPause(ctx, client.Credential)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		return events.RetryAt(until, fmt.Errorf("github's rate limit, met before, holds until %s", until.UTC().Format(time.RFC3339)))
	}
	err = do(ctx, client)
	var limited *github.RateLimited
	if errors.As(err, &limited) {
		err = errors.Join(err, h.db.PauseGitHub(context.WithoutCancel(ctx), client.Credential, limited.Until, limited.Error()))
	}
	return err
}

// explain gives an error the kind that decides about the answer: later for limits and locks, for good for what GitHub
// refuses, which also goes into the audit; anything else is tried again.
func (h *handler) explain(ctx context.Context, e event.Event, p events.GitHubChangeRequested, err error) error {
	var limited *github.RateLimited
	var refused *github.Refused
	switch {
	case errors.As(err, &limited):
		return events.RetryAt(limited.Until, err)
	case errors.Is(err, store.ErrLocked):
		return events.RetryAt(h.db.Now().Add(2*time.Second), err)
	case errors.As(err, &refused) && !temporary(err):
		reason := "github_refused"
		if github.Gone(err) {
			reason = "github_gone"
		}
		_, audit := h.db.Emit(ctx, e, p.EventSubject(), func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Audit: []events.Record{{
				Actor: "function:github-caller", Action: "github.refused", Run: p.RunID, Reason: reason, Detail: err.Error(),
			}}}, nil
		})
		if audit != nil {
			return errors.Join(err, audit) // not refused before it is written down
		}
		return events.Reject(reason, err)
	}
	return err
}

// temporary reports whether any of the failed parts may work the next time. Then all are tried again.
func temporary(err error) bool {
	var failed *failures
	if errors.As(err, &failed) {
		return failed.temporary
	}
	return false
}
