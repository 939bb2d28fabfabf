package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

// lostFor is how old an end may be that a source lost while it rolled over: its next adapter waits 15 seconds for the
// former one's lease, and has to be pulled and started.
const lostFor = 3 * time.Minute

// relief is how long the function stands in for the source.
type relief struct {
	sync.Mutex
	ends *time.Timer // nil before the first time
}

// standIn watches the Jobs of all runs for a moment, after the answer, in place of the ApiServerSource: a namespace
// that is created or removed makes that roll over, and its next adapter does not report what it finds. Another run may
// end in that time. What both report is one event.
func (h *handler) standIn() {
	h.relief.Lock()
	defer h.relief.Unlock()
	if h.relief.ends != nil && h.relief.ends.Reset(watchFor) {
		return // it is running already, and continues
	}
	ctx, cancel := context.WithCancel(h.life)
	ends := time.AfterFunc(watchFor, cancel)
	h.relief.ends = ends
	h.server.Go(ctx, func(context.Context) {
		defer cancel()
		defer ends.Stop()
		g, watching := errgroup.WithContext(ctx)
		g.Go(func() error {
			return kube.Watch(watching, h.cluster, gvr.Jobs, "", agentpod.LabelManagedBy+"="+agentpod.ManagedBy, func(job *batchv1.Job) bool {
				return h.overhear(ctx, job)
			})
		})
		if !h.sandboxes.Empty() {
			g.Go(func() error {
				return kube.Watch(watching, h.cluster, gvr.Pods, "", agentpod.LabelSandbox+"="+agentpod.AgentSandbox, func(pod *corev1.Pod) bool {
					return h.overhear(ctx, sandboxOf(pod))
				})
			})
		}
		if err := g.Wait(); err != nil && ctx.Err() == nil {
			slog.Warn("watching the Jobs of all runs; what the source misses is found by checks", "error", err)
		}
	})
}

// overhear reports how a Job ended, if the source may have missed it.
func (h *handler) overhear(ctx context.Context, job *batchv1.Job) (more bool) {
	run, ours := agentpod.RunOf(job)
	if !ours || !h.mayBeLost(job) {
		return true
	}
	emitted, err := h.look(ctx, run, job)
	if err == nil {
		err = h.server.Send(ctx, emitted...)
	}
	if err != nil && ctx.Err() == nil {
		slog.Warn("looking at a Job of another run; the next check does", "namespace", job.Namespace, "error", err)
	}
	return true
}

// mayBeLost reports whether a Job shows something that the source may have lost. A starting Job is looked at anyway.
func (h *handler) mayBeLost(job *batchv1.Job) bool {
	now := h.cluster.Now()
	if agentpod.Ended(job) {
		return now.Sub(agentpod.EndedAt(job)) < lostFor
	}
	return !agentpod.AtWork(job) && now.Sub(job.CreationTimestamp.Time) > refusedPatience
}

// environmentRemoved hears that a namespace is removed.
func (h *handler) environmentRemoved(ctx context.Context, e event.Event, r events.EnvironmentRemoved) ([]event.Event, error) {
	return h.recorded(ctx, e, r.RunRef, func(context.Context) ([]event.Event, error) {
		h.standIn()
		return nil, nil
	})
}
