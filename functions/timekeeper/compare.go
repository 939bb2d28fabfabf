package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

const (
	// compareEvery is the distance between two comparisons of one repository.
	compareEvery = 5 * time.Minute
	// compareFor bounds one pass, below Knative's limit for a request.
	compareFor = 3 * time.Minute
	// remembered is how long GitHub keeps deliveries.
	// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/viewing-webhook-deliveries
	remembered = 3 * 24 * time.Hour
	// underWay is how long a webhook may take to us before it counts as lost.
	underWay = time.Minute
	// overlap is what the next pass looks at again: it must exceed underWay.
	overlap = 10 * time.Minute
)

// compare holds GitHub against what arrived, for each repository that has waited long enough. A rate limit ends the pass.
func (h *handler) compare(ctx context.Context, now time.Time) error {
	if h.clients == nil || !h.comparing.TryLock() {
		return nil
	}
	defer h.comparing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, compareFor)
	defer cancel()
	repositories, err := h.db.Unreconciled(ctx, now.Add(-compareEvery))
	if err != nil {
		return err
	}
	if h.tried == nil {
		h.tried = map[string]time.Time{}
	}
	var errs []error
	for _, r := range repositories {
		if now.Sub(h.tried[r.Name]) < compareEvery {
			continue
		}
		h.tried[r.Name] = now
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

func (h *handler) compareOne(ctx context.Context, r store.BoundRepository, now time.Time) error {
	client, err := h.clients.For(ctx, r.Name)
	if err != nil {
		return err
	}
	until, err := h.db.GitHubPause(ctx, client.Credential)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		return &github.RateLimited{Until: until}
	}
	owner, name, _ := strings.Cut(r.Name, "/")
	c := &comparison{handler: h, client: client, owner: owner, name: name, now: now}
	hook, err := c.deliveries(ctx, r)
	if err == nil {
		err = c.labels(ctx)
	}
	if err = github.Sort(err, now); err != nil {
		var limited *github.RateLimited
		if errors.As(err, &limited) {
			return errors.Join(err, h.db.PauseGitHub(context.WithoutCancel(ctx), client.Credential, limited.Until, limited.Error()))
		}
		return err
	}
	return h.db.Reconciled(ctx, r.Name, hook, now)
}

// A comparison is that of one repository.
type comparison struct {
	*handler
	client      *github.Client
	owner, name string
	now         time.Time
}

// deliveries takes in what GitHub sent and we never got. It returns the hook's id.
func (c *comparison) deliveries(ctx context.Context, r store.BoundRepository) (hook int64, err error) {
	hook = r.HookID
	if hook == 0 {
		if hook, err = c.findHook(ctx, r.SeenHooks); err != nil || hook == 0 {
			return 0, err
		}
	}
	since := c.now.Add(-remembered)
	if from := r.Reconciled.Add(-overlap); from.After(since) {
		since = from
	}
	byGUID := map[string]int64{}
	opts := &gh.ListCursorOptions{PerPage: 100}
	for done := false; !done; {
		page, resp, err := c.client.Repositories.ListHookDeliveries(ctx, c.owner, c.name, hook, opts)
		if github.Gone(github.Sort(err, c.now)) {
			return 0, nil // the hook was removed: it is looked for anew
		}
		if err != nil {
			return hook, fmt.Errorf("listing the deliveries of hook %d: %w", hook, err)
		}
		for _, d := range page {
			at := d.GetDeliveredAt().Time
			done = done || at.Before(since)
			if !at.Before(since) && c.now.Sub(at) >= underWay && len(events.Consumers(events.GitHubType(d.GetEvent()))) > 0 {
				byGUID[d.GetGUID()] = d.GetID()
			}
		}
		opts.Cursor = resp.Cursor
		done = done || opts.Cursor == ""
	}
	guids := make([]string, 0, len(byGUID))
	for guid := range byGUID {
		guids = append(guids, guid)
	}
	missing, err := c.db.MissingDeliveries(ctx, guids)
	if err != nil {
		return hook, err
	}
	for _, guid := range missing {
		if err := c.ingest(ctx, hook, byGUID[guid]); err != nil {
			return hook, err
		}
	}
	return hook, nil
}

