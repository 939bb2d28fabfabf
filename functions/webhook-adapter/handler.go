package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

type handler struct {
	secrets webhook.Secrets
	sources []source
	commits *committer
	bodies  *serve.Bodies
	tracer  trace.Tracer
}

// largeBodies is how many bodies of more than some hundred kilobytes are held at a time, each up to webhook.MaxPayload
// and several times that while it is decoded. Anybody may send one: whose it is shows only when it is there.
const largeBodies = 3

func newHandler(secrets webhook.Secrets, sources []source, commits *committer) *handler {
	return &handler{secrets: secrets, sources: sources, commits: commits, bodies: serve.NewBodies(largeBodies), tracer: otel.Tracer(metrics.Scope)}
}

func (h *handler) routes(s *serve.Server) {
	s.Handle("POST /github", http.HandlerFunc(h.github))
	s.Handle("POST /events", http.HandlerFunc(h.events))
}

// A reply is the answer's body. For a batch of CloudEvents it has one entry per event, in order.
type reply struct {
	Status   string  `json:"status"` // accepted, ignored, duplicate, or refused
	Delivery string  `json:"delivery,omitempty"`
	Error    string  `json:"error,omitempty"`
	Events   []reply `json:"events,omitempty"`
}

// A refusal is the sender's fault, with the status that says so.
type refusal struct {
	status int
	reason string // of the metric
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(status int, reason string, err error) error { return &refusal{status, reason, err} }

// github takes one delivery. The signature over the raw bytes comes first: nothing is parsed for a stranger.
func (h *handler) github(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	defer h.bodies.Guard(w, r, "")()
	d := webhook.Delivery{Event: r.Header.Get(webhook.HeaderEvent), GUID: r.Header.Get(webhook.HeaderDelivery)}
	var outcome store.Outcome
	err := func() error {
		body, err := readBody(w, r)
		if err != nil {
			return err
		}
		if err := h.secrets.Verify(r.Header.Get(webhook.HeaderSignature), body); err != nil {
			return refuse(http.StatusUnauthorized, signatureReason(err), err)
		}
		payload, err := payloadOf(r.Header.Get("Content-Type"), body)
		if err != nil {
			return err
		}
		if d, err = webhook.Classify(d.Event, d.GUID, payload); err != nil {
			return refuse(http.StatusBadRequest, "malformed", err)
		}
		hook, _ := strconv.ParseInt(r.Header.Get(webhook.HeaderHook), 10, 64)
		arrival := store.Delivered(d.CloudEvent(payload, start), hook, webhook.SamePayload)
		ctx, span := h.tracer.Start(r.Context(), "POST /github", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		continueTrace(ctx, &arrival.Event)
		outcomes, err := h.commits.commit(ctx, []store.Arrival{arrival})
		if err != nil {
			return err
		}
		outcome = outcomes[0]
		return nil
	}()
	if outcome == store.Reused {
		err = refuse(http.StatusUnprocessableEntity, "id_reused", errors.New("delivery id reused with another payload"))
	}
	h.answer(w, r, "github", start, reply{Status: outcome.String(), Delivery: d.GUID}, err,
		slog.String("event", d.Event), slog.String("action", d.Action), slog.String("repository", d.Repository), slog.String("subject", d.Subject()))
}

func signatureReason(err error) string {
	if errors.Is(err, webhook.ErrNoSignature) {
		return "no_signature"
	}
	return "wrong_signature"
}

// readBody reads up to GitHub's own limit, whatever the headers promise.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := refuse(http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("more than %d bytes", webhook.MaxPayload))
	if r.ContentLength > webhook.MaxPayload {
		return nil, tooLarge
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), 64<<10)) + bytes.MinRead) // a large body has to wait for its turn first
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, webhook.MaxPayload)); err != nil {
		if limit := new(http.MaxBytesError); errors.As(err, &limit) {
			return nil, tooLarge
		}
		if errors.Is(err, serve.ErrBusy) {
			return nil, fmt.Errorf("reading the body: %w", err)
		}
		return nil, refuse(http.StatusBadRequest, "incomplete", fmt.Errorf("reading the body: %w", err))
	}
	return b.Bytes(), nil
}

// payloadOf takes the payload out of the body: as configured, a hook sends it as JSON or as the field "payload" of a
// form.
// https://docs.github.com/en/webhooks/using-webhooks/creating-webhooks#creating-a-repository-webhook
func payloadOf(contentType string, body []byte) ([]byte, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && mediaType == "application/json":
		return body, nil
	case err == nil && mediaType == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "malformed", fmt.Errorf("reading the form: %w", err))
		}
		if !form.Has("payload") {
			return nil, refuse(http.StatusBadRequest, "malformed", errors.New("the form has no field payload"))
		}
		return []byte(form.Get("payload")), nil
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "media_type",
		fmt.Errorf("content type %q, want application/json or application/x-www-form-urlencoded", contentType))
}

// continueTrace puts the trace of the request on the event; without tracing it does nothing.
func continueTrace(ctx context.Context, e *event.Event) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	e.SetExtension(events.ExtTraceparent, carrier["traceparent"])
}

// answer reports the outcome of a request: once to the sender, once in the log, once in the metrics.
//
//	accepted               202
//	ignored, duplicate     200
//	refused                4xx, with the reason
//	not stored             503 with Retry-After: nothing is lost if the sender tries again
func (h *handler) answer(w http.ResponseWriter, r *http.Request, route string, start time.Time, said reply, err error, attrs ...slog.Attr) {
	status, reason, level := http.StatusOK, said.Status, slog.LevelInfo
	if said.Status == store.Accepted.String() {
		status = http.StatusAccepted
	}
	if err != nil {
		said = reply{Status: "refused", Delivery: said.Delivery, Error: err.Error(), Events: said.Events}
		var no *refusal
		switch {
		case errors.As(err, &no):
			status, reason, level = no.status, no.reason, slog.LevelWarn
		case events.Unstorable(err):
			status, reason, level = http.StatusUnprocessableEntity, "unstorable", slog.LevelWarn
			said.Error = "the event holds what can't be stored, such as a zero byte in a text"
		default:
			status, reason, level = http.StatusServiceUnavailable, "not_stored", slog.LevelError
			said.Status, said.Error = "failed", errBusy.Error()
			w.Header().Set("Retry-After", "5")
		}
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	body, _ := json.Marshal(said) // strings only
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	metrics.WebhookRequests.Add(r.Context(), 1, route, reason, strconv.Itoa(status))
	attrs = append(attrs, slog.String("id", said.Delivery), slog.String("outcome", reason), slog.Int("status", status), slog.Duration("took", time.Since(start)))
	slog.LogAttrs(r.Context(), level, "delivery on /"+route, attrs...)
}
