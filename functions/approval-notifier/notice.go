package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/store"
)

// noticed tells chats something that needs no answer. Each is told at most once: a claim is made before and stays. If
// the process dies between the two, that chat is not told; what the notice says stands in the status comment too.
// Places that are no chats are left out, and so is one that refuses: nobody waits for the notice.
func (h *handler) noticed(ctx context.Context, e event.Event, n events.NoticeRequested) ([]event.Event, error) {
	return h.db.Act(ctx, e, "notices/"+n.Key, func(ctx context.Context) (events.Decision, error) {
		ctx, cancel := context.WithTimeout(ctx, actFor)
		defer cancel()
		var mu sync.Mutex
		var all sync.WaitGroup
		var failed error
		for _, at := range h.places(n.Targets) {
			if speaker, ok := h.channels[at.Channel].(chat.Speaker); ok && at.Target != "" {
				all.Go(func() {
					err := h.say(ctx, speaker, n, at)
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
				})
			}
		}
		all.Wait()
		return events.Decision{}, failed
	})
}

// say tells one chat. An error is worth another try.
func (h *handler) say(ctx context.Context, speaker chat.Speaker, n events.NoticeRequested, at events.ApprovalTarget) error {
	key := fmt.Sprintf("notice %s %s:%s", n.Key, at.Channel, at.Target)
	if err := h.db.Claim(ctx, key, time.Time{}); errors.Is(err, store.ErrClaimed) {
		return nil
	} else if err != nil {
		return err
	}
	err := speaker.Say(ctx, at.Target, n.Text)
	if no, refused := chat.AsRefused(err); refused {
		metrics.ApprovalMessages.Add(ctx, 1, at.Channel, no.Reason)
		return nil
	}
	if err == nil {
		metrics.ApprovalMessages.Add(ctx, 1, at.Channel, "delivered")
		return nil
	}
	metrics.ApprovalMessages.Add(ctx, 1, at.Channel, "failed")
	err = errors.Join(err, h.db.Unclaim(context.WithoutCancel(ctx), key))
	if later := new(chat.Later); errors.As(err, &later) {
		return events.RetryAt(h.db.Now().Add(later.After), err)
	}
	return err
}
