package main

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

// bury takes an event that the Broker could not deliver. Knative adds three extensions to it.
// https://knative.dev/docs/eventing/event-delivery/#configuring-channel-event-delivery
func (h *handler) bury(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 36<<20) // as large as an event may be
	e, err := serve.ReadEvent(r)
	if err != nil {
		http.Error(w, err.Error(), serve.StatusOf(err))
		return
	}
	destination, code, said := without(&e, "knativeerrordest"), without(&e, "knativeerrorcode"), without(&e, "knativeerrordata")
	log := slog.With("type", e.Type(), "id", e.ID(), "destination", destination, "code", code)
	status, _ := strconv.Atoi(code)
	if status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge && status != http.StatusUnprocessableEntity {
		if err := h.keep(r.Context(), e); err != nil {
			log.Error("keeping an event whose delivery failed", "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		log.Warn("delivery failed; it is sent again when it is due")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if plain, err := base64.StdEncoding.DecodeString(said); err == nil {
		said = string(plain)
	}
	said = plain.Text(strings.TrimSpace(said))
	n, err := h.db.Bury(r.Context(), e, functionsOf(destination, e.Type()), status, said)
	if err != nil {
		log.Error("keeping a dead letter", "error", err)
		http.Error(w, err.Error(), serve.StatusOf(err))
		return
	}
	metrics.DeadLetters.Add(r.Context(), float64(n), "refused")
	log.Error("dead letter", "functions", n, "error", said)
	w.WriteHeader(http.StatusAccepted)
}

// keep makes sure that an event whose delivery failed for a while is outstanding. Events that our functions sent are so
// already. One of a GitHubSource that feeds the Broker is not, because nobody stored it before it was sent. Knative's
// other events leave no receipt and matter only for the moment: a tick is followed by the next, and run.check asks the
// cluster.
func (h *handler) keep(ctx context.Context, e event.Event) error {
	if !h.db.MayBeUnlogged(e) {
		return nil
	}
	_, err := h.db.Receive(ctx, []store.Arrival{{Event: e, Actor: "function:timekeeper"}})
	return err
}

// without removes the extension from the event and returns its value.
func without(e *event.Event, name string) string {
	value, _ := types.Format(e.Extensions()[name])
	e.SetExtension(name, nil)
	return value
}

// functionsOf says where a delivery failed: in a cluster the destination's host begins with the function's name;
// elsewhere it may be any of the type's consumers. A function that was only to be woken has missed nothing.
func functionsOf(destination, eventType string) []string {
	if u, err := url.Parse(destination); err == nil {
		name, _, _ := strings.Cut(u.Hostname(), ".")
		if slices.Contains(events.Wakes[name], eventType) {
			return nil
		}
		if _, known := events.Catalog[name]; known {
			return []string{name}
		}
	}
	return events.Consumers(eventType)
}
