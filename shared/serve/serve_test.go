package serve

import (
	"context"
	"errors"
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

	"codexk8s.dev/shared/events"
)

// post sends a binary-mode event of the type and returns the whole answer.
func post(t *testing.T, url, eventType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "test", "Ce-Type": eventType, "Content-Type": "application/json"} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(said)
}

func TestAnswers(t *testing.T) {
	cases := []struct {
		name   string
		handle func() error
		status int
	}{
		{"handled", func() error { return nil }, 202},
		{"malformed", func() error { return events.Malformed(errors.New("no JSON")) }, 400},
		{"rejected", func() error { return events.Reject("unknown_run", errors.New("no such run")) }, 422},
		{"wrapped rejection", func() error { return fmt.Errorf("deciding: %w", events.Reject("x", errors.New("y"))) }, 422},
		{"later", func() error { return events.RetryAt(time.Now().Add(time.Minute), errors.New("rate limited")) }, 503},
		{"temporary", func() error { return errors.New("connecting to Postgres: refused") }, 500},
		{"panic", func() error { panic("a bug") }, 500},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := New("test", "")
			postponed := ""
			s.Postpone(func(_ context.Context, e event.Event, until time.Time) error {
				postponed = fmt.Sprint(e.ID(), " for ", time.Until(until).Round(time.Minute))
				return errors.New("connecting to Postgres: refused") // changes nothing about the answer
			})
			s.OnType("known", func(context.Context, event.Event) ([]event.Event, error) { return nil, c.handle() })
			srv := httptest.NewServer(s.Handler())
			defer srv.Close()
			resp, said := post(t, srv.URL, "known", "{}")
			if resp.StatusCode != c.status {
				t.Errorf("answered %d, want %d", resp.StatusCode, c.status)
			}
			for name := range resp.Header {
				if strings.HasPrefix(strings.ToLower(name), "ce-") {
					t.Errorf("the answer has the header %s: Knative would take it for an event", name)
				}
			}
			if (c.status == 202) != (said == "") {
				t.Errorf("status %d has the body %q", c.status, said)
			}
			if (c.status == 503) != (resp.Header.Get("Retry-After") != "") {
				t.Errorf("status %d has Retry-After %q", c.status, resp.Header.Get("Retry-After"))
			}
			if want := map[bool]string{true: "1 for 1m0s"}[c.status == 503]; postponed != want {
				t.Errorf("postponed: %q, want %q", postponed, want)
			}
		})
	}
}

func TestBadEvents(t *testing.T) {
	srv := httptest.NewServer(New("test", "").Handler())
	defer srv.Close()
	if resp, said := post(t, srv.URL, "unheard.of", "{}"); resp.StatusCode != 422 || !strings.Contains(said, "unheard.of") {
		t.Errorf("a type without handler: %d %q", resp.StatusCode, said)
	}
	resp, err := http.Post(srv.URL, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("a request that is no CloudEvent: %d", resp.StatusCode)
	}
}

// A wake-up starts the function and asks nothing else of it: no handler, no receipt, and nothing is sent.
func TestAWakeUpIsAnsweredAndThatIsAll(t *testing.T) {
	srv := httptest.NewServer(New("agent-launcher", "").Handler())
	defer srv.Close()
	for eventType, want := range map[string]int{events.GitHubType("issues"): 202, events.GitHubType("push"): 422} {
		if resp, said := post(t, srv.URL, eventType, "{}"); resp.StatusCode != want || (want == 202 && said != "") {
			t.Errorf("%s was answered %d %q, want %d", eventType, resp.StatusCode, said, want)
		}
	}
}

