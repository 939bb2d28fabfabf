package main

import (
	"context"
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
)

// An agent is a run's Job, or its Sandbox together with the Job that it comes to.
type agent struct {
	*batchv1.Job
	sandbox *agentpod.Sandbox // nil for a Job
}

func ofRun(runID string) func(agent) bool {
	return func(a agent) bool { return agentpod.BelongsTo(a, runID) }
}

// jobIn is the Job that Kubernetes told of, or what the Sandbox comes to.
func jobIn(data []byte) (*batchv1.Job, error) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, err
	}
	if kind.Kind == agentpod.SandboxKind {
		var sandbox agentpod.Sandbox
		if err := json.Unmarshal(data, &sandbox); err != nil {
			return nil, err
		}
		return sandbox.AsJob(), nil
	}
	var job batchv1.Job
	if err := json.Unmarshal(data, &job); err != nil {
		return nil, err
	}
	return &job, nil
}

// agents are the Job and the Sandbox in a run's namespace, as far as there are any.
func (h *handler) agents(ctx context.Context, namespace string) ([]agent, error) {
	var all []agent
	job, err := kube.Get[batchv1.Job](ctx, h.cluster, agentpod.Jobs, namespace, agentpod.JobName)
	if err != nil {
		return nil, err
	}
	if job != nil {
		all = append(all, agent{Job: job})
	}
	if h.sandboxes.Empty() {
		return all, nil
	}
	sandbox, err := kube.Get[agentpod.Sandbox](ctx, h.cluster, h.sandboxes, namespace, agentpod.JobName)
	if err != nil {
		return nil, err
	}
	if sandbox != nil {
		all = append(all, agent{sandbox.AsJob(), sandbox})
	}
	return all, nil
}
