package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
)

// A session is the checks of one adapter.
type session struct {
	*platform
	half half
	out  io.Writer

	press    func(ctx context.Context, a *attempt, do act) error
	restart  func(ctx context.Context) error // nil = nobody can
	byHand   bool
	absent   bool // nobody pressed what they were asked to
	patience time.Duration
	quiet    time.Duration
	again    time.Duration

	untouched *attempt // that nobody has pressed anything of
}

// A half is one side of the contract.
type half struct {
	name, answer string // the path without its slash; the schema of its answers
	message      events.ApprovalMessage
	yes, other   act // two that contradict each other
	words        act // with something written
}

// An act is what somebody does with a request.
type act struct {
	what   string // approve, deny, option, words
	option int    // of option, from 1 on
	text   string // the reason of deny, and what words says
}

const written = "Not before Monday, please."

var halves = []half{
	{
		name: "approve", answer: "ApproverAnswer", yes: act{what: "approve"}, other: act{what: "deny"}, words: act{what: "deny", text: written},
		message: events.ApprovalMessage{
			Kind: events.KindApproval, Action: "tool:secret_sync", Arguments: json.RawMessage(`{"name":"api-key","namespace":"shop"}`),
			Justification: "The shop needs a key of its own.", Risk: "Low, the platform makes the value.",
		},
	},
	{
		name: "execute", answer: "ExecutorAnswer", yes: act{what: "option", option: 1}, other: act{what: "option", option: 2}, words: act{what: "words", text: written},
		message: events.ApprovalMessage{
			Kind: events.KindQuestion, Action: "question", Options: []string{"Postgres", "SQLite"}, FreeText: true, Justification: "Both are installed.",
		},
	},
}

// newMessage is what the half asks, under a title by which people find it.
func (s *session) newMessage(title string) events.ApprovalMessage {
	m := s.half.message
	m.RequestID, m.Digest, m.Version, m.Lang, m.State, m.Quorum = uuid.NewString(), "0123456789ab", 1, "en", "open", 1
	m.Title, m.Context, m.IssueURL = "A check by codex-k8s: "+title, "acme/shop#12, stage dev, agent dev, started by alice", "https://github.com/acme/shop/issues/12"
	m.Deadline = time.Now().Add(time.Hour)
	return m
}

// ask asks the adapter, and says what codex-k8s makes of the answer. What is sent can be changed on its way.
func (s *session) ask(ctx context.Context, m events.ApprovalMessage, alter func(h http.Header, body []byte) []byte) (*attempt, error) {
	s.alter, s.asked = alter, nil
	posted, err := s.channel.Post(ctx, adapterName, m)
	a := s.asked
	if a == nil {
		return nil, err
	}
	a.title, a.options, a.atOnce = m.Title, m.Options, posted.Vote != nil
	if err != nil {
		return a, err
	}
	if len(a.said) == 0 {
		return a, nil
	}
	if err := s.fits(s.half.answer, a.said); err != nil {
		return a, fmt.Errorf("its answer is %w; it answered %.300s", err, a.said)
	}
	var sent, said struct {
		ID string `json:"correlation_id"`
	}
	if err := errors.Join(json.Unmarshal(a.body, &sent), json.Unmarshal(a.said, &said)); err == nil && said.ID != "" && said.ID != sent.ID {
		return a, fmt.Errorf("its answer has the correlation_id %q, want %q", said.ID, sent.ID)
	}
	return a, nil
}

// open asks what is to be decided by a press.
func (s *session) open(ctx context.Context, title string) (*attempt, error) {
	a, err := s.ask(ctx, s.newMessage(title), nil)
	switch {
	case err != nil:
		return nil, err
	case a.atOnce:
		return nil, untried("it decides at once, so there is nothing to press")
	case s.absent:
		return nil, untried("nobody pressed what was asked for before")
	}
	return a, nil
}

// answerWith says how callbacks of an attempt are answered, and when: not before hold is closed.
func (s *session) answerWith(a *attempt, hold <-chan struct{}, statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.answers, a.hold = statuses, hold
}

