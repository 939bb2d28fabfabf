package main

import (
	"context"
	"errors"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type handler struct {
	db *store.DB
}

func (h *handler) routes(s *serve.Server) {
	serve.On(s, h.requested)
	serve.On(s, h.voted)
	s.OnType(events.GitHubType("issue_comment"), h.commented)
	serve.On(s, h.due)
	serve.On(s, h.delivered)
	serve.On(s, h.undeliverable)
	serve.On(s, h.runFinished)
}

// requested opens a request. It replaces those that ask the same about an older commit.
func (h *handler) requested(ctx context.Context, e event.Event, r events.ApprovalRequested) ([]event.Event, error) {
	home, err := h.db.RepositoryOfRun(ctx, r.RunID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, events.Reject("unknown_run", err)
	}
	if err != nil {
		return nil, err
	}
	return h.step(ctx, e, ofRun(r.RunID), func(ctx context.Context, s *step) error {
		asking, err := s.tx.Asking(ctx, r.RunID)
		if err != nil {
			return err
		}
		open, err := s.tx.OpenTickets(ctx, r.RunID)
		if err != nil {
			return err
		}
		for _, old := range open {
			if !approval.Supersedes(r, old.Request) {
				continue
			}
			if err := s.decide(ctx, old, approval.Replaced{By: r}); err != nil {
				return err
			}
		}
		t, err := s.tx.Ticket(ctx, r.ID)
		if err != nil {
			return err
		}
		terms := approval.For(r.Action, r.Role, asking.Settings.Approvals, &home.Process.Approvals)
		return s.decide(ctx, t, approval.Opened{Request: r, Terms: terms, Over: asking.Over})
	})
}

func (h *handler) voted(ctx context.Context, e event.Event, v events.ApprovalVoted) ([]event.Event, error) {
	return h.step(ctx, e, "approval/"+v.RequestID, func(ctx context.Context, s *step) error {
		t, in, err := s.voted(ctx, v.RequestID, v)
		if err != nil {
			return err
		}
		return s.decide(ctx, t, in)
	})
}

func (h *handler) due(ctx context.Context, e event.Event, d events.ApprovalDue) ([]event.Event, error) {
	return h.one(ctx, e, d.RequestID, approval.Due{ApprovalDue: d})
}

func (h *handler) delivered(ctx context.Context, e event.Event, d events.ApprovalDelivered) ([]event.Event, error) {
	return h.one(ctx, e, d.RequestID, approval.Delivered{ApprovalDelivered: d})
}

func (h *handler) undeliverable(ctx context.Context, e event.Event, u events.ApprovalUndeliverable) ([]event.Event, error) {
	return h.one(ctx, e, u.RequestID, approval.Undeliverable{ApprovalUndeliverable: u})
}

// runFinished withdraws the run's open requests.
func (h *handler) runFinished(ctx context.Context, e event.Event, r events.RunFinished) ([]event.Event, error) {
	return h.step(ctx, e, ofRun(r.RunID), func(ctx context.Context, s *step) error {
		open, err := s.tx.OpenTickets(ctx, r.RunID)
		if err != nil {
			return err
		}
		for _, t := range open {
			if err := s.decide(ctx, t, approval.RunOver{RunFinished: r}); err != nil {
				return err
			}
		}
		return nil
	})
}

// ofRun names the lock for all requests of a run.
func ofRun(id string) string { return "approvals/" + id }

// one gives one request an input: load, decide, save.
func (h *handler) one(ctx context.Context, e event.Event, id string, in approval.Input) ([]event.Event, error) {
	return h.step(ctx, e, "approval/"+id, func(ctx context.Context, s *step) error {
		t, err := s.tx.Ticket(ctx, id)
		if err != nil {
			return err
		}
		return s.decide(ctx, t, in)
	})
}

// A step handles one event, which may be about several requests.
type step struct {
	tx  *store.Tx
	out events.Decision
	was []approval.Ticket // before and after, for the metrics
	is  []approval.Ticket
}

// step handles one event in one transaction.
func (h *handler) step(ctx context.Context, e event.Event, lock string, do func(context.Context, *step) error) ([]event.Event, error) {
	var s *step
	emitted, err := h.db.Step(ctx, e, lock, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		s = &step{tx: tx} // a new one for each try
		err := do(ctx, s)
		return s.out, err
	})
	if err == nil && s != nil {
		s.measure(ctx)
	}
	return emitted, err
}

// decide gives a request an input and saves the result.
func (s *step) decide(ctx context.Context, t approval.Ticket, in approval.Input) error {
	next, d, err := approval.Decide(t, in, s.tx.Now())
	if err != nil {
		return err
	}
	s.out.Emit = append(s.out.Emit, d.Emit...)
	s.out.Audit = append(s.out.Audit, d.Audit...)
	s.was, s.is = append(s.was, t), append(s.is, next)
	return s.tx.SaveTicket(ctx, next)
}
