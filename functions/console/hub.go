package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"codexk8s.dev/shared/store"
)

// A hub passes on what changes to the streams of those who look. While anybody does, it holds the one connection of the
// process that listens; else none, so that an idle console costs Postgres nothing.
type hub struct {
	listen func(ctx context.Context, ready func(), each func(store.News)) error
	pause  time.Duration // between two attempts to listen

	mu      sync.Mutex
	watches map[*watch]struct{}
	hears   bool   // nothing is missed
	stop    func() // ends the listening
}

// A watch is what one stream has yet to tell. It does not grow with what happens: two changes of a page are one.
type watch struct {
	account int64
	concern func(store.News) news
	wake    chan struct{}

	mu  sync.Mutex
	due news
}

// news are what may have changed for a stream.
type news struct{ page, log, access bool }

// all is what may have changed while nobody listened.
var all = news{true, true, true}

func (n news) none() bool { return n == news{} }

func newHub(listen func(context.Context, func(), func(store.News)) error) *hub {
	return &hub{listen: listen, pause: time.Second, watches: map[*watch]struct{}{}}
}

// Bounds of streams, of all people and of one.
const (
	mostStreams = 500
	mostOfOne   = 20
)

// join begins a watch. It is woken at once if the hub hears, else as soon as it does: what changed before that nobody
// told. false = there are too many.
func (h *hub) join(account int64, concern func(store.News) news) (*watch, bool) {
	w := &watch{account: account, concern: concern, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	ofOne := 0
	for other := range h.watches {
		if other.account == account {
			ofOne++
		}
	}
	if len(h.watches) >= mostStreams || ofOne >= mostOfOne {
		return nil, false
	}
	h.watches[w] = struct{}{}
	switch {
	case h.hears:
		w.tell(all)
	case h.stop == nil:
		ctx, cancel := context.WithCancel(context.Background())
		h.stop = cancel
		go h.hear(ctx)
	}
	return w, true
}

// leave ends a watch. After the last one nobody listens any more.
func (h *hub) leave(w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watches, w)
	if len(h.watches) == 0 && h.stop != nil {
		h.stop()
		h.stop, h.hears = nil, false
	}
}

// hear listens until ctx ends, again and again if the connection breaks.
func (h *hub) hear(ctx context.Context) {
	for {
		err := h.listen(ctx, func() { h.heard(ctx, true); h.pass(ctx, func(*watch) news { return all }) }, func(n store.News) {
			h.pass(ctx, func(w *watch) news { return w.concern(n) })
		})
		if ctx.Err() != nil {
			return
		}
		h.heard(ctx, false)
		slog.WarnContext(ctx, "pages get no news until Postgres can be listened to again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(h.pause):
		}
	}
}

// heard notes whether the hub hears. Another listening may have begun since ctx ended.
func (h *hub) heard(ctx context.Context, hears bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() == nil {
		h.hears = hears
	}
}

func (h *hub) pass(ctx context.Context, of func(*watch) news) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for w := range h.watches {
		w.tell(of(w))
	}
}

// tell adds to what the stream has yet to tell.
func (w *watch) tell(n news) {
	if n.none() {
		return
	}
	w.mu.Lock()
	w.due.page, w.due.log, w.due.access = w.due.page || n.page, w.due.log || n.log, w.due.access || n.access
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take is what is due, which then no longer is.
func (w *watch) take() (due news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	due, w.due = w.due, news{}
	return due
}
