package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	maxBody   = 32 << 20  // of one request, in bytes
	maxBodies = 128 << 20 // of all requests that are being read or sent, in bytes: it bounds the pod's memory
	// maxCalls is how many calls one run may have under way in this process: an agent with a few helpers needs no more.
	maxCalls = 12
	// firstPiece is the memory that a body begins with, in bytes. It grows fourfold as the body arrives.
	firstPiece = 64 << 10
	// minSpeed is the slowest that a pod may send, in bytes per second, after slowStart.
	minSpeed  = 512 << 10
	slowStart = 15 * time.Second
)

// room is the memory for requests, and the number of calls, shared by runs. A run may hold no more than what is left
// free: alone it gets half of the memory, next to another one a third. Something is always free, so a new run finds
// room, whatever the others do. These are the dynamic thresholds of shared-memory switches (Choudhury and Hahne,
// IEEE/ACM Transactions on Networking 6(2), 1998, https://doi.org/10.1109/90.664262).
type room struct {
	mu      sync.Mutex
	free    int64
	held    map[string]int64
	calls   map[string]int
	changed chan struct{} // closed when something was given back
}

func newRoom(size int64) *room {
	return &room{free: size, held: map[string]int64{}, calls: map[string]int{}, changed: make(chan struct{})}
}

// enter counts a call of the run; leave ends it. The error is a refusal: the run has maxCalls calls already.
func (o *room) enter(run string) (leave func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls[run] == maxCalls {
		return nil, refusal{status: http.StatusTooManyRequests, code: "too_many_calls", after: time.Second,
			message: fmt.Sprintf("this run has %d calls under way, wait for one of them to end", maxCalls)}
	}
	o.calls[run]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.calls[run]--; o.calls[run] == 0 {
			delete(o.calls, run)
		}
	}, nil
}

// take waits until the run may hold n bytes more.
func (o *room) take(ctx context.Context, run string, n int64) error {
	for {
		o.mu.Lock()
		if o.held[run]+n <= o.free-n {
			o.held[run] += n
			o.free -= n
			o.mu.Unlock()
			return nil
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// give returns n bytes of the run.
func (o *room) give(run string, n int64) {
	if n == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.free += n
	if o.held[run] -= n; o.held[run] == 0 {
		delete(o.held, run)
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// A body is a pod's request as it is being read. It holds memory only for what has arrived.
type body struct {
	room *room
	run  string
	data []byte
	held int64
}

// errNoRoom is the cause of a wait for memory that took too long.
var errNoRoom = errors.New("no room")

// read takes the request from the pod, at the pod's pace if that is fast enough. Memory is taken as bytes arrive. The
// error is a refusal.
func (b *body) read(w http.ResponseWriter, r *http.Request, patience time.Duration) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refusal{status: http.StatusUnsupportedMediaType, code: "unsupported_content_encoding", message: "send the body without Content-Encoding, not as " + encoding}
	}
	tooLarge := refusal{status: http.StatusRequestEntityTooLarge, code: "request_too_large", message: fmt.Sprintf("the request is larger than %d MiB", maxBody>>20)}
	if r.ContentLength > maxBody {
		return tooLarge
	}
	control := http.NewResponseController(w)
	// Only a test's server has no deadlines.
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	from := http.MaxBytesReader(w, r.Body, maxBody)
	for started := time.Now(); ; {
		if err := b.grow(r.Context(), r.ContentLength, patience); err != nil {
			return err
		}
		_ = control.SetReadDeadline(started.Add(patience + time.Duration(len(b.data))*time.Second/minSpeed))
		n, err := from.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		large := (*http.MaxBytesError)(nil)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &large):
			return tooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return refusal{status: http.StatusRequestTimeout, code: "slow_request", message: fmt.Sprintf("the request came slower than %d KiB a second", minSpeed>>10)}
		case err != nil:
			return refusal{status: http.StatusBadRequest, code: "unreadable_body", message: "the request could not be read to its end: " + err.Error()}
		}
	}
}

// grow makes room for more bytes if there is none: up to what the pod has announced, and one byte more, so that the end
// is seen. The old room is held until its bytes are copied.
func (b *body) grow(ctx context.Context, announced int64, patience time.Duration) error {
	if len(b.data) < cap(b.data) {
		return nil
	}
	if announced < 0 {
		announced = maxBody
	}
	size := min(max(4*int64(cap(b.data)), firstPiece), announced+1)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNoRoom)
	defer cancel()
	err := b.room.take(ctx, b.run, size)
	if errors.Is(err, errNoRoom) {
		return refusal{status: http.StatusServiceUnavailable, code: "no_room", message: "the platform has no memory for a request of this size now, try again"}
	}
	if err != nil {
		return fmt.Errorf("waiting for memory: %w", err)
	}
	larger := make([]byte, len(b.data), size)
	copy(larger, b.data)
	b.room.give(b.run, b.held)
	b.data, b.held = larger, size
	return nil
}

// drop gives the memory back.
func (b *body) drop() {
	b.room.give(b.run, b.held)
	b.data, b.held = nil, 0
}
