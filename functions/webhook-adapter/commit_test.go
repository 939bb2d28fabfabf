package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

func arrival(id, typ string) store.Arrival {
	e := event.New()
	e.SetID(id)
	e.SetType(typ)
	e.SetSource("urn:test")
	return store.Arrival{Event: e}
}

// recorder is a store that notes the size of each transaction. The first one waits until it is let go.
type recorder struct {
	mu    sync.Mutex
	sizes []int
	go1   chan struct{}
	err   error // of the first attempt
}

func (r *recorder) receive(_ context.Context, arrivals []store.Arrival) ([]store.Outcome, error) {
	r.mu.Lock()
	r.sizes = append(r.sizes, len(arrivals))
	first := len(r.sizes) == 1
	r.mu.Unlock()
	if first && r.go1 != nil {
		<-r.go1
	}
	if first && r.err != nil {
		return nil, r.err
	}
	out := make([]store.Outcome, len(arrivals))
	for i := range out {
		if out[i] = store.Accepted; r.err != nil {
			out[i] = store.Duplicate // the failed attempt had been committed after all
		}
	}
	return out, nil
}

func TestWhatGathersDuringACommitSharesTheNext(t *testing.T) {
	r := &recorder{go1: make(chan struct{})}
	var mu sync.Mutex
	accepted := 0
	c := newCommitter(r.receive, func(event.Event) { mu.Lock(); accepted++; mu.Unlock() })
	var wg sync.WaitGroup
	post := func(i int) {
		wg.Go(func() {
			if out, err := c.commit(t.Context(), []store.Arrival{arrival(fmt.Sprint(i), "x")}); err != nil || len(out) != 1 || out[0] != store.Accepted {
				t.Errorf("%v, %v", out, err)
			}
		})
	}
	post(0)
	for c.sizesSeen(r) == 0 {
		time.Sleep(time.Millisecond)
	}
	for i := range 40 {
		post(i + 1)
	}
	for len(c.queue) < 40 {
		time.Sleep(time.Millisecond)
	}
	close(r.go1)
	wg.Wait()
	if err := c.stop(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]int{1, 40}, r.sizes); diff != "" {
		t.Error(diff)
	}
	if accepted != 41 {
		t.Errorf("%d events handed on, want 41", accepted)
	}
	if _, err := c.commit(t.Context(), []store.Arrival{arrival("late", "x")}); !errors.Is(err, errBusy) {
		t.Errorf("after stop: %v", err)
	}
}

// Whoever was answered by a commit sends the next about then: the next commit waits for as many, and no more; alone it
// waits for nobody.
func TestACommitWaitsForThoseWhomTheLastOneAnswered(t *testing.T) {
	r := &recorder{go1: make(chan struct{})}
	c := newCommitter(r.receive, func(event.Event) {})
	c.gatherFor = time.Hour
	var wg sync.WaitGroup
	post := func(ids ...string) {
		for _, id := range ids {
			wg.Go(func() {
				if _, err := c.commit(t.Context(), []store.Arrival{arrival(id, "x")}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	post("alone")
	for c.sizesSeen(r) == 0 {
		time.Sleep(time.Millisecond)
	}
	post("1", "2", "3")
	for len(c.queue) < 3 {
		time.Sleep(time.Millisecond)
	}
	close(r.go1)
	wg.Wait()
	post("4")
	for len(c.queue) > 0 { // it has begun to gather
		time.Sleep(time.Millisecond)
	}
	post("5", "6")
	wg.Wait()
	if err := c.stop(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]int{1, 3, 3}, r.sizes); diff != "" {
		t.Error(diff)
	}
}

func (c *committer) sizesSeen(r *recorder) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sizes)
}

// A connection that breaks during the commit leaves it open whether it happened. The second attempt finds our own rows:
// they are news, not redeliveries, and must be sent.
func TestAnAttemptThatFailedMayHaveBeenCommitted(t *testing.T) {
	r := &recorder{err: errors.New("connection reset by peer")}
	var sent []string
	c := newCommitter(r.receive, func(e event.Event) { sent = append(sent, e.ID()) })
	consumed := events.GitHubType("issues")
	out, err := c.commit(t.Context(), []store.Arrival{arrival("1", consumed), arrival("2", "nobody.hears")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]store.Outcome{store.Accepted, store.Ignored}, out); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1"}, sent); diff != "" {
		t.Error(diff)
	}
}

func TestWhoeverGivesUpIsAnsweredAtOnce(t *testing.T) {
	r := &recorder{go1: make(chan struct{})}
	c := newCommitter(r.receive, func(event.Event) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.commit(ctx, []store.Arrival{arrival("1", "x")}); err == nil {
		t.Error("no error")
	}
	close(r.go1)
	if err := c.stop(t.Context()); err != nil {
		t.Error(err)
	}
}
