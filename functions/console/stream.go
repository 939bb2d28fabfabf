package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/functions/console/internal/page"
	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

// The beats of a stream.
const (
	// Knative writes an error's text into a stream that lasts longer than a Service's timeoutSeconds, so it ends before,
	// by our own word.
	streamLife = 240 * time.Second
	heartbeat  = 15 * time.Second       // also how long a right that was taken works at most, were its news lost
	pagePause  = 250 * time.Millisecond // between two words that a page has changed
	logPause   = 100 * time.Millisecond // between two batches of lines
	slowest    = 10 * time.Second       // for the browser to take what is written
	batch      = 500                    // lines
	farBehind  = 5000                   // lines that a page holds; who is further behind gets the end of the log
)

// A stream tells one page what changes. Its frames are those of server-sent events:
//
//	changed         the page is to be fetched anew
//	lines, with id  more lines of the run's log, as HTML; id is the number of the last one
//	end             with the reason: cut and drain (connect again), forbidden
//
// It only says that a page has changed, so that there is one template and one check of rights for each. A stream that
// is resumed by the number of the line that came last misses none.
type stream struct {
	h    *handler
	r    *http.Request
	w    http.ResponseWriter
	out  *http.ResponseController
	who  atomic.Pointer[access.Standing]
	what subject
	line int64 // of the log that was sent last
	log  bool  // the page shows the end of the run's log
}

// A subject is what a page is about.
type subject struct{ kind, id, issue string }

// Kinds of subjects.
const (
	aboutLists = "lists"
	aboutRun   = "run"
	aboutIssue = "issue"
)

// serveStream is GET /stream?of=lists, of=run:ID or of=issue:OWNER/NAME#N; with line=N it follows the run's log after
// that line.
func (h *handler) serveStream(w http.ResponseWriter, r *http.Request) {
	select {
	case <-h.stopping:
		h.refuse(w, r, problem{slug: "stopping"})
		return
	default:
	}
	who, err := h.visitor(r)
	if errors.Is(err, store.ErrNotFound) {
		err = problem{slug: "not-signed-in"}
	}
	s := &stream{h: h, r: r, w: w, out: http.NewResponseController(w)}
	if err == nil {
		s.what, err = h.subject(r.Context(), who, r.FormValue("of"))
	}
	if from := cmp.Or(r.Header.Get("Last-Event-ID"), r.FormValue("line")); err == nil && from != "" {
		s.log = s.what.kind == aboutRun
		if s.line, err = strconv.ParseInt(from, 10, 64); err != nil || s.line < 0 {
			err = problem{slug: "bad-request", detail: fmt.Sprintf("line is %q: a log's lines have numbers", from), at: "line"}
		}
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	s.who.Store(&who.Standing)
	watch, ok := h.hub.join(who.Account.ID, s.concern)
	if !ok {
		h.refuse(w, r, problem{slug: "too-many-streams"})
		return
	}
	defer h.hub.leave(watch)
	defer func() { _ = s.out.SetWriteDeadline(time.Time{}) }() // the connection goes on
	w.Header().Set("Content-Type", "text/event-stream")
	if err := s.run(watch); err != nil && r.Context().Err() == nil {
		slog.InfoContext(r.Context(), "a stream broke off", "of", r.FormValue("of"), "error", err)
	}
}

// subject is what the person wants to follow; store.ErrNotFound if they may not.
func (h *handler) subject(ctx context.Context, who store.Visitor, of string) (subject, error) {
	kind, id, _ := strings.Cut(of, ":")
	switch kind {
	case aboutLists:
		return subject{kind: kind}, nil
	case aboutRun:
		v, err := h.visible(ctx, who, id, access.ReadRuns)
		return subject{kind, v.ID, v.Key}, err
	case aboutIssue:
		key, err := h.followedIssue(ctx, who, id)
		return subject{kind: kind, issue: key}, err
	}
	return subject{}, store.ErrNotFound
}

// followedIssue is the work item that somebody wants to follow, by its key or name.
func (h *handler) followedIssue(ctx context.Context, who store.Visitor, name string) (string, error) {
	repository, number, _ := strings.Cut(name, "#")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 1 {
		return "", store.ErrNotFound
	}
	home, err := h.db.Find(ctx, plain.Text(repository), int(n))
	if err != nil {
		return "", err
	}
	project, err := h.db.ProjectOf(ctx, home.Repository.Key, stage.Person{})
	if err == nil && (project == nil || !who.Standing.May(access.ReadRuns, project.ID)) {
		err = store.ErrNotFound
	}
	return home.Key(), err
}

// concern is what news mean for the stream.
func (s *stream) concern(n store.News) news {
	mine := s.what.kind == aboutLists && (n.Kind == store.NewsOfLetters || s.who.Load().May(access.ReadRuns, n.Project)) ||
		n.Run != "" && n.Run == s.what.id || n.Issue != "" && n.Issue == s.what.issue
	return news{
		page:   mine && n.Kind != store.NewsOfLog && n.Kind != store.NewsOfAccess,
		log:    mine && n.Kind == store.NewsOfLog && s.log,
		access: n.Kind == store.NewsOfAccess,
	}
}

// run tells until something ends the stream.
func (s *stream) run(w *watch) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	life := time.After(streamLife - rand.N(streamLife/10)) // not all at once
	err := s.say(": hello\n\n")
	for err == nil {
		select {
		case <-s.r.Context().Done():
			return nil
		case <-s.h.stopping:
			return s.say("event: end\ndata: drain\n\n")
		case <-life:
			return s.say("event: end\ndata: cut\n\n")
		case <-beat.C:
			if err = s.say(": beat\n\n"); err == nil {
				err = s.check()
			}
		case <-w.wake:
			err = s.tell(w)
		}
		if errors.Is(err, store.ErrNotFound) {
			return s.say("event: end\ndata: forbidden\n\n")
		}
	}
	return err
}

