package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/approval/words"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

const (
	// largeBodies is how many bodies above the usual size are read at once: the internet may send them.
	largeBodies = 4
	// tellFor is how long it may take to tell a person the result of their click.
	tellFor = 10 * time.Second
	// answerIn is when a callback is answered at the latest: Slack's three seconds, less the network's time.
	answerIn = 2 * time.Second
	// firstPause and lastPause are before an HTTP approver that gave up is asked again: as long as people have been asked,
	// so that one which gives up at once is asked less and less often.
	firstPause, lastPause = time.Minute, 10 * time.Minute
)

// redelivers are the channels that send a callback again when it is answered 503.
var redelivers = map[string]bool{approval.Telegram: true, approval.Jira: true, approval.HTTP: true}

type handler struct {
	db     *store.DB
	bodies *serve.Bodies
	send   func(context.Context, ...event.Event) error
	later  func(context.Context, func(context.Context)) // does it after the answer
	within time.Duration                                // a callback is answered: answerIn, more in tests
	notes  notes
}

func (h *handler) routes(s *serve.Server, channels map[string]chat.Channel) {
	s.Handle("GET /openapi.json", http.HandlerFunc(document))
	for name, channel := range channels {
		paths := []string{"/" + name}
		if name == approval.HTTP {
			paths = []string{"/approvals/webhook/{name}/{attempt}", "/executors/webhook/{name}/{attempt}"}
		}
		for _, path := range paths {
			s.Handle("POST "+path, h.callback(name, channel))
		}
	}
}

// A reply is what a callback is answered with.
type reply struct {
	outcome string           // of the metric
	words   string           // for the person; "" = none
	counted bool             // nobody has to be alarmed by the words
	unheard bool             // no event says so: a row of the audit has to
	of      approval.Request // that an unheard one is about; zero = it is not known
}

// callback takes what a channel reports. The raw bytes are verified first: nothing is parsed for a stranger.
func (h *handler) callback(name string, channel chat.Channel) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		defer h.bodies.Guard(w, r, "")()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, chat.MaxCallback))
		if err != nil {
			h.refuse(w, r, name, start, unread(err))
			return
		}
		cb, err := channel.Read(r, body, h.db.Now())
		if err != nil {
			h.refuse(w, r, name, start, err)
			return
		}
		ctx, cancel := context.WithDeadline(r.Context(), start.Add(h.within))
		defer cancel()
		said, err := h.act(ctx, channel, cb)
		if err != nil && redelivers[name] {
			h.refuse(w, r, name, start, err)
			return
		}
		if err != nil {
			slog.ErrorContext(ctx, "a callback is lost, its person is told", "channel", name, "error", err)
			said = reply{outcome: "not_stored", words: notStored}
		}
		h.answer(w, r, name, start, cb.Answer(said.words, said.counted), said.outcome)
		if said.unheard {
			h.note(ctx, cb.By(), said.of, "callback.ignored", said.outcome, "")
		}
		if said.words != "" {
			h.later(ctx, func(ctx context.Context) { h.tell(ctx, channel, cb, said.words) })
		}
	}
}

// act does what a callback means.
func (h *handler) act(ctx context.Context, channel chat.Channel, cb chat.Callback) (reply, error) {
	switch cb.Kind {
	case chat.Voted:
		return h.voted(ctx, cb)
	case chat.GaveUp:
		return h.gaveUp(ctx, cb)
	case chat.Asked:
		return h.ask(ctx, channel, cb)
	case chat.Linked:
		return h.link(ctx, cb)
	}
	return reply{outcome: cb.Why, words: hints[cb.Why], unheard: !idle[cb.Why]}, nil
}

// voted takes a vote. One that came without a button is about what is asked where it was cast.
func (h *handler) voted(ctx context.Context, cb chat.Callback) (reply, error) {
	if v := cb.Vote; v.RequestID == "" {
		about, err := h.db.ShownIn(ctx, v.By.Channel, cb.Ref.Chat, v.Digest, cb.Whole)
		switch {
		case err != nil:
			return reply{}, err
		case len(about) == 0:
			return reply{outcome: reason.UnknownRequest}, nil // people use such commands for other things, too
		case len(about) > 1:
			return reply{outcome: reason.WhichRequest, words: hints[reason.WhichRequest], unheard: true}, nil
		}
		cb.Vote.RequestID = about[0]
	}
	return h.vote(ctx, cb)
}

