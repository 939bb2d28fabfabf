package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/metrics"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

const (
	// maxDeliveries is how often an event is sent without a receipt before it is a dead letter: with Due's growing
	// intervals about half a day.
	maxDeliveries = 12
	// perRound and maxRounds bound what one tick sends; the next tick continues.
	perRound  = 500
	maxRounds = 40
)

type handler struct {
	db      *store.DB
	clients *github.Clients // nil without a credential
	send    func(context.Context, ...event.Event) error

	comparing sync.Mutex           // one comparison with GitHub at a time
	tried     map[string]time.Time // when each repository, and the App, was last compared, successfully or not
}

func (h *handler) routes(s *serve.Server) {
	s.OnType(events.TypePing, h.tick)
	s.Handle("POST /dead-letters", http.HandlerFunc(h.bury))
}

// tick does all the regular work. A tick leaves no receipt: the next one makes up for it.
func (h *handler) tick(ctx context.Context, _ event.Event) ([]event.Event, error) {
	err := errors.Join(h.giveUp(ctx), h.sendDue(ctx), h.closeHandled(ctx), h.seal(ctx), h.settle(ctx), h.measure(ctx), h.db.Ticked(ctx))
	// A failure of GitHub must not make the Broker repeat the tick, and with it the calls.
	if compared := h.compare(ctx, h.db.Now()); compared != nil {
		slog.Warn("comparing with GitHub; the next pass tries again", "error", compared)
	}
	return nil, err
}

func (h *handler) giveUp(ctx context.Context) error {
	n, err := h.db.GiveUp(ctx, maxDeliveries, perRound)
	metrics.DeadLetters.Add(ctx, float64(n), "no_receipt")
	if n > 0 {
		slog.Error("events became dead letters: nobody recorded them", "events", n)
	}
	return err
}

func (h *handler) sendDue(ctx context.Context) error {
	for range maxRounds {
		es, err := h.db.Due(ctx, perRound)
		if err != nil {
			return err
		}
		if len(es) == 0 {
			return nil
		}
		if err := h.send(ctx, es...); err != nil {
			return fmt.Errorf("sending what is due: %w", err)
		}
	}
	return nil
}

// settle counts what model calls used whose process died.
func (h *handler) settle(ctx context.Context) error {
	n, err := h.db.SettleLost(ctx)
	if n > 0 {
		slog.Warn("model calls never ended, and count as all that they might have used", "calls", n)
	}
	return err
}

func (h *handler) closeHandled(ctx context.Context) error {
	n, err := h.db.CloseDeadLetters(ctx)
	if n > 0 {
		slog.Info("dead letters were handled after all", "events", n)
	}
	return err
}

// sealAtOnce is how many rows of the audit one seal covers at most.
const sealAtOnce = 1000

func (h *handler) seal(ctx context.Context) error {
	for range maxRounds {
		seal, err := h.db.SealAudit(ctx, sealAtOnce)
		if err != nil {
			return err
		}
		if seal.Rows > 0 {
			slog.InfoContext(ctx, "audit sealed", "seal", seal.Batch, "rows", seal.Rows, "hash", hex.EncodeToString(seal.Hash))
		}
		if seal.Rows < sealAtOnce {
			return nil
		}
	}
	return nil
}
