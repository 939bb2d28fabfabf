package main

import (
	"context"
	"errors"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
)

type handler struct {
	db *store.DB
}

func (h *handler) routes(s *serve.Server) {
	for _, t := range stage.Hears() {
		s.OnType(t, h.heard)
	}
	serve.On(s, h.runRequested)
	serve.On(s, h.runFinished)
	serve.On(s, h.runWaiting)
	serve.On(s, h.runResumed)
}

// heard hears what happens to a work item, on GitHub or in the cluster.
func (h *handler) heard(ctx context.Context, e event.Event) ([]event.Event, error) {
	about, in, err := stage.Hear(e)
	if err != nil {
		return nil, err
	}
	home, err := h.db.Home(ctx, about)
	if err != nil {
		return nil, err
	}
	if home.Issue == 0 {
		in, home.Issue = stage.Stray(home.Repository.Process, in), about.Pull
	}
	if in == nil {
		return h.db.Receipt(ctx, e)
	}
	return h.decide(ctx, e, home, in)
}

// decide handles one input of a work item: load, decide, save.
func (h *handler) decide(ctx context.Context, e event.Event, home store.Home, in stage.Input) ([]event.Event, error) {
	var before, after *stage.Run
	emitted, err := h.db.Step(ctx, e, home.Key(), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		item, learnt, err := tx.Item(ctx, home, in.Needs(home.Repository.Key, home.Issue))
		if err != nil {
			return events.Decision{}, err
		}
		next, decision, err := stage.Decide(item, in, tx.Now())
		if err != nil {
			return events.Decision{}, err
		}
		decision.Audit = append(learnt, decision.Audit...)
		before, after = item.Run, next.Run
		if next.Project == nil && next.Run == nil {
			return decision, nil // what strangers write is not kept
		}
		return decision, tx.SaveItem(ctx, next, item)
	})
	if err == nil {
		measure(ctx, before, after)
	}
	return emitted, err
}

func (h *handler) runRequested(ctx context.Context, e event.Event, r events.RunRequested) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project, nil)
}

func (h *handler) runFinished(ctx context.Context, e event.Event, r events.RunFinished) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project, nil)
}

func (h *handler) runWaiting(ctx context.Context, e event.Event, r events.RunWaiting) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project, nil)
}

func (h *handler) runResumed(ctx context.Context, e event.Event, r events.RunResumed) ([]event.Event, error) {
	return h.admit(ctx, e, r.Project, r.Extended)
}

// admit gives the project's free places to its waiting runs: load, decide, save. What people have added to its budgets
// counts already.
func (h *handler) admit(ctx context.Context, e event.Event, project string, extended []events.BudgetExtension) ([]event.Event, error) {
	var admissions []stage.Admission
	emitted, err := h.db.Step(ctx, e, "project/"+project, func(ctx context.Context, tx *store.Tx) (d events.Decision, err error) {
		for _, x := range extended {
			if err := tx.Extend(ctx, project, x); err != nil {
				return d, err
			}
		}
		settings, places, err := tx.Places(ctx, project)
		if errors.Is(err, store.ErrNotFound) {
			return d, events.Reject("unknown_project", err)
		}
		if err != nil {
			return d, err
		}
		admissions = stage.Admit(settings, places, tx.Now())
		for _, a := range admissions {
			if err := tx.Admit(ctx, a); err != nil {
				return d, err
			}
			d.Emit = append(d.Emit, a.Emit...)
			d.Audit = append(d.Audit, a.Audit...)
		}
		return d, nil
	})
	if err == nil {
		measureAdmitted(ctx, admissions)
	}
	return emitted, err
}
