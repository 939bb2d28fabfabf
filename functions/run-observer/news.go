package main

import (
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
)

// newsIn is the Job that Kubernetes reported, or the pod's Sandbox in the form of one; quiet if it is at work, as far
// as it shows.
func newsIn(data []byte) (job *batchv1.Job, quiet bool, err error) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, false, err
	}
	if kind.Kind == "Pod" {
		var pod corev1.Pod
		err := json.Unmarshal(data, &pod)
		job := sandboxOf(&pod)
		return job, !agentpod.Ended(job) && !agentpod.Waits(&pod), err
	}
	job = new(batchv1.Job)
	err = json.Unmarshal(data, job)
	return job, agentpod.AtWork(job), err
}