// tell says what is due, and waits a little, so that what comes in a burst is said once.
func (s *stream) tell(w *watch) error {
	due, pause := w.take(), logPause
	if due.access {
		if err := s.check(); err != nil {
			return err
		}
	}
	if due.page {
		pause = pagePause
		if err := s.say("event: changed\ndata:\n\n"); err != nil {
			return err
		}
	}
	if due.log && s.log {
		more, err := s.lines()
		if err != nil {
			return err
		}
		w.tell(news{log: more})
	}
	select {
	case <-s.r.Context().Done():
	case <-s.h.stopping:
	case <-time.After(pause):
	}
	return nil
}

// check reports store.ErrNotFound if the person may follow this no longer.
func (s *stream) check() error {
	who, err := s.h.visitor(s.r)
	if err == nil {
		_, err = s.h.subject(s.r.Context(), who, s.r.FormValue("of"))
	}
	if err == nil {
		s.who.Store(&who.Standing)
	}
	return err
}

// lines says the next lines of the log, and whether there may be more.
func (s *stream) lines() (more bool, err error) {
	last, err := s.h.db.LastLine(s.r.Context(), s.what.id)
	if err != nil {
		return false, err
	}
	if last-s.line > farBehind {
		s.line = last - batch
	}
	lines, err := s.h.db.Logs(s.r.Context(), s.what.id, s.line+1, batch)
	if err != nil || len(lines) == 0 {
		return false, err
	}
	var l api.Log
	for _, line := range lines {
		l.Items = append(l.Items, lineOf(line))
	}
	html, err := page.Lines(l)
	if err != nil {
		return false, err
	}
	s.line = lines[len(lines)-1].Seq
	return len(lines) == batch, s.say(fmt.Sprintf("event: lines\nid: %d\ndata: %s\n\n", s.line, strings.ReplaceAll(html, "\n", "\ndata: ")))
}

// say writes to the browser, which gets a bounded time to take it.
func (s *stream) say(frame string) error {
	if err := s.out.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(frame)); err != nil {
		return err
	}
	return s.out.Flush()
}