// click presses in the background, since a click may last until its callback is answered. It returns what came of that.
func (s *session) click(ctx context.Context, a *attempt, do act) <-chan error {
	done, failed := make(chan struct{}), make(chan error, 1)
	a.clicked = done
	go func() {
		defer close(done)
		failed <- s.press(ctx, a, do)
	}()
	return failed
}

// decide presses, and takes the callback that comes of it.
func (s *session) decide(ctx context.Context, a *attempt, do act) (call, error) {
	failed, late := s.click(ctx, a, do), time.After(s.patience)
	for {
		select {
		case c := <-a.calls:
			return c, a.wrong(c, do)
		case err := <-failed:
			if err != nil {
				return call{}, fmt.Errorf("pressing %s: %w", do.what, err)
			}
			failed = nil
		case <-late:
			s.absent = s.byHand
			return call{}, fmt.Errorf("no callback came within %s of the press on %s", s.patience, do.what)
		case <-ctx.Done():
			return call{}, ctx.Err()
		}
	}
}

// next is the next callback of an attempt.
func (s *session) next(ctx context.Context, a *attempt, within time.Duration) (c call, came bool) {
	select {
	case c = <-a.calls:
		return c, true
	case <-time.After(within):
	case <-ctx.Done():
	}
	return c, false
}

// rest are the callbacks that come after all that should, until the last click is over and nothing has come for the
// quiet time.
func (s *session) rest(ctx context.Context, a *attempt) (all []call) {
	if a.clicked != nil {
		select {
		case <-a.clicked:
		case <-time.After(s.patience):
		case <-ctx.Done():
		}
	}
	for {
		c, came := s.next(ctx, a, s.quiet)
		if !came {
			return all
		}
		all = append(all, c)
	}
}

// wrong says what in a callback is not what was pressed.
func (a *attempt) wrong(c call, do act) error {
	if c.fault != nil {
		return c.fault
	}
	v := c.means.Vote
	got := string(v.Choice)
	switch {
	case c.means.Kind == chat.GaveUp:
		got = "error"
	case v.Choice == events.Answer && v.Option > 0:
		got = fmt.Sprintf("option %d", v.Option)
	case v.Choice == events.Answer:
		got = "words"
	}
	want := do.what
	if want == "option" {
		want = fmt.Sprintf("option %d", do.option)
	}
	if got != want {
		return fmt.Errorf("%s was pressed and %s is called back", want, got)
	}
	if do.what == "option" && !approval.Names(v.Words, a.options[do.option-1]) {
		return fmt.Errorf("%s is called back with the words %q, and is %q: codex-k8s does not count it", want, v.Words, a.options[do.option-1])
	}
	if do.what == "words" && v.Text != do.text {
		return fmt.Errorf("%q was written and %q is called back", do.text, v.Text)
	}
	return nil
}

// same reports whether two callbacks say the same.
func (c call) same(d call) bool {
	a, b := c.means.Vote, d.means.Vote
	return c.means.Kind == d.means.Kind && a.Choice == b.Choice && a.Option == b.Option && a.Words == b.Words && a.Text == b.Text
}

// instruct asks the person at the terminal to press.
func (s *session) instruct(_ context.Context, a *attempt, do act) error {
	words := map[string]string{"approve": "approve", "deny": "deny", "option": fmt.Sprintf("choose option %d of", do.option), "words": "answer in words"}[do.what]
	_, _ = fmt.Fprintf(s.out, "      → please %s %q", words, a.title)
	if do.text != "" {
		_, _ = fmt.Fprintf(s.out, ", writing %q", do.text)
	}
	_, _ = fmt.Fprintln(s.out)
	return nil
}

// command presses by a command of the shell.
func command(line string) func(ctx context.Context, a *attempt, do act) error {
	return func(ctx context.Context, a *attempt, do act) error {
		return shell(ctx, line, "ID="+a.id, "ACT="+do.what, "OPTION="+strconv.Itoa(do.option), "TEXT="+do.text)
	}
}

// restarter restarts by a command of the shell.
func restarter(line string) func(context.Context) error {
	if line == "" {
		return nil
	}
	return func(ctx context.Context) error { return shell(ctx, line) }
}

func shell(ctx context.Context, line string, variables ...string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = append(os.Environ(), variables...)
	cmd.WaitDelay = time.Second // what it leaves behind may hold its output open
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
