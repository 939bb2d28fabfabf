package main

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/shared/events"
	fakekube "codexk8s.dev/test/local/kube"
)

// begun gives the Job the status of one whose controller has begun, with so many pods that are there, and ready.
func (f *fixture) begun(job *batchv1.Job, active, ready int32) *batchv1.Job {
	f.Helper()
	job = job.DeepCopy()
	now := metav1.Now()
	job.ResourceVersion, job.Status = "", batchv1.JobStatus{StartTime: &now, Active: active, Ready: &ready}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.objects.Update(fakekube.Jobs, &unstructured.Unstructured{Object: m}, true); err != nil {
		f.Fatal(err)
	}
	return job
}

// waits is a pod that waits for its image.
func waits(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
	}}}}
}

// A pod that is refused shows in its Job: the controller has begun, and there is none. What it said of that may come a
// moment later.
func TestARefusedPodIsToldAtOnce(t *testing.T) {
	f := setup(t)
	f.run("starting")
	job := f.job()
	f.expect("created", f.deliver("1", events.TypeResourceAdded, job), 202)
	job = f.begun(job, 0, 0)
	f.expect("begun", f.deliver("2", events.TypeResourceUpdated, job), 503)
	const quota = `Error creating: pods "agent-x" is forbidden: exceeded quota: run`
	f.said("Job", job.UID, corev1.EventTypeWarning, "FailedCreate", quota)
	want := failed("quota_exceeded", "There is no quota left for the agent's pod: "+quota+". Wait for other runs to end, or raise the quota.")
	f.expect("begun, and said", f.deliver("2", events.TypeResourceUpdated, job), 202, want)
}

// Kubernetes' source is rolled over when a namespace comes, just before the run's Job does, and says nothing of it.
func TestAJobThatStartsIsLookedAt(t *testing.T) {
	f := setup(t)
	f.run("starting")
	started := events.AgentStarted{RunRef: ref, Namespace: namespace, Job: "agent"}
	f.expect("its Job is gone", f.deliver("0", started.EventType(), started), 202)
	job := f.job()
	f.expect("its controller has not begun", f.deliver("1", started.EventType(), started), 503)
	job = f.begun(job, 0, 0)
	f.said("Job", job.UID, corev1.EventTypeWarning, "FailedCreate", `Error creating: pods "agent-x" is forbidden: exceeded quota: run`)
	f.expect("its pod is refused", f.deliver("1", started.EventType(), started), 202,
		failed("quota_exceeded", `There is no quota left for the agent's pod: Error creating: pods "agent-x" is forbidden: exceeded quota: run. Wait for other runs to end, or raise the quota.`))

	f = setup(t)
	f.run("starting")
	job = f.begun(f.job(), 1, 0)
	f.pod("agent-1", job.UID, waits("ContainerCreating", ""))
	f.expect("its pod starts", f.deliver("1", started.EventType(), started), 202)
	if _, watched := f.h.starting.Load(job.UID); !watched {
		t.Error("a pod that starts is not watched")
	}
}

// A pod that starts is watched: its Job says nothing of an image that can't be pulled.
func TestAPodThatStartsIsWatched(t *testing.T) {
	f := setup(t)
	f.run("running")
	job := f.begun(f.job(), 1, 0)
	f.pod("agent-1", job.UID, waits("ContainerCreating", ""))
	f.expect("it starts", f.deliver("1", events.TypeResourceUpdated, job), 202)
	f.expect("told twice", f.deliver("2", events.TypeResourceUpdated, job), 202)
	f.becomes("agent-1", waits("ErrImagePull", "i/o timeout"))
	f.becomes("agent-1", waits("ImagePullBackOff", "manifest unknown"))
	for f.heard() == 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("nothing is told of the image")
		}
	}
	want := failed("image_pull", "The agent's image can't be pulled: manifest unknown. Check the platform's AGENT_IMAGE and the cluster's access to that registry.")
	f.expect("the registry has no such image", 0, 0, want)
}