func TestOversize(t *testing.T) {
	s := New("test", "")
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, "/", io.LimitReader(zeros{}, maxEvent+1))
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "test", "Ce-Type": "t", "Content-Type": "application/json"} {
		req.Header.Set(k, v)
	}
	s.OnType("t", func(context.Context, event.Event) ([]event.Event, error) { return nil, nil })
	s.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestSentEventsArriveWhole(t *testing.T) {
	var got event.Event
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			t.Error(err)
			return
		}
		got = *e
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	e := event.New()
	e.SetID("id 1")
	e.SetSource("https://codexk8s.dev/test")
	e.SetType("dev.codexk8s.test")
	e.SetSubject(`owner/repo#1 größe "100 %"`)
	e.SetTime(time.Date(2026, 11, 1, 12, 0, 0, 123456000, time.UTC))
	e.SetExtension(events.ExtCorrelation, "acme/demo#1")
	if err := e.SetData(event.ApplicationJSON, map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	s := New("test", broker.URL)
	if err := s.sink.override(`{"extensions":{"cluster":"eu"}}`); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	e.SetExtension("cluster", "eu")
	if diff := cmp.Diff(e.String(), got.String()); diff != "" {
		t.Errorf("sent and received (-want +got):\n%s", diff)
	}
}

func TestARefusedSendIsTheCallersFailure(t *testing.T) {
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no channel", http.StatusServiceUnavailable)
	}))
	defer broker.Close()
	s := New("test", broker.URL)
	e := event.New()
	e.SetID("1")
	e.SetSource("test")
	e.SetType("out")
	s.OnType("in", func(context.Context, event.Event) ([]event.Event, error) { return []event.Event{e}, nil })
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	if resp, said := post(t, srv.URL, "in", "{}"); resp.StatusCode != 500 || !strings.Contains(said, "no channel") {
		t.Errorf("%d %q", resp.StatusCode, said)
	}
}

// TestWhatAFunctionTellsItselfTakesNoWayOverTheBroker: it is handled in the same request, and what that leads to is
// sent; what can't be handled goes to the Broker, which brings it again, and an endless talk with itself ends there.
func TestWhatAFunctionTellsItselfTakesNoWayOverTheBroker(t *testing.T) {
	requested, resumed := events.RunRequested{}.EventType(), events.RunResumed{}.EventType()
	finished, started := events.RunFinished{}.EventType(), events.AgentStopRequested{}.EventType()
	for name, c := range map[string]struct {
		last    string                   // the type that run.requested leads to
		emits   func() ([]string, error) // what its handler emits
		handled int                      // times that it is called
		sent    []string
	}{
		"handled":             {resumed, func() ([]string, error) { return []string{started}, nil }, 1, []string{started, started}},
		"others hear it, too": {finished, func() ([]string, error) { return nil, nil }, 1, []string{started, finished}},
		"temporary":           {resumed, func() ([]string, error) { return nil, errors.New("connecting to Postgres: refused") }, 1, []string{started, resumed}},
		"endless":             {resumed, func() ([]string, error) { return []string{resumed}, nil }, maxFollowed - 2, []string{started, resumed}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var sent []string
			broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, r.Header.Get("Ce-Type"))
				w.WriteHeader(http.StatusAccepted)
			}))
			defer broker.Close()
			s := New("stage-router", broker.URL)
			made := 0
			of := func(types []string, err error) ([]event.Event, error) {
				var es []event.Event
				for _, typ := range types {
					made++
					e := event.New()
					e.SetID(fmt.Sprint(made))
					e.SetSource("test")
					e.SetType(typ)
					es = append(es, e)
				}
				return es, err
			}
			handled := 0
			s.OnType("issues", func(context.Context, event.Event) ([]event.Event, error) {
				return of([]string{requested, started}, nil)
			})
			s.OnType(requested, func(context.Context, event.Event) ([]event.Event, error) { return of([]string{c.last}, nil) })
			s.OnType(c.last, func(context.Context, event.Event) ([]event.Event, error) { handled++; return of(c.emits()) })
			srv := httptest.NewServer(s.Handler())
			defer srv.Close()
			if resp, said := post(t, srv.URL, "issues", "{}"); resp.StatusCode != http.StatusAccepted {
				t.Fatalf("answered %d: %s", resp.StatusCode, said)
			}
			slices.Sort(sent)
			if diff := cmp.Diff(c.sent, sent); diff != "" || handled != c.handled {
				t.Errorf("handled %d times, want %d; sent (-want +got):\n%s", handled, c.handled, diff)
			}
		})
	}
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	s := New("test", "")
	arrived, release := make(chan struct{}), make(chan struct{})
	done := false
	s.OnType("slow", func(ctx context.Context, _ event.Event) ([]event.Event, error) {
		close(arrived)
		<-release
		s.Go(ctx, func(context.Context) { time.Sleep(50 * time.Millisecond); done = true })
		return nil, nil
	})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	status := make(chan int)
	go func() {
		resp, _ := post(t, srv.URL, "slow", "{}")
		status <- resp.StatusCode
	}()
	<-arrived
	stopped := make(chan error)
	go func() { stopped <- s.stop(srv.Config, 5*time.Second) }()
	time.Sleep(20 * time.Millisecond)
	close(release)
	if got := <-status; got != 202 {
		t.Errorf("the request in flight was answered %d", got)
	}
	if err := <-stopped; err != nil || !done {
		t.Errorf("stopped with %v, work in the background done: %t", err, done)
	}
}

