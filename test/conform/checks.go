package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// A check returns nil, weak, untried, or what is wrong.
type check struct {
	name string
	do   func(ctx context.Context, s *session) error
}

// checks are done in this order, for each half that the adapter has. The first one says whether it has it.
var checks = []check{
	{"a request is taken", taken},
	{"long texts, markup and links are taken", longTexts},
	{"fields of later versions are ignored", newFields},
	{"what is no request is refused", noRequest},
	{"a request without a signature is refused", signedBy(func(h http.Header, _ []byte, _ *session) { h.Del(chat.HeaderSignature); h.Del(chat.HeaderTimestamp) })},
	{"a request with a wrong signature is refused", signedBy(func(h http.Header, body []byte, _ *session) { sign(h, body, []byte("guessed"), time.Now()) })},
	{"a request with an old timestamp is refused", signedBy(func(h http.Header, body []byte, s *session) { sign(h, body, s.secret, time.Now().Add(-10*time.Minute)) })},
	{"a signed request that was changed is refused", signedBy(func(h http.Header, body []byte, s *session) { sign(h, append(body, ' '), s.secret, time.Now()) })},
	{"a decision is called back, once", calledBack},
	{"what somebody writes is called back", wordsComeBack},
	{"the same id again is the same attempt", sameID},
	{"a second click changes nothing", secondClick},
	{"a late click is told once", lateClick},
	{"how it ended elsewhere is taken", endedElsewhere},
	{"a callback that is not heard is repeated", untilHeard},
	{"a slow answer holds nothing up", slowAnswer},
	{"two requests are kept apart, in any order", keptApart},
	{"a request outlives a restart", restarted},
	{"nobody's click decides nothing", nobodysClick},
}

func taken(ctx context.Context, s *session) (err error) {
	s.untouched, err = s.ask(ctx, s.newMessage("leave this one alone"), nil)
	if no, refused := chat.AsRefused(err); refused && no.Reason == reason.NotFound {
		return untried(fmt.Sprintf("it has no /%s (%d)", s.half.name, s.untouched.status))
	}
	return err
}

func longTexts(ctx context.Context, s *session) error {
	long := strings.Repeat("*_`[]()~>#+-=|{}.!\\ <b>&amp; \u202egnol Очень длинно 長い\n", 200)
	for _, lang := range []string{"en", "ru"} {
		m := s.newMessage("long texts; no need to press")
		m.Lang, m.Justification, m.Risk, m.Context = lang, long, long, long
		for range 6 {
			m.Links = append(m.Links, events.ApprovalLink{Text: "[code](*_`", URL: "https://github.com/acme/shop/blob/main/a_b*c.go"})
		}
		if m.Kind == events.KindQuestion {
			m.Title, m.Options = long, []string{long, "2 " + long, "3", "4", "5"}
		} else if arguments, err := json.Marshal(map[string]string{"name": long}); err == nil {
			m.Arguments = arguments
		}
		if _, err := s.ask(ctx, m, nil); err != nil {
			return fmt.Errorf("in %s: %w", lang, err)
		}
	}
	return nil
}

func newFields(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, s.newMessage("a new field; no need to press"), func(h http.Header, body []byte) []byte {
		body = bytes.Replace(body, []byte("{"), []byte(`{"field_of_a_later_version":{"some":["thing"]},`), 1)
		sign(h, body, s.secret, time.Now())
		return body
	})
	return err
}

func noRequest(ctx context.Context, s *session) error {
	without := func(field string) func(body []byte) []byte {
		return func(body []byte) []byte {
			var all map[string]any
			if json.Unmarshal(body, &all) != nil {
				return nil
			}
			delete(all, field)
			text, _ := json.Marshal(all) // it was JSON
			return text
		}
	}
	for _, c := range []struct {
		what  string
		spoil func(body []byte) []byte
	}{
		{"half a body", func(body []byte) []byte { return body[:len(body)/2] }},
		{"a list", func([]byte) []byte { return []byte("[]") }},
		{"one without correlation_id", without("correlation_id")},
		{"one without callback", without("callback")},
	} {
		a, err := s.ask(ctx, s.newMessage("not to be seen"), func(h http.Header, body []byte) []byte {
			body = c.spoil(body)
			sign(h, body, s.secret, time.Now())
			return body
		})
		if err := refused(a, err); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
	}
	return nil
}

