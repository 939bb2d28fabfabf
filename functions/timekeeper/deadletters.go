package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"codexk8s.dev/shared/events"
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
	destination, code, said := take(&e, "knativeerrordest"), take(&e, "knativeerrorcode"), take(&e, "knativeerrordata")
	log := slog.With("type", e.Type(), "id", e.ID(), "destination", destination, "code", code)
	status, _ := strconv.Atoi(code)
	if status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge && status != http.StatusUnprocessableEntity {
		log.Warn("delivery failed; it is sent again when it is due")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if plain, err := base64.StdEncoding.DecodeString(said); err == nil {
		said = string(plain)
	}
	// Postgres stores no zero byte in a text.
	said = strings.ReplaceAll(strings.ToValidUTF8(strings.TrimSpace(said), "?"), "\x00", "?")
	n, err := h.db.Bury(r.Context(), e, functionsOf(destination, e.Type()), status, said)
	if err != nil {
		log.Error("keeping a dead letter", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	log.Error("dead letter", "functions", n, "error", said)
	w.WriteHeader(http.StatusAccepted)
}

// take removes the extension from the event and returns its value.
func take(e *event.Event, name string) string {
	value, _ := types.Format(e.Extensions()[name])
	e.SetExtension(name, nil)
	return value
}

// functionsOf says where a delivery failed: in a cluster the destination's host begins with the function's name;
// elsewhere it may be any of the type's consumers.
func functionsOf(destination, eventType string) []string {
	if u, err := url.Parse(destination); err == nil {
		name, _, _ := strings.Cut(u.Hostname(), ".")
		if _, known := events.Catalog[name]; known {
			return []string{name}
		}
	}
	return events.Consumers(eventType)
}

// listed bounds the list; who has more than that has another problem.
const listed = 1000

// list shows the dead letters as JSON, the newest that are not replayed first.
func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	letters, err := h.db.DeadLetters(r.Context(), listed)
	if err != nil {
		slog.Error("listing dead letters", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(letters)
}

// replay sends one dead letter again: ?function=&source=&id=.
func (h *handler) replay(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	e, err := h.db.Replay(r.Context(), q.Get("function"), q.Get("source"), q.Get("id"))
	if errors.Is(err, store.ErrNotFound) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err == nil {
		err = h.send(r.Context(), e)
	}
	if err != nil {
		slog.Error("replaying a dead letter", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	slog.Info("dead letter replayed", "for", q.Get("function"), "type", e.Type(), "id", e.ID())
	w.WriteHeader(http.StatusAccepted)
}
