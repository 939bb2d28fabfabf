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
	since := now.Add(-remembered)
	if from := last.Add(-overlap); from.After(since) {
		since = from
	}
	missing := map[string]int64{} // delivery ids by GUID
	opts := &gh.ListCursorOptions{PerPage: 100}
	for done := false; !done; {
		page, resp, err := log.list(ctx, opts)
		if err != nil {
			return fmt.Errorf("listing the deliveries: %w", github.ClassifyError(err, now))
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
			return err
		}
		for _, guid := range guids {
			missing[guid] = ids[guid] // of several attempts any will do: they had the same payload
		}
		opts.Cursor = resp.Cursor
		done = done || opts.Cursor == ""
	}
	oldestFirst := slices.SortedFunc(maps.Values(missing), cmp.Compare)
	for _, id := range oldestFirst {
		if err := h.take(ctx, log, id, now); err != nil {
			return fmt.Errorf("delivery %d: %w", id, err)
		}
	}
	return nil
}

// take stores one delivery as webhook-adapter would have, and sends its event.
func (h *handler) take(ctx context.Context, log hookLog, id int64, now time.Time) error {
	whole, _, err := log.get(ctx, id)
	var refused *github.Refused
	if err = github.ClassifyError(err, now); errors.As(err, &refused) {
		slog.Warn("a lost delivery can't be had from GitHub", "delivery", id, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if whole.Request == nil || whole.Request.RawPayload == nil {
		slog.Warn("a lost delivery has no payload any more", "id", whole.GetGUID())
		return nil
	}
	payload := []byte(*whole.Request.RawPayload)
	d, err := webhook.Classify(whole.GetEvent(), whole.GetGUID(), payload)
	if err != nil {
		slog.Warn("a lost delivery can't be read", "id", whole.GetGUID(), "error", err)
		return nil
	}
	hook, _ := strconv.ParseInt(whole.Request.Headers[webhook.HeaderHook], 10, 64)
	arrival := store.Delivered(d.CloudEvent(payload, now), hook, webhook.SamePayload)
	why, err := h.past(ctx, d, payload, now)
	if err != nil {
		return err
	}
	if why != "" { // stored, and consumed by nobody
		arrival.Event.SetType(arrival.Event.Type() + ".past")
		slog.Info("a delivery never arrived, and is history", "id", d.GUID, "event", d.Event, "action", d.Action, "repository", d.Repository, "because", why)
	}
	outcomes, err := h.db.Receive(ctx, []store.Arrival{arrival})
	if events.Unstorable(err) {
		slog.Warn("a lost delivery can't be stored", "id", d.GUID, "error", err)
		return nil
	}
	if err != nil || outcomes[0] != store.Accepted {
		return err
	}
	slog.Warn("a delivery never arrived, it was taken from GitHub", "id", d.GUID, "event", d.Event, "action", d.Action, "repository", d.Repository)
	return h.send(ctx, arrival.Event)
}
