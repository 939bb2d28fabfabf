package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

const (
	// actFor bounds the calls of one event, well below Knative's five minutes for a request.
	actFor = time.Minute
	// clocks is how far a channel's clock may be from ours.
	clocks = 5 * time.Minute
)

type handler struct {
	db       *store.DB
	channels map[string]chat.Channel
	send     func(context.Context, ...event.Event) error
	homes    map[string][]string // by channel, its chats for whom the policy names none
}

// home is the channel's chat for whom the policy names none; "" = there is none.
func (h *handler) home(channel, chat string) {
	if chat != "" && h.channels[channel] != nil {
		h.homes[channel] = append(h.homes[channel], chat)
	}
}

func (h *handler) routes(s *serve.Server) {
	serve.On(s, h.changed)
	serve.On(s, h.refused)
	serve.On(s, h.unanswered)
	serve.On(s, h.noticed)
}

// changed makes all places show the message, and says of each what came of it.
func (h *handler) changed(ctx context.Context, e event.Event, c events.ApprovalChanged) ([]event.Event, error) {
	var said []event.Event
	emitted, err := h.db.Act(ctx, e, "messages/"+c.Message.RequestID, func(ctx context.Context) (events.Decision, error) {
		ctx, cancel := context.WithTimeout(ctx, actFor)
		defer cancel()
		var failed error
		said, failed = h.showAll(ctx, e, c)
		return events.Decision{}, failed
	})
	if err != nil && len(said) > 0 {
		// The event comes again for the other places. What is to be said of these need not wait for that; should it get
		// lost, timekeeper sends it.
		_ = h.send(ctx, said...)
	}
	return append(said, emitted...), err
}

// showAll has every place show the message, side by side. It returns what was emitted, and the errors of those places
// that are to be tried again.
func (h *handler) showAll(ctx context.Context, e event.Event, c events.ApprovalChanged) (said []event.Event, failed error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, at := range h.places(c.Targets) {
		all.Go(func() {
			emit, err := h.show(ctx, e, c, at)
			// The cause is the event at this place: when the event comes again the same is said again.
			told, also := h.db.Emit(context.WithoutCancel(ctx), store.Cause{Source: e.Source(), ID: e.ID() + " " + at.Channel + ":" + at.Target}, c.Correlation(),
				func(context.Context, *store.Tx) (events.Decision, error) { return events.Decision{Emit: emit}, nil })
			mu.Lock()
			defer mu.Unlock()
			said, failed = append(said, told...), errors.Join(failed, err, also)
		})
	}
	all.Wait()
	return said, failed
}

// places are the targets with none left that stands for others. "all" is every channel that is connected and has a
// chat.
func (h *handler) places(targets []events.ApprovalTarget) (places []events.ApprovalTarget) {
	add := func(at events.ApprovalTarget) {
		if !slices.Contains(places, at) {
			places = append(places, at)
		}
	}
	for _, t := range targets {
		channels := []string{t.Channel}
		if t.Channel == approval.All {
			channels = approval.Channels
		}
		for _, channel := range channels {
			for _, chat := range h.homes[channel] {
				if t.Target == "" {
					add(events.ApprovalTarget{Channel: channel, Target: chat})
				}
			}
		}
		if t.Channel != approval.All && (t.Target != "" || len(h.homes[t.Channel]) == 0) {
			add(t)
		}
	}
	return places
}

// show makes one place show the message and says what came of it. An error is worth another try.
func (h *handler) show(ctx context.Context, e event.Event, c events.ApprovalChanged, at events.ApprovalTarget) ([]events.Draft, error) {
	m := c.Message
	if at.Channel == approval.GitHub {
		return h.comment(c, at), nil
	}
	channel := h.channels[at.Channel]
	if channel == nil || at.Target == "" {
		err := fmt.Errorf("%s is not connected: set its variables at approval-notifier, with a chat, or name another channel in the policy", at.Channel)
		return []events.Draft{undeliverable(ctx, m, at, reason.NotConnected, err)}, nil
	}
	attempt, shown, emit, err := h.bring(ctx, channel, c, at)
	if err == nil && at.Channel == approval.HTTP {
		err = h.askAgainLater(ctx, m.RequestID, at, attempt)
	}
	if err != nil {
		failed, err := h.judge(ctx, m, at, "", e.Time(), err)
		return append(emit, failed...), err
	}
	if shown { // else something newer is there
		emit = append(emit, delivered(ctx, m, at))
	}
	return emit, nil
}

// judge says what comes of a call that failed; an error is worth another try. A place is undeliverable that refuses for
// good, has not worked since the time for longer than people can wait, or will not before long. If that is an approver
// a timer asks it again, and the event has no other try: an outage may last longer than events are tried.
func (h *handler) judge(ctx context.Context, m events.ApprovalMessage, at events.ApprovalTarget, attempt string, since time.Time, err error) ([]events.Draft, error) {
	next := h.db.Now()
	why := reason.Unreachable
	var later *chat.Later
	no, refused := chat.AsRefused(err)
	switch {
	case refused:
		why = no.Reason
	case errors.As(err, &later):
		next = next.Add(later.After)
		err = events.RetryAt(next, err)
	case errors.Is(err, store.ErrLocked):
		next = next.Add(2 * time.Second)
		err = events.RetryAt(next, err)
	default:
		metrics.ApprovalMessages.Add(ctx, 1, at.Channel, "failed")
	}
	if !refused && next.Sub(since) <= events.Patience {
		return nil, err
	}
	said := []events.Draft{undeliverable(ctx, m, at, why, err)}
	t, failed := h.db.Ticket(ctx, m.RequestID)
	if failed != nil {
		return said, errors.Join(err, failed)
	}
	if timer, set := h.again(t, at, attempt); set {
		return append(said, timer), nil
	}
	if refused {
		return said, nil
	}
	return said, err
}

