package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

// actFor bounds the calls for one event, below Knative's minute for a request.
const actFor = 45 * time.Second

const (
	// keepAway is after how long a namespace that expired while its run was at work is looked at again.
	keepAway = time.Hour
	// leavePatience is how long the Job of a finished run may take to end by itself.
	leavePatience = 10 * time.Minute
)

type handler struct {
	db       *store.DB
	cluster  *kube.Client
	platform agentpod.Platform
	key      []byte
	server   *serve.Server
}

func (h *handler) routes(s *serve.Server) {
	h.server = s
	serve.On(s, h.agentRequested)
	serve.On(s, h.agentStopRequested)
	serve.On(s, h.environmentExpired)
	serve.On(s, h.toolApproved)
}

// agentRequested starts the run's agent.
func (h *handler) agentRequested(ctx context.Context, e event.Event, r events.AgentRequested) ([]event.Event, error) {
	return h.once(ctx, e, r.RunRef, func(ctx context.Context) (events.Decision, error) {
		known, err := h.db.RunStatus(ctx, r.RunID)
		if err != nil {
			return events.Decision{}, err
		}
		// A stop may overtake the request to start, and a Job for a finished run would work for nobody.
		if !known.Finished.IsZero() {
			return skipped(r.RunRef, "agent.not_started", "run_is_over", "the run ended before its agent was started"), nil
		}
		err = h.launch(ctx, r)
		var refusal *agentpod.Refusal
		var delay *agentpod.Delay
		switch {
		case errors.As(err, &delay):
			return events.Decision{}, h.delayed(ctx, r, delay)
		case errors.Is(err, errLaterJob):
			return skipped(r.RunRef, "agent.not_started", "superseded", err.Error()), nil
		case errors.As(err, &refusal):
			return said(r.RunRef, refusal.Reason, events.AgentFailed{
				RunRef: r.RunRef, Namespace: r.Namespace, Attempt: r.Attempt, Reason: refusal.Reason, Message: refusal.Message,
			}), nil
		case err != nil:
			return events.Decision{}, err
		}
		return said(r.RunRef, "", events.AgentStarted{RunRef: r.RunRef, Namespace: r.Namespace, Job: agentpod.JobName, Attempt: r.Attempt}), nil
	})
}

// delayed says why the agent does not start yet, as long as that lasts, and asks for the request to come again.
func (h *handler) delayed(ctx context.Context, r events.AgentRequested, why *agentpod.Delay) error {
	// The request itself is not handled yet, so the event's cause is what it says.
	told := store.Cause{Source: events.Source("agent-launcher"), ID: events.DeriveID(r.RunID, strconv.Itoa(r.Attempt), why.Reason, why.Message)}
	emitted, err := h.db.Emit(ctx, told, r.Correlation(), func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: []events.Draft{events.Now(events.AgentDelayed{
			RunRef: r.RunRef, Namespace: r.Namespace, Attempt: r.Attempt, Reason: why.Reason, Message: why.Message,
		})}}, nil
	})
	if err == nil {
		err = h.server.Send(ctx, emitted...)
	}
	if err != nil {
		return err
	}
	return h.soon("%s", why.Message)
}

// agentStopRequested stops the run's Job.
func (h *handler) agentStopRequested(ctx context.Context, e event.Event, r events.AgentStopRequested) ([]event.Event, error) {
	return h.once(ctx, e, r.RunRef, func(ctx context.Context) (events.Decision, error) {
		jobs, err := h.agents(ctx, r.Namespace)
		if err != nil {
			return events.Decision{}, err
		}
		own := slices.IndexFunc(jobs, func(j *batchv1.Job) bool { return agentpod.BelongsTo(j, r.RunID) && j.DeletionTimestamp == nil })
		if own < 0 {
			return skipped(r.RunRef, "agent.not_stopped", "job_gone", "the run has no Job any more"), nil
		}
		job := jobs[own]
		if agentpod.Attempt(job) > r.Attempt {
			return skipped(r.RunRef, "agent.not_stopped", "superseded", "the run has its next Job by now"), nil
		}
		if agentpod.Ended(job) {
			return skipped(r.RunRef, "agent.not_stopped", "job_ended", "the run's Job had ended; it stays for people to look at"), nil
		}
		if err := h.stop(ctx, job, r.Reason); err != nil {
			return events.Decision{}, err
		}
		return events.Decision{Audit: []events.Record{{
			Actor: actor, Action: "agent.stopped", Run: r.RunID, Reason: r.Reason, Detail: "Job in namespace " + r.Namespace,
		}}}, nil
	})
}

// environmentExpired removes the run's namespace, if nothing speaks against it, and the database that goes with it.
func (h *handler) environmentExpired(ctx context.Context, e event.Event, r events.EnvironmentExpired) ([]event.Event, error) {
	return h.once(ctx, e, r.RunRef, func(ctx context.Context) (events.Decision, error) {
		active, err := h.db.BesideActive(ctx, r.RunID)
		if err != nil {
			return events.Decision{}, err
		}
		kept, err := h.removeNamespace(ctx, r, active)
		if err != nil || kept != nil {
			return *cmp.Or(kept, &events.Decision{}), err
		}
		gone := said(r.RunRef, "", events.EnvironmentRemoved(r))
		if active {
			return gone, nil
		}
		err = h.dropDatabase(ctx, r.Namespace)
		var refusal *agentpod.Refusal
		if errors.As(err, &refusal) {
			left := skipped(r.RunRef, "database.left", refusal.Reason, refusal.Message)
			gone.Audit, err = append(gone.Audit, left.Audit...), nil
		}
		return gone, err
	})
}

