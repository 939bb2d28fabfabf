package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"
)

// sink sends events to the Broker in binary mode. It does not retry: the events are stored, and either the caller is
// called again or timekeeper sends them.
type sink struct {
	url        string
	client     *http.Client
	extensions map[string]string
}

func newSink(url string) *sink {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	t.WriteBufferSize = 32 << 10 // most events leave in one write
	return &sink{url: url, client: &http.Client{Transport: t, Timeout: 30 * time.Second}}
}

// override takes the extensions that a SinkBinding wants on every event:
// K_CE_OVERRIDES, JSON of the shape {"extensions":{"name":"value"}}.
func (s *sink) override(config string) error {
	if config == "" {
		return nil
	}
	var o struct {
		Extensions map[string]string `json:"extensions"`
	}
	if err := json.Unmarshal([]byte(config), &o); err != nil {
		return fmt.Errorf("reading K_CE_OVERRIDES: %w", err)
	}
	s.extensions = o.Extensions
	return nil
}

// Send sends events to the Broker, side by side, and returns when all have an answer. The first failure is returned:
// the events are stored, so the caller reports it and is called again.
func (s *Server) Send(ctx context.Context, es ...event.Event) error {
	if len(es) == 0 {
		return nil
	}
	if s.sink.url == "" {
		return errors.New("sending events: K_SINK is not set; a SinkBinding sets it to the Broker")
	}
	// The caller may have stopped waiting, as a channel may let each sender wait for all that follows. And one that fails
	// is no reason to give up the others.
	ctx = context.WithoutCancel(ctx)
	if len(es) == 1 {
		return s.sink.send(ctx, es[0])
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, e := range es {
		g.Go(func() error { return s.sink.send(ctx, e) })
	}
	return g.Wait()
}

func (s *sink) send(ctx context.Context, e event.Event) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(e.Data()))
	if err != nil {
		return fmt.Errorf("sending %s %s: %w", e.Type(), e.ID(), err)
	}
	for name, value := range s.extensions {
		e.SetExtension(name, value)
	}
	setHeaders(req.Header, e)
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("sending %s %s: %w", e.Type(), e.ID(), err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("sending %s %s: the broker answered %s: %s", e.Type(), e.ID(), resp.Status, bytes.TrimSpace(said))
	}
	return nil
}

// sweeper sends what has come due while the function is awake anyway.
type sweeper struct {
	due  func(ctx context.Context, limit int) ([]event.Event, error)
	mu   sync.Mutex
	last time.Time
}

// sweepEvery is how often a busy function looks for due events: one indexed
// query, so that timers are exact to about a second while anything happens.
const sweepEvery = time.Second

// SendDue makes the function, after each delivery and at most once a second, send the events that due returns.
func (s *Server) SendDue(due func(ctx context.Context, limit int) ([]event.Event, error)) {
	s.sweep = &sweeper{due: due}
}

func (w *sweeper) pass(s *Server) {
	if w == nil || !w.mu.TryLock() {
		return
	}
	if time.Since(w.last) < sweepEvery {
		w.mu.Unlock()
		return
	}
	w.last = time.Now()
	s.Go(context.Background(), func(ctx context.Context) {
		defer w.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		es, err := w.due(ctx, 100)
		if err == nil {
			err = s.Send(ctx, es...)
		}
		if err != nil {
			slog.Warn("sending what is due; timekeeper will", "error", err)
		}
	})
}
