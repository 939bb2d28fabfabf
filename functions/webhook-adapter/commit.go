package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

const (
	// maxBatch is how much one transaction takes: more gains nothing and makes everybody wait for the slowest.
	maxBatch = 256
	// maxBatchBytes bounds what one statement carries to Postgres, whose own limit is 1 GiB.
	maxBatchBytes = 32 << 20
	// gatherFor is how long a commit waits at most for the next requests of those that the last one answered. In bursts
	// of sixteen it halves Postgres' time for each, so the answers come sooner (BenchmarkWebhook).
	gatherFor = 5 * time.Millisecond
	// commitFor is how long a commit is tried. GitHub gives up after ten seconds.
	// https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks#respond-within-10-seconds
	commitFor = 8 * time.Second
	// answerWithin is when a waiting sender is told that it failed.
	answerWithin = 9 * time.Second
)

// errBusy says that the arrivals could not be stored in time. They may still be stored: sending them again is safe.
var errBusy = errors.New("could not be stored in time, send it again")

// A committer gathers arrivals and stores them in as few transactions as the traffic allows.
type committer struct {
	receive  func(context.Context, []store.Arrival) ([]store.Outcome, error)
	accepted func(event.Event)
	queue    chan *ticket
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once

	gatherFor time.Duration
	last      int // tickets of the last commit
}

// A ticket is one request's arrivals on their way.
type ticket struct {
	arrivals []store.Arrival
	outcomes []store.Outcome
	err      error
	settled  chan struct{}
}

func newCommitter(receive func(context.Context, []store.Arrival) ([]store.Outcome, error), accepted func(event.Event)) *committer {
	c := &committer{
		receive: receive, accepted: accepted, gatherFor: gatherFor,
		queue: make(chan *ticket, maxBatch), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// commit returns once the arrivals are stored, all in one transaction. What was accepted is then being sent.
func (c *committer) commit(ctx context.Context, arrivals []store.Arrival) ([]store.Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, errBusy)
	defer cancel()
	t := &ticket{arrivals: arrivals, settled: make(chan struct{})}
	select {
	case c.queue <- t:
	case <-c.quit:
		return nil, errBusy
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-t.settled:
		return t.outcomes, t.err
	case <-c.done: // it was queued behind the last commit
		return nil, errBusy
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stop stores what is queued and ends the goroutine. Call it when no request is in flight.
func (c *committer) stop(ctx context.Context) error {
	c.once.Do(func() { close(c.quit) })
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("storing the last deliveries: %w", ctx.Err())
	}
}

func (c *committer) run() {
	defer close(c.done)
	for {
		select {
		case t := <-c.queue:
			c.settle(c.gather(t))
		case <-c.quit:
			for {
				select {
				case t := <-c.queue:
					c.settle(c.gather(t))
				default:
					return
				}
			}
		}
	}
}

// gather takes what is queued now. After a commit of several it waits a moment for as many again: in a burst those just
// answered send their next, and committing only the first of them would cost nearly as much as committing all.
func (c *committer) gather(first *ticket) []*ticket {
	batch, count, size := []*ticket{first}, len(first.arrivals), first.size()
	late := time.After(c.gatherFor)
	for (len(c.queue) > 0 || len(batch) < c.last) && count < maxBatch && size < maxBatchBytes {
		select {
		case t := <-c.queue:
			batch, count, size = append(batch, t), count+len(t.arrivals), size+t.size()
		case <-late:
			c.last = len(batch)
			return batch
		}
	}
	c.last = len(batch)
	return batch
}

func (t *ticket) size() int {
	n := 0
	for _, a := range t.arrivals {
		n += len(a.Event.Data())
	}
	return n
}

// settle stores a batch and answers all of it. If Postgres refuses the data of one, each is stored alone, so that the
// others don't suffer.
func (c *committer) settle(batch []*ticket) {
	var arrivals []store.Arrival
	for _, t := range batch {
		arrivals = append(arrivals, t.arrivals...)
	}
	outcomes, err := c.store(arrivals)
	if events.Unstorable(err) && len(batch) > 1 {
		for _, t := range batch {
			c.settle([]*ticket{t})
		}
		return
	}
	for _, t := range batch {
		if t.err = err; err == nil {
			t.outcomes, outcomes = outcomes[:len(t.arrivals):len(t.arrivals)], outcomes[len(t.arrivals):]
		}
		close(t.settled)
		for i, o := range t.outcomes {
			if o == store.Accepted {
				c.accepted(t.arrivals[i].Event)
			}
		}
	}
}

// store tries for a while: a restart of Postgres takes seconds, and GitHub does not send again.
func (c *committer) store(arrivals []store.Arrival) ([]store.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commitFor)
	defer cancel()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, time.Second
	failed := false
	return backoff.Retry(ctx, func() ([]store.Outcome, error) {
		outcomes, err := c.receive(ctx, arrivals)
		switch {
		case events.Unstorable(err):
			return nil, backoff.Permanent(err)
		case err != nil:
			failed = true
			return nil, err
		}
		if failed {
			undecided(arrivals, outcomes)
		}
		return outcomes, nil
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(commitFor))
}

// undecided corrects the outcomes after an attempt that may have been committed although it failed: what is a duplicate
// now may be one because of that. Sending it once too often is harmless, because each consumer has an inbox.
func undecided(arrivals []store.Arrival, outcomes []store.Outcome) {
	for i, o := range outcomes {
		if o != store.Duplicate {
			continue
		}
		if outcomes[i] = store.Accepted; len(events.Consumers(arrivals[i].Event.Type())) == 0 {
			outcomes[i] = store.Ignored
		}
	}
}