// gaveUp has an approver asked again that gave up without a decision. Whether the request is still open is looked up
// then.
func (h *handler) gaveUp(ctx context.Context, cb chat.Callback) (reply, error) {
	v := cb.Vote
	t, err := h.db.Ticket(ctx, v.RequestID)
	if err != nil || t.State != approval.Open {
		return reply{outcome: cb.Why}, err
	}
	again := events.ApprovalUnanswered{RequestID: v.RequestID, ApprovalTarget: events.ApprovalTarget{Channel: v.By.Channel, Target: cb.Ref.Chat}, Attempt: cb.Ref.Message}
	_, err = h.db.Emit(ctx, store.Cause{Source: events.Source(function) + "/" + v.By.Channel, ID: v.ID}, t.Request.Correlation(),
		func(_ context.Context, tx *store.Tx) (events.Decision, error) {
			again.Due = tx.Now().Add(min(max(tx.Now().Sub(t.Told), firstPause), lastPause))
			return events.Decision{Emit: []events.Draft{events.At(again.Due, again)}}, nil
		})
	return reply{outcome: cb.Why}, err
}

// vote stores a vote, whether or not it will count, and says whether it will as far as is known now.
func (h *handler) vote(ctx context.Context, cb chat.Callback) (reply, error) {
	v := cb.Vote
	t, err := h.db.Ticket(ctx, v.RequestID)
	if err != nil {
		return reply{}, err
	}
	if t.State == "" {
		return reply{outcome: reason.UnknownRequest, words: hints[reason.UnknownButton], unheard: true}, nil
	}
	var said reply
	stored, err := h.db.Emit(ctx, store.Cause{Source: events.Source(function) + "/" + v.By.Channel, ID: v.ID}, t.Request.Correlation(),
		func(ctx context.Context, tx *store.Tx) (_ events.Decision, err error) {
			if said, err = foresee(ctx, tx, t, v); err != nil {
				return events.Decision{}, err
			}
			return events.Decision{Emit: []events.Draft{events.Now(v)}}, keep(ctx, tx, cb)
		})
	if err != nil {
		return reply{}, err
	}
	h.later(ctx, func(ctx context.Context) {
		if err := h.send(ctx, stored...); err != nil {
			slog.WarnContext(ctx, "a vote was stored but not sent; timekeeper will send it", "request", v.RequestID, "error", err)
		}
	})
	if another(v, stored) {
		said = reply{outcome: reason.AnsweredBefore, words: hints[reason.AnsweredBefore], unheard: true, of: t.Request}
	}
	return said, nil
}

// another reports whether a vote was stored before under the same id and said something else. The first one counts.
func another(v events.ApprovalVoted, stored []event.Event) bool {
	var first events.ApprovalVoted
	if len(stored) != 1 || stored[0].DataAs(&first) != nil {
		return false
	}
	return first.Choice != v.Choice || first.Option != v.Option || first.Words != v.Words || first.Text != v.Text
}

// keep records the message that was clicked, if nobody has: who posted it died before, and without this it would never
// show the outcome.
func keep(ctx context.Context, tx *store.Tx, cb chat.Callback) error {
	if cb.Ref.Message == "" {
		return nil
	}
	at := events.ApprovalTarget{Channel: cb.By().Channel, Target: cb.Ref.Chat}
	ref, err := json.Marshal(cb.Ref)
	if err != nil {
		return fmt.Errorf("encoding where a message is: %w", err)
	}
	return tx.KeepMessage(ctx, cb.Vote.RequestID, at, ref)
}

// foresee says what approval-gate will make of a vote.
func foresee(ctx context.Context, tx *store.Tx, t approval.Ticket, v events.ApprovalVoted) (reply, error) {
	in, err := tx.Voted(ctx, t, v)
	if err != nil {
		return reply{}, err
	}
	why, said, err := approval.Foresee(t, in, tx.Now())
	switch {
	case err != nil:
		return reply{}, err
	case said != "":
		return reply{outcome: why, words: said}, nil
	case why != "":
		return reply{outcome: why, counted: true, unheard: true, of: t.Request}, nil
	}
	return reply{outcome: "voted", counted: true}, nil
}