// refused is nil if an adapter has said no to what was sent, by the status or in the body.
func refused(a *attempt, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("it took it (%d %.100s)", a.status, a.said)
	case a == nil || a.status == 0:
		return fmt.Errorf("no answer: %w", err)
	case a.status >= 500:
		return fmt.Errorf("it answered %d, for which codex-k8s asks again and again; want 400", a.status)
	}
	return nil
}

// signedBy checks that a request is refused whose signature was forged.
func signedBy(forge func(h http.Header, body []byte, s *session)) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		if len(s.secret) == 0 {
			return untried("SECRET says by what both sides sign, if they do")
		}
		a, err := s.ask(ctx, s.newMessage("not to be seen"), func(h http.Header, body []byte) []byte {
			forge(h, body, s)
			return body
		})
		if err := refused(a, err); err != nil {
			return err
		}
		if a.status != http.StatusUnauthorized {
			return weak(fmt.Sprintf("it answered %d, want 401", a.status))
		}
		return nil
	}
}

func calledBack(ctx context.Context, s *session) error {
	for _, do := range []act{s.half.yes, s.half.other} {
		a, err := s.open(ctx, "one press")
		if err != nil {
			return err
		}
		if _, err := s.decide(ctx, a, do); err != nil {
			return err
		}
		if more := s.rest(ctx, a); len(more) > 0 {
			return fmt.Errorf("it called back %d times, though the first was answered 200", 1+len(more))
		}
	}
	return nil
}

func wordsComeBack(ctx context.Context, s *session) error {
	a, err := s.open(ctx, "something to write")
	if err != nil {
		return err
	}
	c, err := s.decide(ctx, a, s.half.words)
	if err == nil && c.means.Vote.Text != s.half.words.text {
		return weak(fmt.Sprintf("the reason %q is called back as %q: the agent does not learn why", s.half.words.text, c.means.Vote.Text))
	}
	return err
}

func sameID(ctx context.Context, s *session) error {
	a, err := s.open(ctx, "shown once though it comes twice")
	if err != nil {
		return err
	}
	again, failed := s.ask(ctx, s.newMessage(""), func(h http.Header, _ []byte) []byte {
		clear(h)
		for name, values := range a.header {
			h[name] = values
		}
		return a.body
	})
	if failed != nil && (again.status == 0 || again.status >= 300) {
		return fmt.Errorf("the second time: %w", failed)
	}
	if _, err := s.decide(ctx, a, s.half.yes); err != nil {
		return err
	}
	s.click(ctx, a, s.half.yes) // on the other message, if it shows two
	if more := s.rest(ctx, a); len(more) > 0 {
		return fmt.Errorf("it called back %d times for one correlation_id", 1+len(more))
	}
	if failed != nil {
		return weak("the second time " + failed.Error())
	}
	return nil
}

func secondClick(ctx context.Context, s *session) error {
	a, err := s.open(ctx, "press twice, then the opposite")
	if err != nil {
		return err
	}
	first, err := s.decide(ctx, a, s.half.yes)
	if err != nil {
		return err
	}
	for _, do := range []act{s.half.yes, s.half.other} {
		s.click(ctx, a, do) // an error says that there is nothing to press any more
		for _, c := range s.rest(ctx, a) {
			if c.fault != nil || !first.same(c) {
				return errors.New("a later click was called back as another decision, which nobody hears: one attempt is one decision")
			}
		}
	}
	return nil
}

func lateClick(ctx context.Context, s *session) error {
	a, err := s.open(ctx, "too late")
	if err != nil {
		return err
	}
	s.answerWith(a, nil, http.StatusNotFound)
	if _, err := s.decide(ctx, a, s.half.yes); err != nil {
		return err
	}
	if more := s.rest(ctx, a); len(more) > 0 {
		return fmt.Errorf("it called back %d times; 404 says that the request is over, and is final", 1+len(more))
	}
	return nil
}

