// Package serving plays Knative Serving for one program each: a Service listens, starts its program from zero on the
// first request, holds the requests until the program is ready, proxies them, and stops the program when it has been
// idle.
//
//	request ─► listener ─► slot (containerConcurrency) ─► instance: none ─start─► starting ─ready─► serving
//	                                                                ▲                                  │ idle, Restart
//	                                                                └── ended ◄─── SIGTERM … SIGKILL ◄─┘
//
// There is at most one serving instance; while an old one drains, the next may already start, as in a rollout. Requests
// that an instance had in hand when it crashed get 502, the next request starts another.
package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"codexk8s.dev/test/local/child"
)

// Options describe one Service.
type Options struct {
	Name string
	// Command returns the program to start with its environment, all but PORT.
	Command func() (*exec.Cmd, error)
	// Host is the address to listen on; empty means 127.0.0.1.
	Host string
	// Port to listen on; 0 means a free one.
	Port int
	// ReadyPath is asked by GET until it answers 2xx; empty means that accepting a connection is enough.
	ReadyPath string
	// Concurrency is the number of requests that the program gets at a time, 0 for any; more wait.
	Concurrency int
	// MinScale of 1 or more keeps the program running, from Activate on and through crashes.
	MinScale int
	// IdleAfter is how long a program may do nothing before it is stopped; 0 means a minute.
	IdleAfter time.Duration
	// Grace is the time between SIGTERM and SIGKILL; 0 means 30 s, as in Kubernetes.
	Grace time.Duration
	// Timeout of one request; 0 means Knative's 300 s.
	Timeout time.Duration
	// ReadyWithin is the time that a program has to become ready; 0 means 30 s.
	ReadyWithin time.Duration
	// Log gets the program's output; nil discards it.
	Log io.Writer
	// Guard ends the program with this process; may be nil.
	Guard *child.Guard
}

// Service is one listening Service. Its methods may be called from any goroutine.
type Service struct {
	options  Options
	listener net.Listener
	server   *http.Server
	slots    chan struct{} // nil without a limit

	mu       sync.Mutex
	current  *instance // the one that gets new requests; nil at zero
	idle     *time.Timer
	stopped  bool
	starts   int
	retiring sync.WaitGroup
}

// ErrStopped says that the Service has been stopped.
var ErrStopped = errors.New("service is stopped")

// Listen starts listening. No program runs until the first request, or Activate.
func Listen(o Options) (*Service, error) {
	o.IdleAfter = cmp.Or(o.IdleAfter, time.Minute)
	o.Grace = cmp.Or(o.Grace, 30*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 300*time.Second)
	o.ReadyWithin = cmp.Or(o.ReadyWithin, 30*time.Second)
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("listening for service %s: %w", o.Name, err)
	}
	s := &Service{options: o, listener: listener}
	if o.Concurrency > 0 {
		s.slots = make(chan struct{}, o.Concurrency)
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.proxy), ReadHeaderTimeout: time.Minute, Protocols: &http.Protocols{}}
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Activate starts the program of a Service with MinScale and keeps it running from now on. Apart from Listen, because a
// program's environment holds the addresses of Services that do not listen yet.
func (s *Service) Activate() {
	if s.options.MinScale > 0 {
		go s.keepRunning()
	}
}

// Address is the host:port at which this machine reaches the Service.
func (s *Service) Address() string {
	at := s.listener.Addr().(*net.TCPAddr)
	if at.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port))
	}
	return at.String()
}

// Port is the one it listens on.
func (s *Service) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Name of the Service.
func (s *Service) Name() string { return s.options.Name }

// Running reports whether a program runs, ready or not.
func (s *Service) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil && !s.current.ended()
}

// InFlight is the number of requests that the running program has in hand, those included that wait for it to become
// ready.
func (s *Service) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.ended() {
		return 0
	}
	return s.current.inFlight
}

// Starts is how often a program has been started.
func (s *Service) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// Restart replaces the program as a rollout does: the running one gets no more requests, finishes those it has and is
// ended; the next request starts another one. At zero it does nothing.
func (s *Service) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.retire()
	}
}

// Kill ends the running program with SIGKILL and returns when it is gone, reporting whether there was one.
func (s *Service) Kill() bool {
	s.mu.Lock()
	i := s.current
	s.mu.Unlock()
	if i == nil || i.ended() {
		return false
	}
	i.kill()
	return true
}

// Stop stops listening, gives requests in hand the grace period, and ends the program. It returns when the program is
// gone.
func (s *Service) Stop() {
	s.mu.Lock()
	s.stopped = true
	if s.current != nil {
		s.retire()
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Grace)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close()
	}
	s.retiring.Wait()
}

// acquire returns a ready instance with the request counted on it.
func (s *Service) acquire(ctx context.Context) (*instance, error) {
	for attempt := 1; ; attempt++ {
		i, err := s.instance()
		if err != nil {
			return nil, err
		}
		select {
		case <-i.ready:
			return i, nil
		case <-ctx.Done():
			s.release(i)
			return nil, ctx.Err()
		case <-i.failed:
			s.release(i)
			// Its port may have been taken by somebody else; a program that cannot start at all fails three times.
			if attempt == 3 {
				return nil, i.err
			}
		}
	}
}

// instance returns the current instance, starting one if there is none, with the request counted on it.
func (s *Service) instance() (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, ErrStopped
	}
	if s.current == nil || s.current.ended() {
		i, err := s.start()
		if err != nil {
			return nil, err
		}
		s.current = i
	}
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	s.current.inFlight++
	return s.current, nil
}

// release takes a request off the instance, and when it was the last one starts the clock of idleness.
func (s *Service) release(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.inFlight--
	if i.inFlight > 0 {
		return
	}
	if i.draining != nil {
		close(i.draining)
		i.draining = nil
	}
	if i == s.current && s.options.MinScale == 0 {
		s.idle = time.AfterFunc(s.options.IdleAfter, func() { s.scaleToZero(i) })
	}
}

func (s *Service) scaleToZero(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i == s.current && i.inFlight == 0 {
		s.retire()
	}
}

// retire takes the current instance out of service: when its requests are done, or after the grace period, it is ended.
// The caller holds the lock.
func (s *Service) retire() {
	i := s.current
	s.current = nil
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	drained := make(chan struct{})
	if i.inFlight == 0 {
		close(drained)
	} else {
		i.draining = drained
	}
	s.retiring.Add(1)
	go func() {
		defer s.retiring.Done()
		select {
		case <-drained:
		case <-i.failed:
		case <-time.After(s.options.Grace):
		}
		i.stop(s.options.Grace)
	}()
}

// keepRunning starts the program and starts it again when it ends, waiting longer each time that it ends early.
func (s *Service) keepRunning() {
	wait := 100 * time.Millisecond
	for {
		i, err := s.instance()
		if errors.Is(err, ErrStopped) {
			return
		}
		if err != nil {
			slog.Error("serving: start", "service", s.options.Name, "error", err)
			time.Sleep(wait)
			continue
		}
		s.release(i)
		started := time.Now()
		<-i.failed
		if time.Since(started) > time.Minute {
			wait = 100 * time.Millisecond
		}
		time.Sleep(wait)
		wait = min(2*wait, 10*time.Second)
	}
}