// ask offers a field for the words that are wanted, unless this person's words would not count.
func (h *handler) ask(ctx context.Context, channel chat.Channel, cb chat.Callback) (reply, error) {
	t, err := h.db.Ticket(ctx, cb.Vote.RequestID)
	if err != nil {
		return reply{}, err
	}
	if t.State == "" {
		return reply{outcome: reason.UnknownRequest, words: hints[reason.UnknownButton], unheard: true}, nil
	}
	wanted := cb.Vote
	wanted.Text = "…" // as if they had been written
	var said reply
	if err := h.db.Look(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		said, err = foresee(ctx, tx, t, wanted)
		return err
	}); err != nil {
		return reply{}, err
	}
	if said.words != "" {
		said.unheard, said.of = true, t.Request
		return said, nil
	}
	if err := channel.Ask(ctx, cb); err != nil {
		return reply{}, fmt.Errorf("offering a field for words: %w", err)
	}
	return reply{outcome: "asked"}, nil
}

// link links an account to the person the one-time code was made for.
func (h *handler) link(ctx context.Context, cb chat.Callback) (reply, error) {
	who, err := h.db.LinkAccount(ctx, cb.Code, cb.By())
	if errors.Is(err, store.ErrNotFound) {
		return reply{outcome: reason.CodeUnknown, words: both(words.In("en").LinkFailed, words.In("ru").LinkFailed), unheard: true}, nil
	}
	if err != nil {
		return reply{}, err
	}
	done := both(fmt.Sprintf(words.In("en").LinkDone, who.Login), fmt.Sprintf(words.In("ru").LinkDone, who.Login))
	return reply{outcome: "linked", words: done, counted: true}, nil
}

func (h *handler) tell(ctx context.Context, channel chat.Channel, cb chat.Callback, text string) {
	ctx, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	if err := channel.Tell(ctx, cb, text); err != nil {
		slog.WarnContext(ctx, "a person was not told what became of their click", "request", cb.Vote.RequestID, "error", err)
	}
}

// unread is the refusal of a body that did not arrive properly.
func unread(err error) error {
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		return &chat.Unfit{Status: http.StatusRequestEntityTooLarge, Reason: reason.TooLarge, Said: err.Error()}
	}
	if errors.Is(err, serve.ErrBusy) {
		return err
	}
	return &chat.Unfit{Status: http.StatusBadRequest, Reason: reason.Incomplete, Said: err.Error()}
}

// refuse answers what is not genuine with its status, and what could not be stored with 503. An HTTP approver is told
// why: the author of its program has to find the fault.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, name string, start time.Time, err error) {
	status, outcome, said := http.StatusServiceUnavailable, "not_stored", "it could not be stored now: try again after Retry-After"
	var unfit *chat.Unfit
	switch {
	case errors.As(err, &unfit):
		status, outcome, said = unfit.Status, unfit.Reason, unfit.Said
	case events.Unstorable(err):
		status, outcome, said = http.StatusUnprocessableEntity, reason.Unstorable, "it holds what can't be stored, such as a zero byte in a text"
	default:
		w.Header().Set("Retry-After", "5")
	}
	slog.WarnContext(r.Context(), "a callback is refused", "channel", name, "status", status, "error", err)
	answer := chat.Response{Status: status}
	if name == approval.HTTP {
		answer = chat.CallbackRefused(status, outcome, said)
	}
	h.answer(w, r, name, start, answer, outcome)
	if status < http.StatusInternalServerError {
		h.note(r.Context(), events.Voter{Channel: name}, approval.Request{}, "callback.refused", outcome, err.Error())
	}
}

func (h *handler) answer(w http.ResponseWriter, r *http.Request, name string, start time.Time, a chat.Response, outcome string) {
	if len(a.Body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
	metrics.ApprovalCallbacks.Add(r.Context(), 1, name, outcome, strconv.Itoa(a.Status))
	metrics.ApprovalCallbackDuration.Record(r.Context(), time.Since(start).Seconds(), name)
}
