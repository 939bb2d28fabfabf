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
	// bodyPatience is how long a large body waits for its turn.
	bodyPatience = 5 * time.Second
)

// Bodies bounds what the bodies of requests take of memory and of time, before anybody knows whether they deserve it: every
// pod reaches the cluster's functions, an agent's too. Small ones are read at once. Of larger ones only so many are held at
// a time, and of one sender one, so that a sender who is known keeps no other from his turn.
type Bodies struct {
	slots   chan struct{}
	mu      sync.Mutex
	senders map[string]bool

	comes, waits time.Duration // bodyTime and bodyPatience, shorter in tests
}

// NewBodies returns bounds for a server that may hold so many large bodies.
func NewBodies(large int) *Bodies {
	return &Bodies{slots: make(chan struct{}, large), senders: map[string]bool{}, comes: bodyTime, waits: bodyPatience}
}

// ErrBusy says that a large body found no room. The sender may come again.
var ErrBusy = errors.New("other large requests are being read, try again")

// Guard puts the bounds on r's body until leave is called, when nothing holds it any more. Reading it may end with ErrBusy, or
// with os.ErrDeadlineExceeded. sender is "" where nobody knows who it is.
func (b *Bodies) Guard(w http.ResponseWriter, r *http.Request, sender string) (leave func()) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(b.comes)) // a server without deadlines is a test's
	guarded := &guardedBody{ReadCloser: r.Body, bodies: b, sender: sender, control: control, announced: r.ContentLength}
	r.Body = guarded
	return guarded.leave
}

// enter waits for a large body's turn.
func (b *Bodies) enter(sender string) error {
	b.mu.Lock()
	held := sender != "" && b.senders[sender]
	if sender != "" && !held {
		b.senders[sender] = true
	}
	b.mu.Unlock()
	if held {
		return ErrBusy
	}
	timer := time.NewTimer(b.waits)
	defer timer.Stop()
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-timer.C:
		b.forget(sender)
		return ErrBusy
	}
}

func (b *Bodies) forget(sender string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.senders, sender)
}

type guardedBody struct {
	io.ReadCloser
	bodies    *Bodies
	sender    string
	control   *http.ResponseController
	announced int64
	read      int64
	large     bool
}

func (g *guardedBody) Read(p []byte) (int, error) {
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
		g.large = false
		<-g.bodies.slots
		g.bodies.forget(g.sender)
	}
}

// laterBody gives an error of reading a body its kind: it may come whole the next time. Any other is the sender's fault.
func laterBody(err error) error {
	switch {
	case errors.Is(err, ErrBusy):
		return events.RetryAt(time.Now().Add(time.Second), err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the event took too long to come: %w", err)
	}
	return nil
}
