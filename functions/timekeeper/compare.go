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
		err := h.compareOne(ctx, r, now)
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

func (h *handler) compareOne(ctx context.Context, r store.BoundRepository, now time.Time) error {
	client, err := h.clients.For(ctx, r.Name)
	if err == nil {
		err = h.mayAsk(ctx, client)
	}
	if err != nil {
		return err
	}
	c := &comparison{handler: h, client: client, now: now}
	err = c.accounts(ctx)
	if err == nil {
		err = c.whole(ctx, r.Repository)
	}
	hook := r.HookID
	if err == nil && hook == 0 {
		hook, err = c.findHook(ctx)
	}
	if err == nil && hook != 0 {
		if err = h.takeMissing(ctx, c.hookLog(hook), r.Reconciled, now); github.Gone(err) {
			hook, err = 0, nil // it was removed: look for it again
		}
	}
	if err == nil {
		err = c.labels(ctx, r.Reconciled)
	}
	if err == nil {
		err = c.catalogue(ctx, r.Reconciled)
	}
	if err != nil {
		return h.noteLimit(ctx, client, err, now)
	}
	return h.db.Reconciled(ctx, r.Key, hook, now)
}

// A comparison is one repository's.
type comparison struct {
	*handler
	client      *github.Client
	repository  store.Repository
	base, clone string // the default branch, and where to clone from
	owner, name string
	now         time.Time
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

// findHook looks for our webhook: one from which deliveries came before, or else the only one that goes to the
// adapter's path.
func (c *comparison) findHook(ctx context.Context) (int64, error) {
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
