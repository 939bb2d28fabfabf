package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/runtoken"
)

// errLaterJob says that the run's agent was started again since, so this request is out of date.
var errLaterJob = errors.New("a later agent of this run exists already")

// tryAgain is when to come back for something that is being removed.
const tryAgain = 5 * time.Second

// launch creates the run's objects. A *agentpod.Refusal says that Kubernetes will never accept them, errLaterJob that
// they are no longer wanted; any other error is temporary, and people are told about a *agentpod.Delay.
func (h *handler) launch(ctx context.Context, r events.AgentRequested) error {
	token, err := runtoken.Mint(h.key, runtoken.Claims{
		RunID:          r.RunID,
		Namespace:      r.Namespace,
		ServiceAccount: agentpod.JobName,
		// Past the deadline the pod still has its grace period, to save its session.
		Expires: r.Deadline.Add(h.platform.Grace),
	})
	if err != nil {
		return &agentpod.Refusal{Reason: reason.InvalidRequest, Message: err.Error()}
	}
	o, err := agentpod.Build(r, h.platform, token, h.db.Now())
	if err != nil {
		return err
	}
	err = h.cluster.Create(ctx, o.Namespace.Resource, o.Namespace.Value)
	if apierrors.IsAlreadyExists(err) {
		var ns *corev1.Namespace
		if ns, err = h.reusable(ctx, r); err == nil {
			err = h.clearName(ctx, r)
		}
		if err == nil {
			err = h.renewLease(ctx, ns, o)
		}
	}
	if err == nil {
		err = h.furnish(ctx, o)
	}
	if err == nil {
		err = h.remake(ctx, r)
	}
	if err == nil {
		err = h.serve(ctx, o)
	}
	if err == nil {
		err = h.start(ctx, r, o)
	}
	if errors.Is(err, errJobExists) {
		return nil
	}
	return refusalOf(err)
}

// errJobExists says that the run's Job exists already, so nothing is left to do.
var errJobExists = errors.New("the run's Job exists")

// reusable reads the run's namespace, if the run may have it: it is left over from this event's first delivery, or from
// the previous run.
func (h *handler) reusable(ctx context.Context, r events.AgentRequested) (*corev1.Namespace, error) {
	ns, err := kube.Get[corev1.Namespace](ctx, h.cluster, gvr.Namespaces, "", r.Namespace)
	if err != nil {
		return nil, err
	}
	if ns == nil || ns.DeletionTimestamp != nil {
		if ns != nil {
			if err := agentpod.Departing(ns, h.cluster.Now()); err != nil {
				return nil, err
			}
		}
		return nil, h.soon("namespace %s is being removed", r.Namespace)
	}
	if err := agentpod.Reusable(ns, r); err != nil {
		return nil, err
	}
	if agentpod.BelongsTo(ns, r.RunID) && agentpod.Attempt(ns) > r.Attempt {
		return nil, errLaterJob
	}
	return ns, nil
}

// renewLease makes an existing namespace the run's, and its time begins again.
func (h *handler) renewLease(ctx context.Context, ns *corev1.Namespace, o agentpod.Objects) error {
	before := ns.DeepCopy()
	maps.Copy(ns.Labels, o.Namespace.Value.GetLabels())
	maps.Copy(ns.Annotations, o.Namespace.Value.GetAnnotations())
	if maps.Equal(before.Labels, ns.Labels) && maps.Equal(before.Annotations, ns.Annotations) {
		return nil
	}
	return h.cluster.Update(ctx, gvr.Namespaces, ns)
}

// clearName makes room for the Job by removing one that has ended. errJobExists if it is the requested one.
func (h *handler) clearName(ctx context.Context, r events.AgentRequested) error {
	jobs, err := h.agents(ctx, r.Namespace)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		fate, err := agentpod.FateOf(job, r)
		if err != nil {
			return err
		}
		switch fate {
		case agentpod.Keep:
			return errJobExists
		case agentpod.Late:
			return errLaterJob
		case agentpod.Stop:
			if err := h.stop(ctx, job, "superseded"); err != nil {
				return err
			}
			return h.soon("the former Job in namespace %s still ran and was told to stop", r.Namespace)
		case agentpod.Leaving:
			if err := agentpod.Lingering(job, h.platform.Grace, h.cluster.Now()); err != nil {
				return err
			}
			return h.soon("the former Job in namespace %s is being stopped", r.Namespace)
		}
		if job.Kind == agentpod.SandboxKind {
			// Its pod has the name of the next one's.
			if err := h.cluster.Delete(ctx, h.resource(job), job, metav1.DeletePropagationForeground); err != nil {
				return err
			}
			return h.soon("the former Sandbox in namespace %s is being removed", r.Namespace)
		}
		// Its pods have ended; Kubernetes collects them by itself.
		if err := h.cluster.Delete(ctx, gvr.Jobs, job, metav1.DeletePropagationBackground); err != nil {
			return err
		}
	}
	return nil
}

// stop deletes a Job, which ends its pod with the grace period that the agent needs to save its session.
func (h *handler) stop(ctx context.Context, job *batchv1.Job, cause string) error {
	// The mark tells run-observer that the deletion is ours.
	if err := h.cluster.Annotate(ctx, h.resource(job), job, agentpod.AnnotationStopped, cause); err != nil {
		return err
	}
	// In the foreground the Job stays until its pod is gone: the next Job can't start while a pod is still
	// saving.
	return h.cluster.Delete(ctx, h.resource(job), job, metav1.DeletePropagationForeground)
}

// furnish puts everything but the Job into the namespace, in parallel. The namespace is ours, so existing objects are
// ours too and are overwritten: they may hold the token and the limits of an earlier run.
//
// A RoleBinding waits for its Role: whoever binds a Role must hold its rights, so the API server reads the Role.
func (h *handler) furnish(ctx context.Context, o agentpod.Objects) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, object := range o.Support {
		if object.Resource == gvr.RoleBindings {
			continue
		}
		g.Go(func() error {
			err := h.put(ctx, object)
			if err != nil || object.Resource != gvr.Roles {
				return err
			}
			for _, binding := range o.Support {
				if binding.Resource == gvr.RoleBindings {
					err = errors.Join(err, h.put(ctx, binding))
				}
			}
			return err
		})
	}
	return g.Wait()
}

func (h *handler) put(ctx context.Context, o agentpod.Object) error {
	err := h.cluster.Create(ctx, o.Resource, o.Value)
	if apierrors.IsAlreadyExists(err) {
		return h.cluster.Update(ctx, o.Resource, o.Value)
	}
	return err
}

// start creates the Job. Another instance may have been faster, on the same event.
func (h *handler) start(ctx context.Context, r events.AgentRequested, o agentpod.Objects) error {
	err := h.cluster.Create(ctx, o.Job.Resource, o.Job.Value)
	if r.Sandbox != "" {
		err = sandboxRefused(err)
	}
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := h.clearName(ctx, r); err != nil {
		return err
	}
	return h.soon("the former Job in namespace %s was still there", r.Namespace)
}

func (h *handler) soon(format string, args ...any) error {
	return events.RetryAt(h.db.Now().Add(tryAgain), fmt.Errorf(format, args...))
}

// refusalOf turns what the API server will never accept into a refusal that a
// person can act on; any other error stays as it is.
func refusalOf(err error) error {
	if err == nil || !kube.Refused(err) {
		return err
	}
	return agentpod.RefusedObject(kube.Message(err))
}
