package main

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

// watchFor is how long a starting pod is watched: less than Knative keeps a function after its last request. The next
// check finds what takes longer.
const watchFor = 45 * time.Second

// watch follows the pods of a starting Job, after the answer, until something runs in them: the Job does not show an
// image that can't be pulled or a container that can't be created. A source for pods would report each step of every
// good start too, and one for Kubernetes' events can't select the bad ones.
func (h *handler) watch(ctx context.Context, job agent) {
	if _, busy := h.starting.LoadOrStore(job.UID, true); busy || job.sandbox != nil {
		return // the source reports a Sandbox's pods
	}
	h.server.Go(ctx, func(ctx context.Context) {
		defer h.starting.Delete(job.UID)
		ctx, cancel := context.WithTimeout(ctx, watchFor)
		defer cancel()
		defer context.AfterFunc(h.life, cancel)()
		err := kube.Watch(ctx, h.cluster, gvr.Pods, job.Namespace, agentpod.LabelRun+"="+job.Labels[agentpod.LabelRun], func(pod *corev1.Pod) bool {
			if pod.Status.Phase != corev1.PodPending {
				return false // the Job shows the rest
			}
			if !agentpod.Waits(pod) {
				return true
			}
			emitted, err := h.lookAt(ctx, job)
			if err == nil {
				err = h.server.Send(ctx, emitted...)
			}
			if err != nil {
				slog.Warn("looking at a pod that waits; the next check does", "namespace", job.Namespace, "error", err)
			}
			return len(emitted) == 0
		})
		if err != nil && ctx.Err() == nil {
			slog.Warn("watching a pod that starts; the next check looks at it", "namespace", job.Namespace, "error", err)
		}
	})
}
