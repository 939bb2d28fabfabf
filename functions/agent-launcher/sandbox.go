package main

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

// agents are what has the agent's name in a namespace: a Job and, where agent-sandbox is set up, a Sandbox in the form
// of a Job. There may be both, if the project's setting changed between two runs of an issue.
func (h *handler) agents(ctx context.Context, namespace string) ([]*batchv1.Job, error) {
	var all []*batchv1.Job
	job, err := kube.Get[batchv1.Job](ctx, h.cluster, gvr.Jobs, namespace, agentpod.JobName)
	if err != nil {
		return nil, err
	}
	if job != nil {
		all = append(all, job)
	}
	sandbox, err := h.sandbox(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if sandbox != nil {
		all = append(all, sandbox)
	}
	return all, nil
}

// sandbox is nil if there is none, or no such resource in the cluster.
func (h *handler) sandbox(ctx context.Context, namespace string) (*batchv1.Job, error) {
	if h.platform.SandboxVersion == "" {
		return nil, nil
	}
	sandbox, err := kube.Get[agentpod.Sandbox](ctx, h.cluster, gvr.Sandboxes(h.platform.SandboxVersion), namespace, agentpod.JobName)
	if err != nil || sandbox == nil {
		return nil, err
	}
	return sandbox.AsJob(), nil
}

// resource is the one that a Job of agents really is.
func (h *handler) resource(job *batchv1.Job) schema.GroupVersionResource {
	if job.Kind == agentpod.SandboxKind {
		return gvr.Sandboxes(h.platform.SandboxVersion)
	}
	return gvr.Jobs
}

// sandboxRefused says what to do if the API server has no Sandboxes, or we may not create them.
func sandboxRefused(err error) error {
	// An API server has no words of its own for a resource that is not defined.
	unknown := apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
	if !unknown && (!apierrors.IsForbidden(err) || !kube.Refused(err) || agentpod.IsQuota(kube.Message(err))) {
		return err
	}
	return agentpod.RefusedSandbox(kube.Message(err))
}
