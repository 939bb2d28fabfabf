package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/events"
)

func TestCheckOfAStuckPod(t *testing.T) {
	f := setup(t)
	job := f.job()
	f.pod("agent-1", job.UID, corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "i/o timeout"},
	}}}})
	check := events.RunCheck{RunRef: ref, Namespace: namespace}
	f.expect("at once", f.deliver("1", check.EventType(), check), 202)
	f.objects.SetAhead(3 * time.Minute)
	f.expect("after three minutes", f.deliver("2", check.EventType(), check), 202,
		failed("image_pull", "The agent's image can't be pulled: i/o timeout. Check the platform's AGENT_IMAGE and the cluster's access to that registry."))
}

func TestCheckOfAPodThatIsNotAdmitted(t *testing.T) {
	f := setup(t)
	job := f.job()
	f.said("Job", job.UID, corev1.EventTypeWarning, "FailedCreate", "exceeded quota: run")
	f.objects.SetAhead(3 * time.Minute)
	check := events.RunCheck{RunRef: ref, Namespace: namespace}
	f.expect("check", f.deliver("1", check.EventType(), check), 202,
		failed("quota_exceeded", "There is no quota left for the agent's pod: exceeded quota: run. Wait for other runs to end, or raise the quota."))
}

func TestCheckOfAJobThatIsGone(t *testing.T) {
	f := setup(t)
	check := events.RunCheck{RunRef: ref, Namespace: namespace}
	f.expect("no Job", f.deliver("1", check.EventType(), check), 202, deleted)
	for state, want := range map[string][]events.Payload{"waiting": nil, "succeeded": nil, "starting": nil, "running": {deleted}} {
		t.Run(state, func(t *testing.T) {
			f := setup(t)
			f.run(state)
			f.expect("no Job", f.deliver("1", check.EventType(), check), 202, want...)
		})
	}
}
