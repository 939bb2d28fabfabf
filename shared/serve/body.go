package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"codexk8s.dev/shared/events"
)

const (
	// smallBody is what every request may send without waiting for memory, in bytes.
	smallBody = 256 << 10
	// bodyTime is how long a body may take to arrive: senders are in the same cluster.
	bodyTime = 20 * time.Second
	// requestsAtOnce is how many requests of one sender are served at a time.
	requestsAtOnce = 16
	// bodyPatience is how long a large body waits for its turn.
	bodyPatience = 5 * time.Second
)

// Bodies bounds the memory and time that the bodies of requests take before their senders are known to be genuine:
// every pod reaches the cluster's functions, an agent's too. Small bodies are read at once. Of larger ones only so many
// are held at a time, and one per sender, so that no known sender keeps the others waiting. The number of one sender's
// requests is bounded as well.
type Bodies struct {
	slots   chan struct{}
	mu      sync.Mutex
	senders map[string]*share // "" is everybody unknown, who has none

	comes, waits time.Duration // bodyTime and bodyPatience, shorter in tests
}

// share is what a sender uses of a server now.
type share struct {
	requests int
	large    bool
}

// NewBodies returns bounds for a server that may hold that many large bodies.
func NewBodies(large int) *Bodies {
	return &Bodies{slots: make(chan struct{}, large), senders: map[string]*share{}, comes: bodyTime, waits: bodyPatience}
}

// ErrBusy says that there was no room for a request. The sender may try again.
var ErrBusy = errors.New("other requests are being read, try again")

// Guard bounds r's body until leave is called, when nothing holds it any more. Reading it may end with ErrBusy, or with
// os.ErrDeadlineExceeded. sender is "" if it is not known.
func (b *Bodies) Guard(w http.ResponseWriter, r *http.Request, sender string) (leave func()) {
	g := &guardedBody{ReadCloser: r.Body, bodies: b, sender: sender, control: http.NewResponseController(w), announced: r.ContentLength}
	g.refused = !b.begin(sender)
	_ = g.control.SetReadDeadline(time.Now().Add(b.comes)) // only a test's server has no deadlines
	r.Body = g
	return g.leave
}

func (b *Bodies) begin(sender string) bool {
	if sender == "" {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.senders[sender]
	if s == nil {
		s = new(share)
		b.senders[sender] = s
	}
	if s.requests == requestsAtOnce {
		return false
	}
	s.requests++
	return true
}

func (b *Bodies) end(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.senders[sender]; s != nil {
		if s.requests--; s.requests == 0 {
			delete(b.senders, sender)
		}
	}
}

// takeTurn records that the sender has a large body, and reports false if it had one already.
func (b *Bodies) takeTurn(sender string, large bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.senders[sender]
	if s == nil {
		return true
	}
	was := s.large
	s.large = large
	return was != large
}

// enter waits for a large body's turn.
func (b *Bodies) enter(sender string) error {
	if !b.takeTurn(sender, true) {
		return ErrBusy
	}
	timer := time.NewTimer(b.waits)
	defer timer.Stop()
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-timer.C:
		b.takeTurn(sender, false)
		return ErrBusy
	}
}

type guardedBody struct {
	io.ReadCloser
	bodies    *Bodies
	sender    string
	control   *http.ResponseController
	announced int64
	read      int64
	refused   bool // the sender has too many requests
	large     bool
}

func (g *guardedBody) Read(p []byte) (int, error) {
	if g.refused {
		return 0, ErrBusy
	}
	if !g.large && max(g.announced, g.read) > smallBody {
		if err := g.bodies.enter(g.sender); err != nil {
			return 0, err
		}
		g.large = true
	}
	n, err := g.ReadCloser.Read(p)
	g.read += int64(n)
	if errors.Is(err, io.EOF) {
		// The deadline is for the body alone. If that did not arrive, it ends the connection.
		_ = g.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (g *guardedBody) leave() {
	if g.large {
		<-g.bodies.slots
		g.bodies.takeTurn(g.sender, false)
	}
	if !g.refused {
		g.bodies.end(g.sender)
	}
}

// laterBody is the error to retry, if a body that could not be read may arrive whole the next time. Any other error is
// the sender's fault.
func laterBody(err error) error {
	switch {
	case errors.Is(err, ErrBusy):
		return events.RetryAt(time.Now().Add(time.Second), err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the event took too long to come: %w", err)
	}
	return nil
}
