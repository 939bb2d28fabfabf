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
	// smallBody is what every request may send without asking for memory, in bytes.
	smallBody = 256 << 10
	// bodyTime is how long a body may take to come. Whoever sends to a function is in the same cluster.
	bodyTime = 20 * time.Second
	// requestsAtOnce is how many requests of one sender are served at a time.
	requestsAtOnce = 16
	// bodyPatience is how long a large body waits for its turn.
	bodyPatience = 5 * time.Second
)

// Bodies bounds what the bodies of requests take of memory and of time, before anybody knows whether they deserve it:
// every pod reaches the cluster's functions, an agent's too. Small ones are read at once. Of larger ones only so many
// are held at a time, and of one sender one; so a sender who is known keeps no other from his turn. Nor does he by many
// requests.
type Bodies struct {
	slots   chan struct{}
	mu      sync.Mutex
	senders map[string]*share // "" is everybody who is not known, and has none

	comes, waits time.Duration // bodyTime and bodyPatience, shorter in tests
}

// share is what a sender has of a server at present.
type share struct {
	requests int
	large    bool
}

// NewBodies returns bounds for a server that may hold so many large bodies.
func NewBodies(large int) *Bodies {
	return &Bodies{slots: make(chan struct{}, large), senders: map[string]*share{}, comes: bodyTime, waits: bodyPatience}
}

// ErrBusy says that a request found no room. The sender may come again.
var ErrBusy = errors.New("other requests are being read, try again")

// Guard puts the bounds on r's body until leave is called, when nothing holds it any more. Reading it may end with
// ErrBusy, or with os.ErrDeadlineExceeded. sender is "" where nobody knows who it is.
func (b *Bodies) Guard(w http.ResponseWriter, r *http.Request, sender string) (leave func()) {
	g := &guardedBody{ReadCloser: r.Body, bodies: b, sender: sender, control: http.NewResponseController(w), announced: r.ContentLength}
	g.refused = !b.begin(sender)
	_ = g.control.SetReadDeadline(time.Now().Add(b.comes)) // a server without deadlines is a test's
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

// takeTurn notes whether the sender has a large body, and reports false if that was so already.
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
		// It holds for the body alone. Where that did not come, it ends the connection.
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

// laterBody gives an error of reading a body its kind: it may come whole the next time. Any other is the sender's
// fault.
func laterBody(err error) error {
	switch {
	case errors.Is(err, ErrBusy):
		return events.RetryAt(time.Now().Add(time.Second), err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the event took too long to come: %w", err)
	}
	return nil
}
