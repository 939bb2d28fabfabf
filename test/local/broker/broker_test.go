package broker

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"
)

// subscriber answers each request with the next of its answers, the last one for ever, and notes what came.
type subscriber struct {
	*httptest.Server
	mu      sync.Mutex
	answers []http.HandlerFunc
	events  []event.Event
	times   []time.Time
}

func subscribe(t *testing.T, answers ...http.HandlerFunc) *subscriber {
	t.Helper()
	s := &subscriber{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Errorf("the subscriber got no event: %v", err)
			return
		}
		s.mu.Lock()
		s.events = append(s.events, *e)
		s.times = append(s.times, time.Now())
		answer := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) got() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func code(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func text(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func trigger1(t *testing.T, name, spec string) *eventingv1.Trigger {
	t.Helper()
	tr := &eventingv1.Trigger{}
	if err := yaml.UnmarshalStrict([]byte(spec), &tr.Spec); err != nil {
		t.Fatal(err)
	}
	tr.Name, tr.Namespace = name, "codexk8s"
	return tr
}

// start starts a broker whose destinations are the `ref.name`s given as URLs.
func start(t *testing.T, delivery string, urls map[string]string, triggers ...*eventingv1.Trigger) (*Broker, func() []string) {
	t.Helper()
	b := &eventingv1.Broker{}
	b.Name, b.Namespace = "default", "codexk8s"
	if err := yaml.UnmarshalStrict([]byte(delivery), &b.Spec.Delivery); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log []string
	broker, err := Start(Options{
		Broker: b, Triggers: triggers,
		Resolve: func(d *duckv1.Destination, _ string) (string, error) {
			url, ok := urls[d.Ref.Name]
			if !ok {
				return "", fmt.Errorf("no service %s", d.Ref.Name)
			}
			return url, nil
		},
		OnDelivery: func(d Delivery) {
			mu.Lock()
			defer mu.Unlock()
			line := fmt.Sprintf("%s #%d %d", d.Trigger, d.Attempt, d.Code)
			if d.DeadLetter {
				line += " dead letter"
			}
			if d.Final && d.Err != nil {
				line += " given up"
			}
			log = append(log, line)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	return broker, func() []string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := broker.Idle(ctx); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(log)
	}
}

func post(t *testing.T, url string, header map[string]string, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func binary(eventType string) map[string]string {
	return map[string]string{"Ce-Specversion": "1.0", "Ce-Type": eventType, "Ce-Source": "/test", "Ce-Id": "1", "Content-Type": "application/json"}
}

const toOne = `{broker: default, subscriber: {ref: {kind: Service, name: one}}}`

// Knative's delivery rules, https://knative.dev/docs/eventing/event-delivery/: what is tried again, what goes to the
// dead letter sink at once, and what counts as an answer.
func TestDeliveryRules(t *testing.T) {
	const twoRetries = `{retry: 2, backoffPolicy: exponential, backoffDelay: PT0.001S, deadLetterSink: {ref: {kind: Service, name: dead}}}`
	for _, test := range []struct {
		name    string
		answers []http.HandlerFunc
		want    []string
	}{
		{"200 empty", []http.HandlerFunc{code(200)}, []string{"one #1 200"}},
		{"202 empty", []http.HandlerFunc{code(202)}, []string{"one #1 202"}},
		{"500 is tried again", []http.HandlerFunc{code(500), code(202)}, []string{"one #1 500", "one #2 202"}},
		{"503 is tried again", []http.HandlerFunc{code(503), code(202)}, []string{"one #1 503", "one #2 202"}},
		{"404 is tried again", []http.HandlerFunc{code(404), code(202)}, []string{"one #1 404", "one #2 202"}},
		{"408 is tried again", []http.HandlerFunc{code(408), code(202)}, []string{"one #1 408", "one #2 202"}},
		{"409 is tried again", []http.HandlerFunc{code(409), code(202)}, []string{"one #1 409", "one #2 202"}},
		{"429 is tried again", []http.HandlerFunc{code(429), code(202)}, []string{"one #1 429", "one #2 202"}},
		{"no answer is tried again", []http.HandlerFunc{hangUp, code(202)}, []string{"one #1 0", "one #2 202"}},
		{"400 is for good", []http.HandlerFunc{code(400)}, []string{"one #1 400 given up", "one #1 202 dead letter"}},
		{"422 is for good", []http.HandlerFunc{code(422)}, []string{"one #1 422 given up", "one #1 202 dead letter"}},
		{"304 is for good", []http.HandlerFunc{code(304)}, []string{"one #1 304 given up", "one #1 202 dead letter"}},
		{"retries end", []http.HandlerFunc{code(500)}, []string{"one #1 500", "one #2 500", "one #3 500 given up", "one #1 202 dead letter"}},
		{"a body that is no event is a failure", []http.HandlerFunc{text(200, "ok"), code(202)}, []string{"one #1 502", "one #2 202"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			one, dead := subscribe(t, test.answers...), subscribe(t, code(202))
			b, log := start(t, twoRetries, map[string]string{"one": one.URL, "dead": dead.URL}, trigger1(t, "one", toOne))
			if got := post(t, b.URL(), binary("dev.codexk8s.test"), `{}`); got != 202 {
				t.Errorf("the ingress answered %d", got)
			}
			if diff := cmp.Diff(test.want, log()); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADeadLetterSaysWhatFailed(t *testing.T) {
	one, dead := subscribe(t, text(422, "no such run")), subscribe(t, code(202))
	b, log := start(t, `{retry: 5, deadLetterSink: {ref: {kind: Service, name: dead}}}`,
		map[string]string{"one": one.URL, "dead": dead.URL + "/dead"}, trigger1(t, "one", toOne))
	header := binary("dev.codexk8s.test")
	header["Ce-Correlationid"] = "o/r#1"
	post(t, b.URL(), header, `{"a":1}`)
	log()
	events := dead.got()
	if len(events) != 1 {
		t.Fatalf("%d dead letters", len(events))
	}
	extensions := events[0].Extensions()
	delete(extensions, arrivalExtension)
	want := map[string]any{
		"correlationid":    "o/r#1",
		"knativeerrordest": one.URL,
		"knativeerrorcode": "422",
		"knativeerrordata": base64.StdEncoding.EncodeToString([]byte("no such run")),
	}
	if diff := cmp.Diff(want, extensions); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if string(events[0].Data()) != `{"a":1}` {
		t.Errorf("data %s", events[0].Data())
	}
}

func TestBackoffAndRetryAfter(t *testing.T) {
	slow := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "100")
		w.WriteHeader(503)
	}
	for _, test := range []struct {
		name, delivery string
		want           []int
	}{
		{"exponential", `{retry: 3, backoffPolicy: exponential, backoffDelay: PT0.1S}`, []int{100, 200, 400}},
		{"linear starts at nothing", `{retry: 3, backoffPolicy: linear, backoffDelay: PT0.1S}`, []int{0, 100, 200}},
		{"retry-after up to its maximum", `{retry: 1, retryAfterMax: PT0.2S}`, []int{200}},
		{"retry-after is off without a maximum", `{retry: 1}`, []int{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// A pause may be longer than the rule on a busy machine, so a late one is tried again.
			var late []string
			for range 5 {
				one := subscribe(t, slow)
				b, log := start(t, test.delivery, map[string]string{"one": one.URL}, trigger1(t, "one", toOne))
				post(t, b.URL(), binary("dev.codexk8s.test"), `{}`)
				log()
				if len(one.times) != len(test.want)+1 {
					t.Fatalf("%d attempts", len(one.times))
				}
				late = nil
				for i, want := range test.want {
					gap, low := one.times[i+1].Sub(one.times[i]), time.Duration(want)*time.Millisecond
					if gap < low {
						t.Fatalf("pause %d was %s, less than %s", i, gap, low)
					}
					if gap > low+95*time.Millisecond {
						late = append(late, fmt.Sprintf("pause %d was %s, want %s", i, gap, low))
					}
				}
				if late == nil {
					return
				}
			}
			t.Error(late)
		})
	}
}

func TestATriggersDeliveryReplacesTheBrokers(t *testing.T) {
	one := subscribe(t, code(500))
	b, log := start(t, `{retry: 9}`, map[string]string{"one": one.URL},
		trigger1(t, "one", `{broker: default, delivery: {retry: 1}, subscriber: {ref: {kind: Service, name: one}}}`))
	post(t, b.URL(), binary("dev.codexk8s.test"), `{}`)
	if diff := cmp.Diff([]string{"one #1 500", "one #2 500 given up"}, log()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestTheTimeoutOfARequest(t *testing.T) {
	one := subscribe(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	}, code(202))
	b, log := start(t, `{retry: 1, timeout: PT0.1S}`, map[string]string{"one": one.URL}, trigger1(t, "one", toOne))
	post(t, b.URL(), binary("dev.codexk8s.test"), `{}`)
	if diff := cmp.Diff([]string{"one #1 0", "one #2 202"}, log()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestFiltersChooseAndRepliesAreEvents(t *testing.T) {
	one := subscribe(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range binary("dev.codexk8s.b") {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, `{"answer":true}`)
	})
	two := subscribe(t, code(202))
	b, log := start(t, `{}`, map[string]string{"one": one.URL, "two": two.URL},
		trigger1(t, "one", `{broker: default, filters: [{any: [{exact: {type: dev.codexk8s.a}}, {exact: {type: dev.codexk8s.c}}]}], subscriber: {ref: {kind: Service, name: one}}}`),
		trigger1(t, "two", `{broker: default, filter: {attributes: {type: dev.codexk8s.b}}, subscriber: {ref: {kind: Service, name: two}}}`))
	post(t, b.URL(), binary("dev.codexk8s.a"), `{}`)
	post(t, b.URL(), binary("dev.codexk8s.z"), `{}`)
	if diff := cmp.Diff([]string{"one #1 200", "two #1 202"}, log()); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if events := two.got(); len(events) != 1 || string(events[0].Data()) != `{"answer":true}` {
		t.Errorf("the reply arrived as %v", events)
	}
}

func TestRepliesToRepliesEnd(t *testing.T) {
	one := subscribe(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range binary("dev.codexk8s.a") {
			w.Header().Set(name, value)
		}
	})
	b, log := start(t, `{}`, map[string]string{"one": one.URL}, trigger1(t, "one", toOne))
	post(t, b.URL(), binary("dev.codexk8s.a"), `{}`)
	if got := len(log()); got != firstTTL {
		t.Errorf("%d deliveries", got)
	}
}

func TestIngress(t *testing.T) {
	b, _ := start(t, `{}`, nil)
	structured := map[string]string{"Content-Type": "application/cloudevents+json"}
	for _, test := range []struct {
		name, url string
		header    map[string]string
		body      string
		want      int
	}{
		{"binary", b.URL(), binary("a"), `{}`, 202},
		{"structured", b.URL(), structured, `{"specversion":"1.0","type":"a","source":"/s","id":"1"}`, 202},
		{"no event", b.URL(), nil, `{}`, 400},
		{"no id", b.URL(), map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "a", "Ce-Source": "/s"}, `{}`, 400},
		{"broken json", b.URL(), structured, `{"specversion":"1.0"`, 400},
		{"another broker", "http://" + b.Address() + "/codexk8s/other", binary("a"), `{}`, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := post(t, test.url, test.header, test.body); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	b.Refuse(true)
	if got := post(t, b.URL(), binary("a"), `{}`); got != 503 {
		t.Errorf("a refusing broker answered %d", got)
	}
}

func TestPauseForgetAndDrop(t *testing.T) {
	one := subscribe(t, code(202))
	b, log := start(t, `{}`, map[string]string{"one": one.URL}, trigger1(t, "one", toOne))
	b.Pause()
	post(t, b.URL(), binary("a"), `{}`)
	post(t, b.URL(), binary("a"), `{}`)
	if n := b.Forget(); n != 2 {
		t.Errorf("%d deliveries were forgotten", n)
	}
	post(t, b.URL(), binary("b"), `{}`)
	b.Resume()
	log()
	b.Drop(1)
	post(t, b.URL(), binary("c"), `{}`)
	post(t, b.URL(), binary("d"), `{}`)
	log()
	var types []string
	for _, e := range one.got() {
		types = append(types, e.Type())
	}
	if diff := cmp.Diff([]string{"b", "d"}, types); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
}

func TestAnUnknownSubscriberIsAnError(t *testing.T) {
	b := &eventingv1.Broker{}
	_, err := Start(Options{Broker: b, Triggers: []*eventingv1.Trigger{trigger1(t, "one", toOne)},
		Resolve: func(d *duckv1.Destination, _ string) (string, error) {
			return "", fmt.Errorf("no service %s", d.Ref.Name)
		}})
	if err == nil || err.Error() != "trigger one: subscriber: no service one" {
		t.Errorf("got %v", err)
	}
}
