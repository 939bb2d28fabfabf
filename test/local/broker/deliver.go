package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The extensions of the broker and of a dead letter, https://knative.dev/docs/eventing/event-delivery/.
const (
	ttlExtension       = "knativebrokerttl"   // how often an event may still cause another by a reply
	arrivalExtension   = "knativearrivaltime" // when the ingress took it
	errorDestExtension = "knativeerrordest"   // the URL that failed
	errorCodeExtension = "knativeerrorcode"   // its last status code
	errorDataExtension = "knativeerrordata"   // the start of its last answer, base64
)

const (
	firstTTL         = 255
	maxErrorData     = 1024 // characters of base64
	maxBody          = 16 << 20
	anyBodyNoEvent   = http.StatusBadGateway
	noAnswerReported = http.StatusInternalServerError // what Knative reports when there was no answer at all
)

// ingress takes an event: 202, or 400 for what is no valid CloudEvent, 404 for another broker's path.
func (b *Broker) ingress(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "POST, OPTIONS")
	if r.Method == http.MethodOptions {
		w.Header().Set("WebHook-Allowed-Origin", "*")
		w.Header().Set("WebHook-Allowed-Rate", "*")
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "a broker takes POST", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path != b.path && r.URL.Path != b.path+"/" {
		http.Error(w, "there is no such broker here", http.StatusNotFound)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := b.accept(*e); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// accept marks the event as the ingress does and publishes it.
func (b *Broker) accept(e event.Event) error {
	e = e.Clone()
	if _, ok := e.Extensions()[ttlExtension]; !ok {
		e.SetExtension(ttlExtension, firstTTL)
	}
	e.SetExtension(arrivalExtension, time.Now().UTC())
	return b.publish(e)
}

// deliver brings the event to one Trigger's subscriber, its answer back to the broker, and a failure to the dead letter
// sink.
func (b *Broker) deliver(ctx context.Context, t *trigger, e event.Event, ttl any) {
	last := b.send(ctx, t, t.target, e, false)
	if ctx.Err() != nil {
		return
	}
	if last.err == nil {
		b.reply(t, last.reply, ttl)
		return
	}
	if t.deadTo == "" {
		slog.Warn("broker: event lost, the trigger has no dead letter sink", "trigger", t.name, "type", e.Type(), "id", e.ID(), "error", last.err)
		return
	}
	if last := b.send(ctx, t, t.deadTo, deadLetter(e, t.target, last), true); last.err != nil && ctx.Err() == nil {
		slog.Warn("broker: dead letter lost", "trigger", t.name, "type", e.Type(), "id", e.ID(), "error", last.err)
	}
}

// reply publishes the event that a subscriber answered with, with one life less.
func (b *Broker) reply(t *trigger, answer *event.Event, ttl any) {
	if answer == nil {
		return
	}
	lives, err := types.ToInteger(ttl)
	if err != nil || lives <= 1 {
		slog.Warn("broker: reply dropped, too many replies to replies", "trigger", t.name, "type", answer.Type())
		return
	}
	answer.SetExtension(ttlExtension, lives-1)
	if err := b.accept(*answer); err != nil {
		slog.Warn("broker: reply dropped", "trigger", t.name, "type", answer.Type(), "error", err)
	}
}

// deadLetter is the event with what went wrong.
func deadLetter(e event.Event, target string, last result) event.Event {
	dead := e.Clone()
	code, body := last.code, last.body
	if code == 0 {
		code, body = noAnswerReported, []byte("dispatch error: "+last.err.Error())
	}
	data := base64.StdEncoding.EncodeToString(body)
	dead.SetExtension(errorDestExtension, target)
	dead.SetExtension(errorCodeExtension, code)
	dead.SetExtension(errorDataExtension, data[:min(len(data), maxErrorData)])
	return dead
}

// result is what one attempt came to.
type result struct {
	code   int // 0 without an answer
	header http.Header
	body   []byte
	reply  *event.Event
	err    error // nil when delivered
}

// send tries until it is delivered, the failure is for good, the retries are spent, or the broker forgets.
func (b *Broker) send(ctx context.Context, t *trigger, target string, e event.Event, dead bool) result {
	for attempt := 1; ; attempt++ {
		if !b.waitUntilResumed(ctx) {
			return result{err: ctx.Err()}
		}
		began := time.Now()
		last := b.attempt(ctx, t, target, e)
		if ctx.Err() != nil {
			return last
		}
		final := last.err == nil || !retryable(last.code) || attempt > t.rules.retries
		if b.options.OnDelivery != nil {
			b.options.OnDelivery(Delivery{Event: e, Trigger: t.name, Target: target, DeadLetter: dead, Attempt: attempt,
				Code: last.code, Err: last.err, Final: final, Latency: time.Since(began)})
		}
		if final {
			return last
		}
		select {
		case <-ctx.Done():
		case <-time.After(t.rules.pause(attempt-1, last.code, last.header)):
		}
	}
}

// attempt makes one request, when one of the Trigger's slots is free.
func (b *Broker) attempt(ctx context.Context, t *trigger, target string, e event.Event) result {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return result{err: ctx.Err()}
	}
	if t.rules.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.rules.timeout)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return result{err: err}
	}
	encoding := binding.WithForceBinary(ctx)
	if t.rules.structured {
		encoding = binding.WithForceStructured(ctx)
	}
	if err := cehttp.WriteRequest(encoding, binding.ToMessage(&e), req); err != nil {
		return result{err: fmt.Errorf("writing the event: %w", err)}
	}
	req.Header.Set("Prefer", "reply")
	req.Header.Set("Kn-Namespace", t.namespace)
	resp, err := b.client.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return result{err: fmt.Errorf("reading the answer: %w", err)}
	}
	return judge(ctx, resp, body)
}

// judge reads an answer: see writeResponse in pkg/broker/filter/filter_handler.go for what a 2xx may carry.
func judge(ctx context.Context, resp *http.Response, body []byte) result {
	r := result{code: resp.StatusCode, header: resp.Header, body: body}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		r.err = fmt.Errorf("the subscriber answered %s", resp.Status)
		return r
	}
	message := cehttp.NewMessage(resp.Header, io.NopCloser(bytes.NewReader(body)))
	if message.ReadEncoding() == binding.EncodingUnknown {
		if len(body) > 0 {
			r.code, r.err = anyBodyNoEvent, errors.New("the subscriber answered with a body that is no CloudEvent; an answer must be empty or an event")
		}
		return r
	}
	reply, err := binding.ToEvent(ctx, message)
	if err == nil {
		err = reply.Validate()
	}
	if err != nil {
		r.code, r.err = anyBodyNoEvent, fmt.Errorf("the subscriber answered with a malformed event: %w", err)
		return r
	}
	r.reply = reply
	return r
}