// bring brings a place's message to the event's version, and sends the reminder if there is one. It returns the message
// that is there, whether it shows that version, and the vote of an approver that decided at once.
func (h *handler) bring(ctx context.Context, channel chat.Channel, c events.ApprovalChanged, at events.ApprovalTarget) (
	message string, shown bool, votes []events.Draft, err error) {
	m := c.Message
	held, err := h.db.ChatMessage(ctx, m.RequestID, at)
	if err != nil {
		return "", false, nil, err
	}
	defer func() { err = errors.Join(err, held.Close(ctx)) }()
	p := &place{ChatMessage: held, channel: channel, at: at}
	known := held.Ref != nil
	if held.Version > m.Version {
		return "", false, nil, nil
	}
	if held.Version < m.Version {
		done, err := p.edit(ctx, m)
		if err == nil && !done {
			done, err = p.find(ctx, m)
		}
		if err == nil && !done {
			err = p.post(ctx, m)
		}
		if err == nil {
			held.Version = m.Version
			err = held.Save(ctx)
		}
		if err != nil {
			return "", false, p.votes, err
		}
	}
	if r := c.Reminder; r != nil && known && r.Number > held.Reminded {
		err = p.remind(ctx, m, *r)
	}
	ref, also := p.ref()
	return ref.Message, true, p.votes, errors.Join(err, also)
}

// A place is one message being brought up to date.
type place struct {
	*store.ChatMessage
	channel chat.Channel
	at      events.ApprovalTarget
	votes   []events.Draft
}

// edit brings the message that is there up to date. It is not done if there is none, or none any more: people have
// removed it, or its chat goes on elsewhere. Where nobody was asked, nobody is told how it ended.
func (p *place) edit(ctx context.Context, m events.ApprovalMessage) (done bool, err error) {
	if p.Ref == nil {
		if m.State.Final() {
			p.Ref = json.RawMessage(`{}`)
		}
		return m.State.Final(), nil
	}
	ref, err := p.ref()
	if err == nil {
		err = p.channel.Edit(ctx, ref, m)
	}
	if r, refused := chat.AsRefused(err); refused && (r.Reason == reason.NotFound || r.Reason == reason.ChatMoved) {
		return false, nil
	}
	return err == nil, err
}

// find brings a message up to date that is there though nobody has recorded it, if the channel can be asked. Where we
// may not look a message is posted: two are better than none.
func (p *place) find(ctx context.Context, m events.ApprovalMessage) (done bool, err error) {
	finder, can := p.channel.(chat.Finder)
	if !can || p.Planned.IsZero() {
		return false, nil
	}
	ref, err := finder.Find(ctx, p.at.Target, m, p.Planned.Add(-clocks))
	if _, refused := chat.AsRefused(err); refused {
		return false, nil
	}
	if err != nil || ref == nil {
		return false, err
	}
	if err := p.channel.Edit(ctx, *ref, m); err != nil {
		return false, err
	}
	return true, p.posted(chat.Posted{Ref: *ref})
}

// post posts the message, in the chat's new place if it has moved.
func (p *place) post(ctx context.Context, m events.ApprovalMessage) error {
	posted, err := p.channel.Post(ctx, p.at.Target, m)
	if r, refused := chat.AsRefused(err); refused && r.Reason == reason.ChatMoved {
		posted, err = p.channel.Post(ctx, r.MovedTo, m)
	}
	if err != nil {
		return err
	}
	return p.posted(posted)
}

func (p *place) remind(ctx context.Context, m events.ApprovalMessage, r events.ApprovalReminder) error {
	ref, err := p.ref()
	if err != nil {
		return err
	}
	posted, err := p.channel.Remind(ctx, ref, m, r.Text)
	if err != nil {
		return err
	}
	p.Reminded = r.Number
	if err := p.posted(posted); err != nil {
		return err
	}
	return p.Save(ctx)
}

// posted keeps where the message is, and the vote of an approver that decided at once.
func (p *place) posted(posted chat.Posted) (err error) {
	if posted.Vote != nil {
		p.votes = append(p.votes, events.Now(*posted.Vote))
	}
	if p.Ref, err = json.Marshal(posted.Ref); err != nil {
		return fmt.Errorf("encoding where a message is: %w", err)
	}
	return nil
}

func (p *place) ref() (ref chat.Ref, err error) {
	if err := json.Unmarshal(p.Ref, &ref); err != nil {
		return ref, fmt.Errorf("reading where a message is: %w", err)
	}
	return ref, nil
}

// delivered says, and counts, that a place shows the message.
func delivered(ctx context.Context, m events.ApprovalMessage, at events.ApprovalTarget) events.Draft {
	metrics.ApprovalMessages.Add(ctx, 1, at.Channel, "delivered")
	return events.Now(events.ApprovalDelivered{RequestID: m.RequestID, Version: m.Version, ApprovalTarget: at})
}

// undeliverable says, and counts, that a place does not show the message.
func undeliverable(ctx context.Context, m events.ApprovalMessage, at events.ApprovalTarget, why string, err error) events.Draft {
	metrics.ApprovalMessages.Add(ctx, 1, at.Channel, why)
	return events.Now(events.ApprovalUndeliverable{RequestID: m.RequestID, Version: m.Version, ApprovalTarget: at, Reason: why, Message: err.Error()})
}