func endedElsewhere(ctx context.Context, s *session) error {
	m := s.newMessage("decided elsewhere; no need to press")
	a, err := s.ask(ctx, m, nil)
	if err != nil {
		return err
	}
	m.State, m.Outcome = approval.Expired, "Expired: nobody decided in time."
	if err := s.channel.Edit(ctx, chat.Ref{Chat: adapterName, Message: a.id}, m); err != nil {
		return err
	}
	switch status := s.asked.status; {
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return untried("it has no /decided, so people there are not told what others decide")
	case status/100 != 2:
		return fmt.Errorf("it answers %d", status)
	}
	return nil
}

func untilHeard(ctx context.Context, s *session) error {
	a, err := s.open(ctx, "an answer that is not heard")
	if err != nil {
		return err
	}
	s.answerWith(a, nil, http.StatusServiceUnavailable, 0, http.StatusOK)
	first, err := s.decide(ctx, a, s.half.yes)
	if err != nil {
		return err
	}
	calls := []call{first}
	for len(calls) < 3 {
		c, came := s.next(ctx, a, s.again)
		if !came {
			break
		}
		if err := a.wrong(c, s.half.yes); err != nil {
			return fmt.Errorf("called again: %w", err)
		}
		calls = append(calls, c)
	}
	switch len(calls) {
	case 1:
		return weak("answered 503 it did not call again: the decision is lost until codex-k8s asks anew")
	case 2:
		return weak("when the line broke it did not call again: the decision is lost until codex-k8s asks anew")
	}
	if gap := calls[1].at.Sub(calls[0].at); gap < s.retryAfter {
		return weak(fmt.Sprintf("it called again after %s, Retry-After said %s", gap.Round(time.Millisecond), s.retryAfter))
	}
	if more := s.rest(ctx, a); len(more) > 0 {
		return fmt.Errorf("it called %d times more though it was answered 200", len(more))
	}
	return nil
}

func slowAnswer(ctx context.Context, s *session) error {
	slow, err := s.open(ctx, "first")
	if err != nil {
		return err
	}
	other, err := s.open(ctx, "second")
	if err != nil {
		return err
	}
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	s.answerWith(slow, hold, http.StatusOK)
	defer release()
	c, err := s.decide(ctx, slow, s.half.yes)
	if err != nil {
		return err
	}
	if _, err := s.decide(ctx, other, s.half.other); err != nil {
		return fmt.Errorf("while another callback waits for its answer: %w", err)
	}
	release()
	for _, again := range s.rest(ctx, slow) {
		if !again.same(c) {
			return errors.New("it lost patience, and called back something else")
		}
	}
	return nil
}

func keptApart(ctx context.Context, s *session) error {
	first, err := s.open(ctx, "the older one")
	if err != nil {
		return err
	}
	second, err := s.open(ctx, "the newer one")
	if err != nil {
		return err
	}
	if _, err := s.decide(ctx, second, s.half.yes); err != nil {
		return fmt.Errorf("the newer one, first: %w", err)
	}
	if _, err := s.decide(ctx, first, s.half.other); err != nil {
		return fmt.Errorf("the older one, then: %w", err)
	}
	return nil
}

// restarted: what an adapter has forgotten it is asked about under another id, as codex-k8s does while a request is
// open. Then the decision has to come.
func restarted(ctx context.Context, s *session) error {
	if s.restart == nil {
		return untried("RESTART is a command that restarts the adapter")
	}
	a, err := s.open(ctx, "before a restart")
	if err != nil {
		return err
	}
	if err := s.restart(ctx); err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	_, forgotten := s.decide(ctx, a, s.half.yes)
	next, err := s.open(ctx, "after a restart")
	if err != nil {
		return err
	}
	if _, err := s.decide(ctx, next, s.half.yes); err != nil {
		return err
	}
	if forgotten != nil {
		return weak("it has forgotten what it was asked: people press in vain until codex-k8s asks anew")
	}
	return nil
}

func nobodysClick(ctx context.Context, s *session) error {
	for _, c := range s.rest(ctx, s.untouched) {
		if c.fault != nil {
			return c.fault
		}
		if c.means.Kind == chat.Voted {
			return errors.New("what nobody has touched was decided")
		}
	}
	return nil
}
