package main

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/shared/events"
	fakekube "codexk8s.dev/test/local/kube"
)

// of another run, whose namespace has the source rolled over.
var (
	other      = events.RunRef{RunID: "11111111-3b57-4c0e-9d6a-52b0c1f4a9e8", Project: "acme", Repository: "Acme/Shop", Issue: 13}
	otherPlace = "codexk8s-run-111111113b57"
	another    = events.AgentStarted{RunRef: other, Namespace: otherPlace, Job: "agent"}
)

func (f *fixture) ends(job *batchv1.Job, ago time.Duration) {
	f.Helper()
	u, err := f.objects.Get(fakekube.Jobs, namespace, job.Name)
	if err == nil {
		end := condition(batchv1.JobComplete, "CompletionsReached")
		end.LastTransitionTime = metav1.NewTime(time.Now().Add(-ago))
		u.Object["status"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&batchv1.JobStatus{Conditions: []batchv1.JobCondition{end}})
	}
	if err == nil {
		_, err = f.objects.Update(fakekube.Jobs, u, true)
	}
	if err != nil {
		f.Fatal(err)
	}
}

// told waits for what is said after the answers.
func (f *fixture) told(what string, want ...events.Payload) {
	f.Helper()
	for f.heard() < len(want) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-f.Context().Done():
			f.Fatal(what + ": nothing is told")
		}
	}
	f.expect(what, 0, 0, want...)
}

// The source reports nothing that happens while it is rolled over, which the namespace of another run has it be.
func TestAnOutcomeThatTheSourceMisses(t *testing.T) {
	for what, e := range map[string]events.Payload{"comes": another, "goes": events.EnvironmentRemoved{RunRef: other, Namespace: otherPlace}} {
		t.Run("before a namespace "+what, func(t *testing.T) {
			f := setup(t)
			f.run("running")
			f.ends(f.job(), time.Second)
			f.expect("a namespace", f.deliver("1", e.EventType(), e), 202)
			f.told("the other run's end", finished)
		})
		t.Run("after a namespace "+what, func(t *testing.T) {
			f := setup(t)
			f.run("running")
			job := f.job()
			f.expect("a namespace", f.deliver("1", e.EventType(), e), 202)
			f.expect("the next one", f.deliver("2", e.EventType(), e), 202)
			f.ends(job, 0)
			f.told("the other run's end", finished)
			f.deliver("3", events.TypeResourceUpdated, job)
			if n := f.stored(); n != 1 {
				t.Errorf("%d events for one outcome", n)
			}
		})
	}
}

// An end of long ago was not lost just now: nobody asks the database about each Job that is kept.
func TestWhatTheSourceMayHaveMissed(t *testing.T) {
	f := setup(t)
	now := f.h.cluster.Now()
	job := func(age time.Duration, status batchv1.JobStatus) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-age))}, Status: status}
	}
	ended := func(ago time.Duration) batchv1.JobStatus {
		return batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-ago))}}}
	}
	begun, one := metav1.NewTime(now.Add(-time.Hour)), int32(1)
	for what, test := range map[string]struct {
		job  *batchv1.Job
		want bool
	}{
		"ended just now":              {job(time.Hour, ended(time.Minute)), true},
		"ended long ago":              {job(2*time.Hour, ended(time.Hour)), false},
		"at work":                     {job(time.Hour, batchv1.JobStatus{StartTime: &begun, Active: 1, Ready: &one}), false},
		"not begun":                   {job(time.Hour, batchv1.JobStatus{}), false},
		"its agent is gone":           {job(time.Hour, batchv1.JobStatus{StartTime: &begun, Active: 1}), true},
		"it starts, and is looked at": {job(time.Second, batchv1.JobStatus{StartTime: &begun, Active: 1}), false},
	} {
		if got := f.h.mayBeLost(test.job); got != test.want {
			t.Errorf("%s: %v, want %v", what, got, test.want)
		}
	}
}

// A Sandbox is heard of by its pod.
func TestTheEndOfASandboxThatTheSourceMisses(t *testing.T) {
	f := withSandboxes(t)
	f.run("running")
	status := terminated(0, "Completed", "")
	status.Phase = corev1.PodSucceeded
	status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}}
	f.podOf(f.sandbox(ended("PodSucceeded")), status)
	f.expect("another run starts", f.deliver("1", another.EventType(), another), 202)
	f.told("the end of its pod", finished)
}