// findHook looks for our webhook: one whose deliveries came before, or else the only one that goes to the adapter's path.
func (c *comparison) findHook(ctx context.Context, seen []int64) (int64, error) {
	hooks, _, err := c.client.Repositories.ListHooks(ctx, c.owner, c.name, &gh.ListOptions{PerPage: 100})
	var refused *github.Refused
	if err = github.Sort(err, c.now); errors.As(err, &refused) {
		slog.Debug("webhooks can't be listed, so deliveries are not compared", "repository", c.owner+"/"+c.name, "error", err)
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("listing the webhooks: %w", err)
	}
	var ours []int64
	for _, h := range hooks {
		if slices.Contains(seen, h.GetID()) {
			return h.GetID(), nil
		}
		if u, err := url.Parse(h.GetConfig().GetURL()); err == nil && h.GetActive() && strings.TrimRight(u.Path, "/") == "/github" {
			ours = append(ours, h.GetID())
		}
	}
	if len(ours) != 1 {
		slog.Debug("no webhook is known to be ours, so deliveries are not compared", "repository", c.owner+"/"+c.name)
		return 0, nil
	}
	return ours[0], nil
}

// ingest stores one delivery as webhook-adapter would have, and sends its event.
func (c *comparison) ingest(ctx context.Context, hook, id int64) error {
	whole, _, err := c.client.Repositories.GetHookDelivery(ctx, c.owner, c.name, hook, id)
	if err != nil {
		return fmt.Errorf("reading delivery %d: %w", id, err)
	}
	if whole.Request == nil || whole.Request.RawPayload == nil {
		return nil
	}
	payload := []byte(*whole.Request.RawPayload)
	d, err := github.Classify(whole.GetEvent(), whole.GetGUID(), payload)
	if err != nil {
		slog.Warn("a lost delivery can't be read", "id", whole.GetGUID(), "error", err)
		return nil
	}
	arrival := arrivalOf(d, payload, c.now)
	arrival.GitHub.HookID = hook
	outcomes, err := c.db.Receive(ctx, []store.Arrival{arrival})
	if err != nil {
		return err
	}
	if outcomes[0] != store.Accepted {
		return nil
	}
	slog.Warn("a delivery never arrived, it was taken from GitHub", "id", d.GUID, "event", d.Event, "action", d.Action, "repository", d.Repository)
	return c.send(ctx, arrival.Event)
}

// arrivalOf makes the delivery's event with the envelope that webhook-adapter gives it.
func arrivalOf(d github.Delivery, payload []byte, now time.Time) store.Arrival {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(d.GUID)
	e.SetType(d.Type())
	e.SetSource(d.Source())
	e.SetTime(now.UTC())
	e.SetDataContentType(event.ApplicationJSON)
	e.DataEncoded = payload
	if s := d.Subject(); s != "" {
		e.SetSubject(s)
	}
	extensions := map[string]string{"action": d.Action, "owner": d.Owner, "repository": d.Repository, "sender": d.Sender}
	var correlation string
	if d.Number > 0 && d.Repository != "" {
		item := events.WorkItem(d.Repository, int(d.Number))
		extensions[events.ExtPartition] = item
		if d.Event == "issues" { // a pull request is not a work item
			correlation, extensions[events.ExtCorrelation] = item, item
		}
	}
	for name, value := range extensions {
		if value != "" {
			e.SetExtension(name, value)
		}
	}
	return store.Arrival{
		Event: e, Correlation: correlation, Actor: "github:" + d.Sender, SHA256: sha256.Sum256(payload),
		GitHub: &store.GitHubDelivery{Event: d.Event, Action: d.Action, Repository: d.Repository},
	}
}

// causeOf names a label's event as the cause of what we say about it: the same label is told of once.
func (c *comparison) causeOf(id int64) event.Event {
	cause := event.New(event.CloudEventsVersionV1)
	cause.SetSource("https://github.com/" + c.owner + "/" + c.name)
	cause.SetID("issue-event-" + strconv.FormatInt(id, 10))
	return cause
}
