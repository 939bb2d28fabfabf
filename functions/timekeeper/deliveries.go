package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

const (
	// remembered is how long GitHub keeps deliveries.
	// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/viewing-webhook-deliveries
	remembered = 3 * 24 * time.Hour
	// underWay is how long a webhook may take to arrive before it counts as lost.
	underWay = time.Minute
	// overlap is how much of its time the next pass looks at again: it must exceed underWay.
	overlap = 10 * time.Minute
)

// A hookLog is GitHub's own list of its deliveries to one hook, a repository's or the App's: page by page, the newest
// first, and each delivery with its payload.
type hookLog struct {
	list func(context.Context, *gh.ListCursorOptions) ([]*gh.HookDelivery, *gh.Response, error)
	get  func(context.Context, int64) (*gh.HookDelivery, *gh.Response, error)
}

// takeMissing takes in what was sent since the last pass and never arrived, the oldest first. A faulty delivery does
// not stop the others.
func (h *handler) takeMissing(ctx context.Context, log hookLog, last, now time.Time) error {
	missing, err := h.missing(ctx, log, last, now)
	if err != nil {
		return err
	}
	for _, id := range missing {
		d, err := log.read(ctx, id, now)
		if err == nil && d != nil {
			d.past, err = h.past(ctx, *d, now)
		}
		if err == nil && d != nil {
			err = h.take(ctx, *d, now)
		}
		if err != nil {
			return fmt.Errorf("delivery %d: %w", id, err)
		}
	}
	return nil
}

// missing are the ids of the deliveries that never arrived, the oldest first.
func (h *handler) missing(ctx context.Context, log hookLog, last, now time.Time) ([]int64, error) {
	since := now.Add(-remembered)
	if from := last.Add(-overlap); from.After(since) {
		since = from
	}
	missing := map[string]int64{} // by GUID
	opts := &gh.ListCursorOptions{PerPage: 100}
	for done := false; !done; {
		page, resp, err := log.list(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("listing the deliveries: %w", github.ClassifyError(err, now))
		}
		ids := map[string]int64{}
		for _, d := range page {
			at := d.GetDeliveredAt().Time
			done = done || at.Before(since)
			if !at.Before(since) && now.Sub(at) >= underWay && len(events.Consumers(events.GitHubType(d.GetEvent()))) > 0 {
				ids[d.GetGUID()] = d.GetID()
			}
		}
		guids, err := h.db.MissingDeliveries(ctx, slices.Collect(maps.Keys(ids)))
		if err != nil {
			return nil, err
		}
		for _, guid := range guids {
			missing[guid] = ids[guid] // of several attempts any will do: they had the same payload
		}
		opts.Cursor = resp.Cursor
		done = done || opts.Cursor == ""
	}
	return slices.SortedFunc(maps.Values(missing), cmp.Compare), nil
}

// A lost delivery is one that GitHub sent and that never arrived.
type lost struct {
	webhook.Delivery
	payload []byte
	hook    int64
	past    string // why it is obsolete; empty = it may still apply
}

// read gets a delivery from GitHub. One that can't be had or read is said in the log, and nil.
func (l hookLog) read(ctx context.Context, id int64, now time.Time) (*lost, error) {
	whole, _, err := l.get(ctx, id)
	var refused *github.Refused
	if err = github.ClassifyError(err, now); errors.As(err, &refused) {
		slog.Warn("a lost delivery can't be had from GitHub", "delivery", id, "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	if whole.Request == nil || whole.Request.RawPayload == nil {
		slog.Warn("a lost delivery has no payload any more", "id", whole.GetGUID())
		return nil, nil
	}
	payload := []byte(*whole.Request.RawPayload)
	d, err := webhook.Classify(whole.GetEvent(), whole.GetGUID(), payload)
	if err != nil {
		slog.Warn("a lost delivery can't be read", "id", whole.GetGUID(), "error", err)
		return nil, nil
	}
	hook, _ := strconv.ParseInt(whole.Request.Headers[webhook.HeaderHook], 10, 64)
	return &lost{Delivery: d, payload: payload, hook: hook}, nil
}

// take stores a delivery as webhook-adapter would have, and sends its event. What is past is stored, and nobody
// consumes it.
func (h *handler) take(ctx context.Context, d lost, now time.Time) error {
	arrival := store.Delivered(d.CloudEvent(d.payload, now), d.hook, webhook.SamePayload)
	log := slog.With("id", d.GUID, "event", d.Event, "action", d.Action, "repository", d.Repository)
	if d.past != "" {
		arrival.Event.SetType(arrival.Event.Type() + ".past")
		log.Info("a delivery never arrived, and is history", "because", d.past)
	}
	outcomes, err := h.db.Receive(ctx, []store.Arrival{arrival})
	if events.Unstorable(err) {
		log.Warn("a lost delivery can't be stored", "error", err)
		return nil
	}
	if err != nil || outcomes[0] != store.Accepted {
		return err
	}
	log.Warn("a delivery never arrived, it was taken from GitHub")
	return h.send(ctx, arrival.Event)
}
