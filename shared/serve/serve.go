// Package serve is what every function's main needs: its environment, an HTTP server that receives CloudEvents and
// answers by the platform's rules, a sender to the Broker, health, graceful drain, logs, traces and metrics.
//
// A function is
//
//	func main() { serve.Main("stage-router", run) }
//
//	func run(ctx context.Context, s *serve.Server, env env) error {
//		h := &handler{...}
//		serve.On(s, h.runRequested) // the event's type comes from the method's signature
//		return nil
//	}
//
// An event handler returns the events to send, which it has stored already, and an error whose kind decides the answer
// (see answer). Events that the function itself consumes are handled at once, without the Broker (see follow). A
// successful answer to a Broker never has a body or ce-* headers: Knative would take the first for a failure and the
// second for a new event.
//
// A request is read before it is known whether its event is in the log. So large bodies are read one at a time, and
// slow ones are cut off (Bodies).
//
// The server speaks HTTP/1.1 and HTTP/2 without TLS on $PORT. GET /healthz says that the process is alive, GET /readyz
// that it takes requests. On SIGTERM it fails its probes, waits until no request has come for a moment (as long as for
// what is in flight, at most), finishes what
// is in flight and what runs in the background (Go), and exits.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	_ "golang.org/x/crypto/x509roots/fallback" // images have no CA certificates of their own
	"knative.dev/pkg/network/handlers"
	"knative.dev/pkg/signals"

	"codexk8s.dev/shared/variables"
)

// Env is what Knative and the operator give to every function.
type Env struct {
	Port          int           `envconfig:"PORT" default:"8080"`         // where to listen
	Sink          string        `envconfig:"K_SINK"`                      // the Broker, injected by a SinkBinding
	Overrides     string        `envconfig:"K_CE_OVERRIDES"`              // extensions for every event sent, injected by a SinkBinding
	Observability string        `envconfig:"K_OBSERVABILITY_CONFIG"`      // JSON of Knative's observability config; empty = no traces, no metrics
	LogLevel      slog.Level    `envconfig:"LOG_LEVEL" default:"INFO"`    // DEBUG, INFO, WARN or ERROR
	QuietPeriod   time.Duration `envconfig:"QUIET_PERIOD" default:"1s"`   // on SIGTERM: how long without a request before closing
	DrainTimeout  time.Duration `envconfig:"DRAIN_TIMEOUT" default:"25s"` // on SIGTERM: how long to finish what is in flight
}

// A Server is one function being served.
type Server struct {
	name     string
	mux      *http.ServeMux
	handlers map[string]eventHandler
	sink     *sink
	tel      *telemetry
	sweep    *sweeper
	bodies   *Bodies
	postpone func(context.Context, event.Event, time.Time) error
	closers  []func(context.Context) error
	work     sync.WaitGroup // in the background
}

// New returns a server for the named function that sends to the sink, a URL;
// without one, an attempt to send is an error.
func New(function, sinkURL string) *Server {
	s := &Server{
		name:     function,
		mux:      http.NewServeMux(),
		handlers: map[string]eventHandler{},
		sink:     newSink(sinkURL),
		tel:      noTelemetry(),
		bodies:   NewBodies(1), // the largest event takes a good part of a function's memory
	}
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s.mux.HandleFunc("POST /{$}", s.receive)
	return s
}

// Handle serves plain HTTP in addition to the events, by a pattern of http.ServeMux.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Handler is the whole server as an http.Handler, for tests.
func (s *Server) Handler() http.Handler { return s.mux }

// OnStop registers what to close when the server has drained; last in, first out.
func (s *Server) OnStop(f func(context.Context) error) { s.closers = append(s.closers, f) }

// Go runs f in the background, beyond the answer to ctx's request. A stopping server waits for it as long as for
// requests in flight.
func (s *Server) Go(ctx context.Context, f func(context.Context)) {
	s.work.Go(func() { f(context.WithoutCancel(ctx)) })
}

// Main runs a function: reads its environment into E, lets run wire it, serves
// until SIGTERM. It exits with status 1 and one logged line when that fails.
func Main[E any](function string, run func(context.Context, *Server, E) error) {
	if err := start(signals.NewContext(), function, run); err != nil {
		slog.Error("function stopped", "function", function, "error", err)
		os.Exit(1)
	}
}

func start[E any](ctx context.Context, function string, run func(context.Context, *Server, E) error) error {
	var base Env
	var own E
	if err := errors.Join(variables.Read(&base), variables.Read(&own)); err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: base.LogLevel})).With("function", function))
	s := New(function, base.Sink)
	if err := s.sink.override(base.Overrides); err != nil {
		return err
	}
	tel, err := openTelemetry(ctx, function, base.Observability)
	if err != nil {
		return err
	}
	s.tel = tel
	s.OnStop(tel.shutdown)
	if err := run(ctx, s, own); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	return s.serve(ctx, base)
}

func (s *Server) serve(ctx context.Context, env Env) error {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(env.Port))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	drainer := &handlers.Drainer{Inner: s.mux, QuietPeriod: env.QuietPeriod}
	srv := &http.Server{Handler: drainer, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	slog.Info("listening", "port", l.Addr().(*net.TCPAddr).Port)
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	quiet := make(chan struct{})
	go func() { drainer.Drain(); close(quiet) }()
	select {
	case <-quiet:
	case <-time.After(env.DrainTimeout): // somebody never ceases to call
	}
	return s.stop(srv, env.DrainTimeout)
}

func (s *Server) stop(srv *http.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var errs []error
	if err := srv.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("finishing what is in flight: %w", err))
	}
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, errors.New("finishing what runs in the background: the time is up; timekeeper sends what is left"))
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i](ctx))
	}
	return errors.Join(errs...)
}
