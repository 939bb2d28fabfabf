package main

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
)

// An agent is a run's Job, or its Sandbox together with its form as a Job.
type agent struct {
	*batchv1.Job
	sandbox *agentpod.Sandbox // nil for a Job
}

func ofRun(runID string) func(agent) bool {
	return func(a agent) bool { return agentpod.BelongsTo(a, runID) }
}

// sandboxOf is the pod's Sandbox in the form of a Job. A pod that is being deleted says nothing about the Sandbox's
// end: another is made, unless the Sandbox is gone too.
func sandboxOf(pod *corev1.Pod) *batchv1.Job {
	job := &batchv1.Job{TypeMeta: metav1.TypeMeta{Kind: agentpod.SandboxKind}, ObjectMeta: pod.ObjectMeta}
	job.UID = ""
	if owner := metav1.GetControllerOf(pod); owner != nil {
		job.UID = owner.UID
	}
	end := map[corev1.PodPhase]batchv1.JobConditionType{corev1.PodSucceeded: batchv1.JobComplete, corev1.PodFailed: batchv1.JobFailed}[pod.Status.Phase]
	if end != "" && pod.DeletionTimestamp == nil {
		over := batchv1.JobCondition{Type: end, Status: corev1.ConditionTrue}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady {
				over.LastTransitionTime = c.LastTransitionTime
			}
		}
		job.Status.Conditions = []batchv1.JobCondition{over}
	}
	return job
}

// agents are the Job and the Sandbox in a run's namespace, if there are any.
func (h *handler) agents(ctx context.Context, namespace string) ([]agent, error) {
	var all []agent
	job, err := kube.Get[batchv1.Job](ctx, h.cluster, gvr.Jobs, namespace, agentpod.JobName)
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