// What starts well is watched until it runs, and nothing is told of it.
func TestAPodThatStartedIsWatchedNoMore(t *testing.T) {
	f := setup(t)
	f.run("running")
	job := f.begun(f.job(), 1, 0)
	f.pod("agent-1", job.UID, waits("ContainerCreating", ""))
	f.expect("it starts", f.deliver("1", events.TypeResourceUpdated, job), 202)
	f.becomes("agent-1", corev1.PodStatus{Phase: corev1.PodRunning})
	for watched := true; watched; time.Sleep(10 * time.Millisecond) {
		_, watched = f.h.starting.Load(job.UID)
	}
	f.expect("it runs", 0, 0)
}

// becomes gives a pod the status.
func (f *fixture) becomes(pod string, status corev1.PodStatus) {
	f.Helper()
	u, err := f.objects.Get(fakekube.Pods, namespace, pod)
	if err == nil {
		u.Object["status"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	}
	if err == nil {
		_, err = f.objects.Update(fakekube.Pods, u, true)
	}
	if err != nil {
		f.Fatal(err)
	}
}

// heard counts what was sent since the last look.
func (f *fixture) heard() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent)
}

// The agent has ended, and its pod goes on: the Job tells by being ready no more.
func TestASidecarRunsOn(t *testing.T) {
	for state, want := range map[int32]events.Payload{0: finished, 42: failed("precondition", "The agent can't do this run, and trying again would not help: no such branch")} {
		f := setup(t)
		f.run("succeeded") // it has reported
		job := f.job()
		status := terminated(state, "", "no such branch")
		status.Phase = corev1.PodRunning
		f.pod("agent-1", job.UID, status)
		f.expect("as it starts", f.deliver("1", events.TypeResourceUpdated, f.begun(job, 1, 0)), 202)
		f.expect("at work", f.deliver("2", events.TypeResourceUpdated, f.begun(job, 1, 1)), 202)
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: "istio-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
		if _, err := f.objects.Delete(fakekube.Pods, namespace, "agent-1", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
		f.pod("agent-2", job.UID, status)
		f.expect("ended", f.deliver("3", events.TypeResourceUpdated, f.begun(job, 1, 0)), 202,
			want, events.AgentStopRequested{RunRef: ref, Namespace: namespace, Reason: "agent_ended"})
	}
}

// Somebody's TTL removes Jobs that have ended before the news of their end is heard.
func TestAJobThatHadEndedIsRemoved(t *testing.T) {
	check := events.RunCheck{RunRef: ref, Namespace: namespace}
	lost := failed("agent_error", "The agent failed 1 times: BackoffLimitExceeded. The run's log has more, if the agent got as far as writing one.")
	for kind, want := range map[batchv1.JobConditionType]events.Payload{batchv1.JobComplete: finished, batchv1.JobFailed: lost} {
		f := setup(t)
		f.run("running")
		job := f.job(condition(kind, "BackoffLimitExceeded"))
		f.remove()
		f.expect("its deletion tells", f.deliver("1", events.TypeResourceDeleted, job), 202, want)
	}
	for reason, want := range map[string]events.Payload{"Completed": finished, "BackoffLimitExceeded": lost, "Killing": deleted} {
		f := setup(t)
		f.run("running")
		f.said("Job", "gone", corev1.EventTypeNormal, reason, "BackoffLimitExceeded")
		f.expect("its deletion was not heard of", f.deliver("1", check.EventType(), check), 202, want)
		f.sql.Do(`UPDATE runs SET started_at = $1`, time.Now().Add(time.Hour))
		f.expect("it was said of an earlier Job", f.deliver("2", check.EventType(), check), 202, deleted)
	}
}

// A pod's age is counted by the clock that stamped it, however far that is from ours.
func TestClocksDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{-5 * time.Minute, 5 * time.Minute, -400 * 24 * time.Hour} {
		f := setup(t)
		f.run("running")
		f.objects.SetAhead(ahead)
		job := f.job()
		f.pod("agent-1", job.UID, waits("ErrImagePull", "i/o timeout"))
		check := events.RunCheck{RunRef: ref, Namespace: namespace}
		f.expect("a new pod", f.deliver("1", check.EventType(), check), 202)
		f.objects.SetAhead(ahead + 3*time.Minute)
		f.expect("after three minutes", f.deliver("2", check.EventType(), check), 202,
			failed("image_pull", "The agent's image can't be pulled: i/o timeout. Check the platform's AGENT_IMAGE and the cluster's access to that registry."))
	}
}
