package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// sendQueue is how many events may wait to be sent. What exceeds it is left to timekeeper.
const sendQueue = 4096

// A sender sends stored events to the Broker after the request was answered. It tries each once: an event that is lost
// here is still pending in Postgres.
type sender struct {
	send    func(context.Context, ...event.Event) error
	queue   chan event.Event
	workers sync.WaitGroup
	mu      sync.RWMutex // against offering to a closed queue
	closed  bool
	left    atomic.Int64 // events left to timekeeper since the last log line
	logged  atomic.Int64 // Unix nanoseconds of that line
}

func newSender(send func(context.Context, ...event.Event) error, workers int) *sender {
	s := &sender{send: send, queue: make(chan event.Event, sendQueue)}
	for range max(1, workers) {
		s.workers.Go(s.work)
	}
	return s
}

// offer queues an event and never waits.
func (s *sender) offer(e event.Event) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	select {
	case s.queue <- e:
	default:
		s.leave(fmt.Errorf("more than %d events wait for the broker", sendQueue))
	}
}

func (s *sender) work() {
	for e := range s.queue {
		if err := s.send(context.Background(), e); err != nil {
			s.leave(err)
		}
	}
}

// leave logs at most once a second: a broker that is down must not fill the log with one line per event.
func (s *sender) leave(err error) {
	s.left.Add(1)
	last := s.logged.Load()
	start := time.Now().UnixNano() // of the second that this line stands for
	if start-last < int64(time.Second) || !s.logged.CompareAndSwap(last, start) {
		return
	}
	slog.Warn("events were stored but not sent; timekeeper will send them", "events", s.left.Swap(0), "error", err)
}

// stop sends what is queued, until ctx ends. What is offered later is left to timekeeper.
func (s *sender) stop(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.workers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sending the last events, %d are left to timekeeper: %w", len(s.queue), ctx.Err())
	}
}