// removeNamespace deletes an expired namespace, or says why it is kept: a run of the issue may be active in it.
func (h *handler) removeNamespace(ctx context.Context, r events.EnvironmentExpired, active bool) (kept *events.Decision, err error) {
	ns, err := kube.Get[corev1.Namespace](ctx, h.cluster, gvr.Namespaces, "", r.Namespace)
	if err != nil || ns == nil || ns.DeletionTimestamp != nil {
		return nil, err
	}
	jobs, err := kube.List[batchv1.Job](ctx, h.cluster, gvr.Jobs, r.Namespace, "")
	if err != nil {
		return nil, err
	}
	sandbox, err := h.sandbox(ctx, r.Namespace)
	if err != nil {
		return nil, err
	}
	if sandbox != nil {
		jobs = append(jobs, *sandbox)
	}
	var refusal *agentpod.Refusal
	if errors.As(agentpod.Removable(ns, jobs, h.db.Now()), &refusal) {
		if refusal.Reason == "active_run" {
			if err := h.awaitEnd(ctx, jobs); err != nil {
				return nil, err
			}
		}
		kept := skipped(r.RunRef, "environment.kept", refusal.Reason, refusal.Message)
		// Nobody else will ask again.
		switch expires, _ := agentpod.Expiry(ns); {
		case refusal.Reason == "active_run":
			kept.Emit = []events.Draft{events.At(h.db.Now().Add(keepAway), r)}
		case refusal.Reason == "not_expired" && agentpod.BelongsTo(ns, r.RunID):
			// The time was set for a run that uses all its time; this one ended sooner.
			// A later run that renewed the lease has a timer of its own.
			kept.Emit = []events.Draft{events.At(expires, r)}
		}
		return &kept, nil
	}
	// The lease is as long as the run's work may take; how long it waits for people nobody knew. At its end it has a
	// timer of its own.
	if active {
		kept := skipped(r.RunRef, "environment.kept", "active_run", "a run of the issue goes on in it, or waits")
		return &kept, nil
	}
	// This fails if its lease was renewed since it was read.
	return nil, h.cluster.DeleteUnchanged(ctx, gvr.Namespaces, ns, metav1.DeletePropagationBackground)
}

const actor = "function:agent-launcher"

// once acts unless this event was handled before, and records the result. What Kubernetes refuses for good is rejected,
// unless act has an answer to it.
func (h *handler) once(ctx context.Context, e event.Event, run events.RunRef, act func(context.Context) (events.Decision, error)) ([]event.Event, error) {
	if _, err := uuid.Parse(run.RunID); err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: run id %q is not a UUID", e.ID(), run.RunID))
	}
	return h.db.Act(ctx, e, run.Correlation(), func(ctx context.Context) (events.Decision, error) {
		ctx, cancel := context.WithTimeout(ctx, actFor)
		defer cancel()
		d, err := act(ctx)
		return d, kube.Classify(err, h.db.Now())
	})
}

// awaitEnd looks at the Jobs that keep an expired namespace. Those of finished runs keep it for a moment only, because
// an agent exits after its report: then the error says to come back soon. One that stays is stopped.
func (h *handler) awaitEnd(ctx context.Context, jobs []batchv1.Job) error {
	var late error
	for i := range jobs {
		job := &jobs[i]
		run, ours := agentpod.RunOf(job)
		if agentpod.Ended(job) || job.DeletionTimestamp != nil {
			continue
		}
		known, err := h.db.RunStatus(ctx, run.RunID)
		if err != nil || !ours || known.Finished.IsZero() {
			return err // it is at work, as far as we know
		}
		if h.db.Now().Sub(known.Finished) > leavePatience {
			if err := h.stop(ctx, job, "run_is_over"); err != nil {
				return err
			}
		}
		late = h.soon("run %s is over, and its Job in namespace %s has not ended yet", run.RunID, job.Namespace)
	}
	return late
}

// said is the decision to emit p, with the audit's line about it.
func said(run events.RunRef, cause string, p events.Payload) events.Decision {
	detail := ""
	if f, ok := p.(events.AgentFailed); ok {
		detail = f.Message
	}
	return events.Decision{
		Emit:  []events.Draft{events.Now(p)},
		Audit: []events.Record{{Actor: actor, Action: p.EventType()[len(events.Prefix):], Run: run.RunID, Reason: cause, Detail: detail}},
	}
}

// skipped is the decision to do nothing, with the reason.
func skipped(run events.RunRef, action, cause, detail string) events.Decision {
	return events.Decision{Audit: []events.Record{{Actor: actor, Action: action, Run: run.RunID, Reason: cause, Detail: detail}}}
}
