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
	found, ended, err := h.enter(ctx, r, o)
	if err == nil {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return h.renewLease(ctx, found, o) })
		g.Go(func() error { return h.remove(ctx, ended) })
		g.Go(func() error { return h.furnish(ctx, o, found != nil) })
		g.Go(func() error { return h.remakeDatabase(ctx, r) })
		g.Go(func() error { return h.remakeSecrets(ctx, r) })
		err = g.Wait()
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

// enter makes the run's namespace. Or it finds the one that is left over from this event's first delivery, from the
// run's former Job or from the previous run; then it returns that, and what has ended in it.
func (h *handler) enter(ctx context.Context, r events.AgentRequested, o agentpod.Objects) (found *corev1.Namespace, ended []*batchv1.Job, err error) {
	// A run's next Job has a namespace, as a rule: then it is looked for first.
	create := func() error { return h.cluster.Create(ctx, o.Namespace.Resource, o.Namespace.Value) }
	if r.Attempt == 0 {
		if err := create(); !apierrors.IsAlreadyExists(err) {
			return nil, nil, err
		}
	}
	var jobs []*batchv1.Job
	g, reading := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		found, err = kube.Get[corev1.Namespace](reading, h.cluster, gvr.Namespaces, "", r.Namespace)
		return err
	})
	g.Go(func() (err error) {
		jobs, err = h.agents(reading, r.Namespace)
		return err
	})
	err = g.Wait()
	switch {
	case err != nil:
		return nil, nil, err
	case found == nil && r.Attempt > 0:
		return nil, nil, create()
	}
	if err := h.reusable(found, r); err != nil {
		return nil, nil, err
	}
	ended, err = h.judge(ctx, r, jobs)
	return found, ended, err
}

// reusable says why the run may not have the namespace, or not yet.
func (h *handler) reusable(ns *corev1.Namespace, r events.AgentRequested) error {
	if ns == nil || ns.DeletionTimestamp != nil {
		if ns != nil {
			if err := agentpod.Departing(ns, h.cluster.Now()); err != nil {
				return err
			}
		}
		return h.soon("namespace %s is being removed", r.Namespace)
	}
	if err := agentpod.Reusable(ns, r); err != nil {
		return err
	}
	if agentpod.BelongsTo(ns, r.RunID) && agentpod.Attempt(ns) > r.Attempt {
		return errLaterJob
	}
	return nil
}

// renewLease makes a namespace that was found the run's, and its time begins again.
func (h *handler) renewLease(ctx context.Context, found *corev1.Namespace, o agentpod.Objects) error {
	if found == nil {
		return nil
	}
	ns := found.DeepCopy()
	maps.Copy(ns.Labels, o.Namespace.Value.GetLabels())
	maps.Copy(ns.Annotations, o.Namespace.Value.GetAnnotations())
	if maps.Equal(found.Labels, ns.Labels) && maps.Equal(found.Annotations, ns.Annotations) {
		return nil
	}
	return h.cluster.Update(ctx, gvr.Namespaces, ns)
}

// judge returns those Jobs that have ended, so that they make room for the run's. errJobExists if one is the run's.
func (h *handler) judge(ctx context.Context, r events.AgentRequested, jobs []*batchv1.Job) (ended []*batchv1.Job, err error) {
	for _, job := range jobs {
		fate, err := agentpod.FateOf(job, r)
		if err != nil {
			return nil, err
		}
		switch fate {
		case agentpod.Keep:
			return nil, errJobExists
		case agentpod.Late:
			return nil, errLaterJob
		case agentpod.Stop:
			if err := h.stop(ctx, job, "superseded"); err != nil {
				return nil, err
			}
			return nil, h.soon("the former Job in namespace %s still ran and was told to stop", r.Namespace)
		case agentpod.Leaving:
			if err := agentpod.Lingering(job, h.platform.Grace, h.cluster.Now()); err != nil {
				return nil, err
			}
			return nil, h.soon("the former Job in namespace %s is being stopped", r.Namespace)
		}
		ended = append(ended, job)
	}
	return ended, nil
}

// remove deletes Jobs that have ended.
func (h *handler) remove(ctx context.Context, ended []*batchv1.Job) error {
	for _, job := range ended {
		if job.Kind == agentpod.SandboxKind {
			// Its pod has the name of the next one's.
			if err := h.cluster.Delete(ctx, h.resource(job), job, metav1.DeletePropagationForeground); err != nil {
				return err
			}
			return h.soon("the former Sandbox in namespace %s is being removed", job.Namespace)
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
// ours too and are overwritten, whoever changed them: they may hold the token and the limits of an earlier run. In a
// namespace that was found they exist, as a rule.
//
// A RoleBinding waits for its Role: whoever binds a Role must hold its rights, so the API server reads the Role.
func (h *handler) furnish(ctx context.Context, o agentpod.Objects, found bool) error {
	write := h.put
	if found {
		write = h.overwrite
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, object := range o.Support {
		if object.Resource == gvr.RoleBindings {
			continue
		}
		g.Go(func() error {
			err := write(ctx, object)
			if err != nil || object.Resource != gvr.Roles {
				return err
			}
			for _, binding := range o.Support {
				if binding.Resource == gvr.RoleBindings {
					err = errors.Join(err, write(ctx, binding))
				}
			}
			return err
		})
	}
	return g.Wait()
}

// put creates an object, or overwrites the one that is there.
func (h *handler) put(ctx context.Context, o agentpod.Object) error {
	err := h.cluster.Create(ctx, o.Resource, o.Value)
	if apierrors.IsAlreadyExists(err) {
		return h.cluster.Update(ctx, o.Resource, o.Value)
	}
	return err
}

// overwrite is put where the object is likely to be there.
func (h *handler) overwrite(ctx context.Context, o agentpod.Object) error {
	err := h.cluster.Update(ctx, o.Resource, o.Value)
	if apierrors.IsNotFound(err) {
		return h.put(ctx, o)
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
	jobs, err := h.agents(ctx, r.Namespace)
	if err != nil {
		return err
	}
	ended, err := h.judge(ctx, r, jobs)
	if err == nil {
		err = h.remove(ctx, ended)
	}
	if err != nil {
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
