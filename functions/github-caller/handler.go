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
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
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
	c := newChange(p, home)
	c.login, c.now, c.asked, c.console = h.clients.Login, h.db.Now, e.Time(), h.console
	return h.db.Act(ctx, e, c.key(), func(ctx context.Context) (events.Decision, error) {
		err := h.act(ctx, c)
		why, void := moot(err)
		if err != nil && !void {
			err = h.explain(ctx, e, c, err)
			return events.Decision{}, errors.Join(err, h.unreachable(ctx, e, c, err))
		}
		changed := events.Record{Actor: actor, Action: "github.changed", Run: p.RunID, Detail: strings.Join(c.steps, "; ")}
		d := events.Decision{
			Emit:  []events.Draft{events.Now(events.GitHubChanged{Repository: c.Repository, Issue: p.Issue, RunID: p.RunID, CommentID: c.commentID})},
			Audit: []events.Record{changed},
		}
		d.Emit = append(d.Emit, c.noted(ctx, err)...)
		if void {
			d.Audit = append(d.Audit, refused(p, why, err))
		}
		return d, nil
	})
}

// moot reports whether nothing has to be done about any part that failed: the issue was deleted or locked, the
// repository archived, the App suspended. Then the event is handled, as far as GitHub allows; the reason is the first
// part's.
func moot(err error) (first string, void bool) {
	parts, many := err.(interface{ Unwrap() []error })
	if !many {
		return github.Moot(err)
	}
	for _, part := range parts.Unwrap() {
		why, void := moot(part)
		if !void {
			return "", false
		}
		if first == "" {
			first = why
		}
	}
	return first, true
}

// actor is who acts, for the audit.
const actor = "function:github-caller"

// refused is the audit's line about what GitHub refused, in its words.
func refused(p events.GitHubChangeRequested, why string, err error) events.Record {
	return events.Record{Actor: actor, Action: "github.refused", Run: p.RunID, Reason: why, Detail: err.Error()}
}

// act locks the work item and brings every part to its state, in the order in which people look at them. All parts are
// tried: a commit that was force-pushed away must not keep the comment from saying so.
func (h *handler) act(ctx context.Context, c *change) (err error) {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	if c.client, err = h.client(ctx, c.Repository); err != nil {
		return err
	}
	c.try("base branch", func() error { return h.base(ctx, c) })
	// The view holds a connection to Postgres while GitHub is called. So nothing below asks for a second one: if as
	// many changes as there are connections did, they would wait for each other.
	if c.view, err = h.db.GitHubView(ctx, c.home.Key, c.Issue); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.view.Close(ctx)) }()
	c.try("labels of the issue", func() error { return c.labels(ctx, c.Issue, c.On, c.Off) })
	c.try("labels of the pull request", func() error { return c.labels(ctx, c.PullRequest, c.PullOn, c.PullOff) })
	c.try("base of the pull request", func() error { return c.turn(ctx) })
	c.try("commit status", func() error { return c.status(ctx) })
	c.try("status comment", func() error { return c.comment(ctx) })
	c.try("note", func() error { c.unnoted = github.ClassifyError(c.note(ctx), c.now()); return c.unnoted })
	return c.failed.err()
}

// base looks up the commit that a new run is based on, before its agent begins. If there is no such branch the agent
// will report it.
func (h *handler) base(ctx context.Context, c *change) error {
	if c.Base == "" || c.RunID == "" {
		return nil
	}
	ref, _, err := c.client.Git.GetRef(ctx, c.owner, c.name, "heads/"+c.Base)
	var refused *github.Refused
	if err = github.ClassifyError(err, c.now()); errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	kept, err := h.db.KeepBase(ctx, c.RunID, ref.GetObject().GetSHA(), false)
	if kept {
		c.did("run based on %s of %s", ref.GetObject().GetSHA(), c.Base)
	}
	return err
}

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

// explain gives an error the kind that decides the answer: later for limits and locks; rejected for what GitHub refuses
// and somebody can fix, which is also audited; anything else is tried again.
func (h *handler) explain(ctx context.Context, e event.Event, c *change, err error) error {
	var limited *github.RateLimited
	var no *github.Refused
	switch {
	case errors.As(err, &limited):
		return events.RetryAt(limited.Until, h.noteLimit(ctx, c.client, err))
	case errors.Is(err, store.ErrLocked):
		return events.RetryAt(h.db.Now().Add(2*time.Second), err)
	case errors.Is(err, errFresh):
		return events.RetryAt(h.db.Now().Add(max(2*time.Second, c.age())), err) // a few tries, until it is old
	case errors.As(err, &no) && !temporary(err):
		said, audit := h.db.Emit(ctx, store.Cause{Source: e.Source(), ID: e.ID()}, c.key(), func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: c.noted(ctx, err), Audit: []events.Record{refused(c.GitHubChangeRequested, reason.GitHubRefused, err)}}, nil
		})
		if audit != nil {
			return errors.Join(err, audit) // not rejected before it is audited
		}
		_ = h.send(ctx, said...) // what gets lost timekeeper sends
		return events.Reject(reason.GitHubRefused, err)
	}
	return err
}

// unreachable says that people don't see a request on GitHub which has not worked for long, or will not before long:
// then another channel stands in. Should it work after all, that is said as well. err has its kind.
func (h *handler) unreachable(ctx context.Context, e event.Event, c *change, err error) error {
	_, final := events.AsRejected(err)
	if final || c.noteShown || c.Note == nil || c.Note.Delivered == nil {
		return nil
	}
	next := h.db.Now()
	if later := new(events.RetryLaterError); errors.As(err, &later) {
		next = later.Until
	} else {
		metrics.ApprovalMessages.Add(ctx, 1, c.Note.Delivered.Channel, "failed")
	}
	if next.Sub(e.Time()) <= events.Patience {
		return nil
	}
	told, failed := h.db.Emit(context.WithoutCancel(ctx), store.Cause{Source: e.Source(), ID: e.ID() + " unreachable"}, c.key(),
		func(context.Context, *store.Tx) (events.Decision, error) {
			return events.Decision{Emit: []events.Draft{c.hidden(ctx, reason.Unreachable, err)}}, nil
		})
	_ = h.send(ctx, told...) // what gets lost timekeeper sends
	return failed
}

// temporary reports whether any failed part may work the next time. Then all are tried again.
func temporary(err error) bool {
	var failed *failures
	if errors.As(err, &failed) {
		return failed.temporary
	}
	return false
}
