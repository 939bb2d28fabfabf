package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"go.opentelemetry.io/otel/trace"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// maxEvents bounds a batch. It is stored in one transaction, or not at all.
const maxEvents = 500

// events takes CloudEvents of other systems in the three modes of the HTTP binding. A batch is refused as a whole when
// one of its events is.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	defer h.bodies.Guard(w, r, "")()
	var name string
	var outcomes []store.Outcome
	var es []event.Event
	err := func() error {
		body, err := readBody(w, r)
		if err != nil {
			return err
		}
		from, signed, err := h.authenticate(r, body)
		if err != nil {
			return err
		}
		name = from.Name
		if es, err = decode(r, body, signed); err != nil {
			return err
		}
		ctx, span := h.tracer.Start(r.Context(), "POST /events", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		arrivals := make([]store.Arrival, len(es))
		for i, e := range es {
			if why := from.mayNotSend(e.Source(), e.Type()); why != "" {
				return refuse(http.StatusForbidden, "forbidden", fmt.Errorf("event %d of %d: %s", i+1, len(es), why))
			}
			if events.Extension(e, events.ExtTraceparent) == "" {
				continueTrace(ctx, &e)
			}
			arrivals[i] = store.Arrival{Event: e, Actor: "source:" + from.Name}
		}
		outcomes, err = h.commits.commit(ctx, arrivals)
		return err
	}()
	said, err := summary(es, outcomes, err)
	h.answer(w, r, "events", start, said, err, slog.String("source", name), slog.Int("events", len(es)))
}

// summary is the answer to a request: its event's outcome, or the best of a batch.
func summary(es []event.Event, outcomes []store.Outcome, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	all := make([]reply, len(es))
	best := store.Duplicate
	for i, o := range outcomes {
		all[i] = reply{Status: o.String(), Delivery: es[i].ID()}
		if o == store.Reused {
			all[i].Status, all[i].Error = "refused", "event id reused with other data"
			err = refuse(http.StatusUnprocessableEntity, "id_reused", fmt.Errorf("event id %s reused with other data", es[i].ID()))
		}
		best = min(best, o)
	}
	if len(all) == 1 {
		return all[0], err
	}
	return reply{Status: best.String(), Events: all}, err
}

// decode reads the events of a request. Its errors name the place: line and column of JSON, or the event's number.
func decode(r *http.Request, body []byte, signed bool) ([]event.Event, error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	inBody := strings.HasPrefix(mediaType, "application/cloudevents")
	if signed && !inBody {
		return nil, refuse(http.StatusBadRequest, "unsigned_attributes",
			errors.New("in binary mode the signature would not cover the attributes: send structured or batched mode, or use a bearer token"))
	}
	if inBody {
		if err := checkJSON(body); err != nil {
			return nil, refuse(http.StatusBadRequest, "malformed", err)
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var es []event.Event
	var err error
	if strings.HasPrefix(mediaType, event.ApplicationCloudEventsBatchJSON) {
		es, err = cehttp.NewEventsFromHTTPRequest(r)
	} else {
		var e *event.Event
		if e, err = cehttp.NewEventFromHTTPRequest(r); err == nil {
			es = []event.Event{*e}
		}
	}
	switch {
	case errors.Is(err, binding.ErrUnknownEncoding):
		return nil, refuse(http.StatusUnsupportedMediaType, "media_type", errors.New("no CloudEvent: neither ce-* headers nor content type application/cloudevents+json"))
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "malformed", fmt.Errorf("reading the CloudEvent: %w", err))
	case len(es) == 0 || len(es) > maxEvents:
		return nil, refuse(http.StatusBadRequest, "malformed", fmt.Errorf("%d events in the batch, want 1 to %d", len(es), maxEvents))
	}
	for i := range es {
		if err := check(&es[i]); err != nil {
			return nil, refuse(http.StatusBadRequest, "malformed", fmt.Errorf("event %d of %d: %w", i+1, len(es), err))
		}
	}
	return es, nil
}

// check checks an event against the specification, and data that claims to be JSON against its grammar.
func check(e *event.Event) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("invalid CloudEvent: %w", err)
	}
	if err := events.Sendable(*e); err != nil {
		return err
	}
	if e.DataContentType() == "" {
		e.SetDataContentType(event.ApplicationJSON) // the specification's default
	}
	if e.DataMediaType() == event.ApplicationJSON && len(e.Data()) > 0 {
		if err := checkJSON(e.Data()); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	return nil
}

// checkJSON says at which line and column (both from 1) a text stops being JSON.
func checkJSON(data []byte) error {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &syntax) {
		before := data[:max(0, min(int(syntax.Offset)-1, len(data)))]
		return fmt.Errorf("malformed JSON at %d:%d: %w", 1+bytes.Count(before, []byte{'\n'}), len(before)-bytes.LastIndexByte(before, '\n'), err)
	}
	return nil
}
