package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

const (
	// compareEvery is the time between two comparisons of one repository, or of the App.
	compareEvery = 5 * time.Minute
	// compareFor bounds one pass, below Knative's limit for a request.
	compareFor = 3 * time.Minute
)

// compare compares GitHub with what arrived: the App's own hook, and each repository that is due. A rate limit ends the
// pass.
func (h *handler) compare(ctx context.Context, now time.Time) error {
	if h.clients == nil || !h.comparing.TryLock() {
		return nil
	}
	defer h.comparing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, compareFor)
	defer cancel()
	if h.tried == nil {
		h.tried = map[string]time.Time{}
	}
	var errs []error
	if app := h.clients.App(); app != nil {
		if err := h.compareApp(ctx, app, now); err != nil {
			errs = append(errs, fmt.Errorf("the App's own hook: %w", err)) // its limits are not those of the repositories
		}
	}
	repositories, err := h.db.Unreconciled(ctx, now.Add(-compareEvery))
	if err != nil {
		return err
	}
	for _, r := range repositories {
		if !h.due(r.Key, now) {
			continue
		}
		c, err := h.open(ctx, r, now)
		if err == nil {
			err = h.noteLimit(ctx, c.client, c.carryOut(ctx), now)
		}
		var limited *github.RateLimited
		if errors.As(err, &limited) {
			slog.Info("comparing with GitHub ends early", "repository", r.Name, "reason", limited.Error())
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("repository %s: %w", r.Name, err))
		}
	}
	return errors.Join(errs...)
}

// due keeps what fails from being tried with every tick.
func (h *handler) due(name string, now time.Time) bool {
	if now.Sub(h.tried[name]) < compareEvery {
		return false
	}
	h.tried[name] = now
	return true
}

// mayAsk is an error while the credential has to pause.
func (h *handler) mayAsk(ctx context.Context, client *github.Client) error {
	until, err := h.db.GitHubPause(ctx, client.Credential)
	if err == nil && !until.IsZero() {
		err = &github.RateLimited{Until: until}
	}
	return err
}

// noteLimit tells all instances that err is a rate limit, if it is one.
func (h *handler) noteLimit(ctx context.Context, client *github.Client, err error, now time.Time) error {
	err = github.ClassifyError(err, now)
	var limited *github.RateLimited
	if errors.As(err, &limited) {
		err = errors.Join(err, h.db.PauseGitHub(context.WithoutCancel(ctx), client.Credential, limited.Until, limited.Error()))
	}
	return err
}

// compareApp takes in what GitHub sent to the App's own hook, about any repository, and we never got.
func (h *handler) compareApp(ctx context.Context, app *github.Client, now time.Time) error {
	until, err := h.db.AppReconciled(ctx, app.Credential)
	if err != nil || now.Sub(until) < compareEvery || !h.due(app.Credential, now) {
		return err
	}
	if err := h.mayAsk(ctx, app); err != nil {
		return err
	}
	err = h.takeMissing(ctx, hookLog{app.Apps.ListHookDeliveries, app.Apps.GetHookDelivery}, until, now)
	err = h.noteLimit(ctx, app, err, now)
	if err != nil && !github.Gone(err) { // gone: the App has no webhook
		return err
	}
	return h.db.ReconcileApp(ctx, app.Credential, now)
}

// A comparison is one repository's.
type comparison struct {
	*handler
	client      *github.Client
	bound       store.BoundRepository // as it was when it was last compared
	repository  store.Repository
	base, clone string // the default branch, and where to clone from
	owner, name string
	now         time.Time
}

// open is the comparison of a repository, if its credential may be used now.
func (h *handler) open(ctx context.Context, r store.BoundRepository, now time.Time) (*comparison, error) {
	client, err := h.clients.For(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return &comparison{handler: h, client: client, bound: r, now: now}, h.mayAsk(ctx, client)
}

// carryOut takes in what never arrived from the repository: who its members are, what it is called, deliveries, labels
// without an answer. Then its labels are compared with its process.
func (c *comparison) carryOut(ctx context.Context) error {
	if err := c.accounts(ctx); err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	hook, err := c.hook(ctx)
	if err == nil && hook != 0 {
		if err = c.takeMissing(ctx, c.hookLog(hook), c.bound.Reconciled, c.now); github.Gone(err) {
			hook, err = 0, nil // it was removed: look for it again
		}
	}
	if err != nil {
		return err
	}
	for t, err := range c.triggers(ctx) {
		if err != nil {
			return err
		}
		err := c.observe(ctx, t)
		if events.Unstorable(err) {
			slog.Warn("a label without a webhook can't be kept", "repository", c.repository.Name, "issue", t.issue.GetNumber(), "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("issue %d: %w", t.issue.GetNumber(), err)
		}
	}
	if err := c.catalogue(ctx); err != nil {
		return err
	}
	return c.db.Reconciled(ctx, c.bound.Key, hook, c.now)
}

// hookLog is GitHub's list of its deliveries to a hook of the repository.
func (c *comparison) hookLog(hook int64) hookLog {
	return hookLog{
		list: func(ctx context.Context, page *gh.ListCursorOptions) ([]*gh.HookDelivery, *gh.Response, error) {
			return c.client.Repositories.ListHookDeliveries(ctx, c.owner, c.name, hook, page)
		},
		get: func(ctx context.Context, id int64) (*gh.HookDelivery, *gh.Response, error) {
			return c.client.Repositories.GetHookDelivery(ctx, c.owner, c.name, hook, id)
		},
	}
}

// hook is our webhook, 0 = none is known: the one of the last comparison, else one from which deliveries came before,
// or else the only one that goes to the adapter's path.
func (c *comparison) hook(ctx context.Context) (int64, error) {
	if c.bound.HookID != 0 {
		return c.bound.HookID, nil
	}
	hooks, err := c.hooks(ctx)
	var refused *github.Refused
	if err = github.ClassifyError(err, c.now); errors.As(err, &refused) {
		slog.Debug("webhooks can't be listed, so deliveries are not compared", "repository", c.owner+"/"+c.name, "error", err)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("listing the webhooks: %w", err)
	}
	var all, ours []int64
	for _, h := range hooks {
		all = append(all, h.GetID())
		if u, err := url.Parse(h.GetConfig().GetURL()); err == nil && h.GetActive() && strings.TrimRight(u.Path, "/") == "/github" {
			ours = append(ours, h.GetID())
		}
	}
	if heard, err := c.db.HookHeard(ctx, all); err != nil || slices.Contains(all, heard) {
		return heard, err
	}
	if len(ours) != 1 {
		slog.Debug("no webhook is known to be ours, so deliveries are not compared", "repository", c.owner+"/"+c.name)
		return 0, nil
	}
	return ours[0], nil
}

func (c *comparison) hooks(ctx context.Context) (all []*gh.Hook, err error) {
	page := &gh.ListOptions{PerPage: 100}
	for {
		hooks, resp, err := c.client.Repositories.ListHooks(ctx, c.owner, c.name, page)
		if err != nil {
			return nil, err
		}
		all = append(all, hooks...)
		if page.Page = resp.NextPage; page.Page == 0 {
			return all, nil
		}
	}
}

// causeOf names a label's event as the cause of what we emit about it, so that a label is reported once.
func (c *comparison) causeOf(id int64) store.Cause {
	return store.Cause{Source: "https://github.com/" + c.owner + "/" + c.name, ID: "issue-event-" + strconv.FormatInt(id, 10)}
}