// TestTheLastMetricsArePushed: a function that scales to zero after one delivery
// has told of it. The collector's answer is only seen by the exporter.
func TestTheLastMetricsArePushed(t *testing.T) {
	var mu sync.Mutex
	pushed := map[string]string{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		pushed[r.URL.Path] += string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_SERVICE_NAME", "")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "")
	tel, err := openTelemetry(t.Context(), "timekeeper", `{"metrics":{"protocol":"http/protobuf","endpoint":"`+collector.URL+`/v1/metrics"}}`)
	if err != nil {
		t.Fatal(err)
	}
	s := New("timekeeper", "")
	s.tel = tel
	s.OnStop(tel.shutdown)
	s.OnType("known", func(context.Context, event.Event) ([]event.Event, error) { return nil, nil })
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	post(t, srv.URL, "known", "{}")
	post(t, srv.URL, "made-up-by-the-sender", "{}")
	if err := s.stop(srv.Config, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	found := map[string]bool{}
	for _, text := range []string{"codexk8s.delivery.duration", "timekeeper", "service.instance.id", "known", "202", "other", "422", "made-up-by-the-sender"} {
		found[text] = strings.Contains(pushed["/v1/metrics"], text)
	}
	want := map[string]bool{
		"codexk8s.delivery.duration": true, "timekeeper": true, "service.instance.id": true, "known": true, "202": true, "other": true, "422": true,
		"made-up-by-the-sender": false,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("pushed to %d paths (-want +got):\n%s", len(pushed), diff)
	}
}

// TestNobodyScrapesAFunction: the exporter is not linked in, and a pod that waits to be scraped would be gone before.
func TestNobodyScrapesAFunction(t *testing.T) {
	if _, err := openTelemetry(t.Context(), "timekeeper", `{"metrics":{"protocol":"prometheus"}}`); err == nil || !strings.Contains(err.Error(), "push") {
		t.Errorf("opened with %v", err)
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add("application/json", "1.0", "id", "source", "type", `{"a":1}`)
	f.Add("application/cloudevents+json", "", "", "", "", `{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}}`)
	f.Add("application/cloudevents-batch+json", "", "", "", "", `[]`)
	f.Fuzz(func(t *testing.T, contentType, version, id, source, typ, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {contentType}, "Ce-Specversion": {version}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {typ}}
		e, err := ReadEvent(r)
		if err == nil && (e.ID() == "" || e.Type() == "" || e.Source() == "") {
			t.Errorf("accepted an event without id, type or source: %v", e)
		}
	})
}
