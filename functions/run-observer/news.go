package main

import (
	"encoding/json"
	"errors"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
)

// news is what Kubernetes told of: a Job, also for the pod of a Sandbox; or what it
// says over again, of which only the namespace counts.
type news struct {
	*batchv1.Job
	quiet bool   // the Job is at work, as far as it can tell
	about string // namespace of an Event
}

func newsIn(data []byte) (news, error) {
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err != nil {
		return news{}, err
	}
	switch kind.Kind {
	case "Event":
		var e corev1.Event
		err := json.Unmarshal(data, &e)
		if err == nil && e.Namespace == "" {
			err = errors.New("an Event without a namespace")
		}
		return news{about: e.Namespace}, err
	case "Pod":
		var pod corev1.Pod
		err := json.Unmarshal(data, &pod)
		job := sandboxOf(&pod)
		return news{Job: job, quiet: !agentpod.Ended(job) && !agentpod.Waits(&pod)}, err
	}
	var job batchv1.Job
	err := json.Unmarshal(data, &job)
	return news{Job: &job, quiet: agentpod.AtWork(&job)}, err
}
