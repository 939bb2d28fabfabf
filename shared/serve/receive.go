package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"codexk8s.dev/shared/events"
)

// maxEvent bounds an event on the wire: GitHub's largest payload is 25 MiB, and
// structured mode carries it as base64 at worst.
const maxEvent = 36 << 20

type eventHandler func(context.Context, event.Event) ([]event.Event, error)

// On registers the handler of an event of ours; the type is that of its payload.
func On[P events.Payload](s *Server, h func(context.Context, event.Event, P) ([]event.Event, error)) {
	var p P
	s.OnType(p.EventType(), func(ctx context.Context, e event.Event) ([]event.Event, error) {
		p, err := events.Decode[P](e)
		if err != nil {
			return nil, err
		}
		return h(ctx, e, p)
	})
}

// OnType registers the handler of events that another system names.
func (s *Server) OnType(eventType string, h func(context.Context, event.Event) ([]event.Event, error)) {
	if _, taken := s.handlers[eventType]; taken {
		panic("serve: two handlers for " + eventType) // a slip in wiring, seen by the first test
	}
	s.handlers[eventType] = h
}

// Types are the event types that the function handles, sorted; tests compare them with the Catalog.
func (s *Server) Types() []string { return slices.Sorted(maps.Keys(s.handlers)) }

// receive takes one CloudEvent from the Broker: decode, handle, send, answer.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	defer s.bodies.Guard(w, r, "")()
	r.Body = http.MaxBytesReader(w, r.Body, maxEvent)
	e, err := ReadEvent(r)
	if err != nil {
		s.answer(w, r.Context(), event.Event{}, 0, start, err)
		return
	}
	ctx, end := s.tel.receiving(r.Context(), &e)
	emitted, err := s.handle(ctx, e)
	if err == nil {
		err = s.Send(ctx, s.follow(ctx, emitted)...)
	}
	end(err)
	s.noteLater(ctx, e, err)
	s.answer(w, ctx, e, len(emitted), start, err)
	s.sweep.pass(s)
}

// Postpone makes the function record, with postpone, until when it can't handle an event: see [events.RetryAt]. The
// Broker retries for seconds, but a rate limit may last an hour, and the event need not be sent again before.
func (s *Server) Postpone(postpone func(ctx context.Context, e event.Event, until time.Time) error) {
	s.postpone = postpone
}

func (s *Server) noteLater(ctx context.Context, e event.Event, err error) {
	var later *events.RetryLaterError
	if s.postpone == nil || !errors.As(err, &later) {
		return
	}
	if err := s.postpone(ctx, e, later.Until); err != nil {
		slog.Warn("postponing an event; it is sent again sooner", "type", e.Type(), "id", e.ID(), "error", err)
	}
}

// ReadEvent reads and validates the one CloudEvent of a request, in binary or
// structured mode. Its errors are for the sender: a rejection that names the attribute.
func ReadEvent(r *http.Request) (event.Event, error) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return event.Event{}, err
		}
		if later := laterBody(err); later != nil {
			return event.Event{}, later
		}
		return event.Event{}, events.Malformed(fmt.Errorf("reading the CloudEvent: %w", err))
	}
	if err := e.Validate(); err != nil {
		return event.Event{}, events.Malformed(fmt.Errorf("invalid CloudEvent: %w", err))
	}
	return *e, nil
}

// handle calls the handler of the event's type. A panic becomes an error like any other, so it is logged and the Broker
// delivers again.
func (s *Server) handle(ctx context.Context, e event.Event) (emitted []event.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if h, ok := s.handlers[e.Type()]; ok {
		return h(ctx, e)
	}
	if s.isWokenBy(e.Type()) {
		return nil, nil
	}
	return nil, events.Reject("unexpected_type", fmt.Errorf("%s does not handle events of type %s: check its Trigger", s.name, e.Type()))
}

// isWokenBy reports whether events of the type only start the function.
func (s *Server) isWokenBy(eventType string) bool {
	return slices.Contains(events.Wakes[s.name], eventType)
}

// maxFollowed is how many events one delivery may lead to at once; the Broker brings the rest.
const maxFollowed = 16

// follow handles at once what the function emitted for itself: it is stored, so going through the Broker would only
// take time. It returns what to send: events that others consume too, and those that could not be handled, which the
// Broker brings back. If an event comes both ways, the receipt makes sure that it is handled once.
func (s *Server) follow(ctx context.Context, emitted []event.Event) (send []event.Event) {
	for n := 0; len(emitted) > 0; n++ {
		e := emitted[0]
		emitted = emitted[1:]
		consumers := events.Consumers(e.Type())
		if !slices.Contains(consumers, s.name) || n >= maxFollowed {
			send = append(send, e)
			continue
		}
		start := time.Now()
		ctx, end := s.tel.receiving(ctx, &e)
		more, err := s.handle(ctx, e)
		end(err)
		status, level := http.StatusAccepted, slog.LevelInfo
		if err != nil {
			status, level = StatusOf(err), slog.LevelWarn
		}
		if err != nil || len(consumers) > 1 {
			send = append(send, e)
		}
		s.report(ctx, level, e, status, len(more), start, err)
		emitted = append(emitted, more...)
	}
	return send
}

// answer turns an outcome into a status that Knative's delivery understands:
//
//	handled          202, empty
//	can't be read    400  → dead letter
//	too large        413  → dead letter
//	rejected         422  → dead letter (events.Unstorable too)
//	later            503 with Retry-After → delivered again
//	anything else    500  → delivered again
//
// and reports the delivery.
func (s *Server) answer(w http.ResponseWriter, ctx context.Context, e event.Event, emitted int, start time.Time, err error) {
	status, level := http.StatusAccepted, slog.LevelInfo
	if err != nil {
		status, level = StatusOf(err), slog.LevelError
		var later *events.RetryLaterError
		if errors.As(err, &later) {
			seconds := max(1, int(time.Until(later.Until).Seconds()+1))
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			level = slog.LevelWarn
		}
		http.Error(w, err.Error(), status)
	} else {
		w.WriteHeader(status)
	}
	s.report(ctx, level, e, status, emitted, start, err)
}

// report counts a delivery and writes its one log line.
func (s *Server) report(ctx context.Context, level slog.Level, e event.Event, status, emitted int, start time.Time, err error) {
	s.received(ctx, e.Type(), status, time.Since(start))
	attrs := []slog.Attr{
		slog.String("type", e.Type()), slog.String("id", e.ID()), slog.String("subject", e.Subject()),
		slog.String("correlation", events.Extension(e, events.ExtCorrelation)),
		slog.Int("status", status), slog.Int("emitted", emitted), slog.Duration("took", time.Since(start)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	slog.LogAttrs(ctx, level, "delivery", attrs...)
}

// StatusOf is the HTTP status for an error: see answer.
func StatusOf(err error) int {
	var tooLarge *http.MaxBytesError
	var later *events.RetryLaterError
	rejected, isRejected := events.AsRejected(err)
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case isRejected && rejected.Malformed:
		return http.StatusBadRequest
	case isRejected, events.Unstorable(err):
		return http.StatusUnprocessableEntity
	case errors.As(err, &later):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
