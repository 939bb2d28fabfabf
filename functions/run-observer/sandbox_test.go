package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	fakekube "codexk8s.dev/test/local/kube"
)

// withSandboxes is the function where agent-sandbox is set up; nobody makes pods.
func withSandboxes(t *testing.T) *fixture {
	t.Helper()
	f := setup(t)
	f.h.sandboxes = agentpod.Sandboxes("v1beta1")
	return f
}

// sandbox creates the run's Sandbox with those conditions and returns it as stored.
func (f *fixture) sandbox(conditions ...metav1.Condition) *agentpod.Sandbox {
	f.Helper()
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL, p.SandboxVersion = "agent:1", "http://gateway", "http://llm/v1", "v1beta1"
	o, err := agentpod.Build(events.AgentRequested{
		RunRef: ref, Namespace: namespace, Stage: "dev", Role: "dev", Deadline: time.Now().Add(time.Hour), Sandbox: agentpod.AgentSandbox,
	}, p, "t", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	made := o.Job.Value.(*agentpod.Sandbox)
	made.Status.Conditions = conditions
	stored := new(agentpod.Sandbox)
	f.put(fakekube.Sandboxes, made, stored)
	return stored
}

func (f *fixture) unbox() {
	f.Helper()
	if _, err := f.objects.Delete(fakekube.Sandboxes, namespace, "agent", metav1.DeleteOptions{}); err != nil {
		f.Fatal(err)
	}
}

func ended(reason string) metav1.Condition {
	return metav1.Condition{Type: "Finished", Status: metav1.ConditionTrue, Reason: reason}
}

var check = events.RunCheck{RunRef: ref, Namespace: namespace}

func TestSandboxEnds(t *testing.T) {
	for name, c := range map[string]struct {
		condition metav1.Condition
		pod       corev1.PodStatus
		want      events.Payload
	}{
		"well":  {ended("PodSucceeded"), corev1.PodStatus{Phase: corev1.PodSucceeded}, finished},
		"badly": {ended("PodFailed"), terminated(137, "OOMKilled", ""), oom},
		"as its time is up": {metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SandboxExpired"}, corev1.PodStatus{Phase: corev1.PodRunning},
			failed("deadline_exceeded", "The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller.")},
	} {
		t.Run(name, func(t *testing.T) {
			f := withSandboxes(t)
			f.run("running")
			s := f.sandbox(c.condition)
			f.pod("agent-of-another", "another", terminated(1, "Error", "not this one"))
			f.pod("agent", s.UID, c.pod)
			f.expect("told", f.deliver("1", events.TypeResourceUpdated, s), 202, c.want)
			f.deliver("2", events.TypeResourceAdded, s)
			f.deliver("3", check.EventType(), check)
			if n := f.stored(); n != 1 {
				t.Errorf("%d events for one outcome", n)
			}
			f.unbox()
			f.mu.Lock()
			f.sent = nil
			f.mu.Unlock()
			f.expect("deleted when it had ended", f.deliver("4", events.TypeResourceDeleted, s), 202)
		})
	}
}

// A controller of an early release says nothing when the pod ends, and nobody tells of a pod that is stuck.
func TestCheckOfASandbox(t *testing.T) {
	for name, c := range map[string]struct {
		pod  corev1.PodStatus
		want []events.Payload
	}{
		"at work":       {corev1.PodStatus{Phase: corev1.PodRunning}, nil},
		"its pod ended": {terminated(137, "OOMKilled", ""), []events.Payload{oom}},
		"its pod is done": {corev1.PodStatus{Phase: corev1.PodSucceeded},
			[]events.Payload{finished}},
	} {
		t.Run(name, func(t *testing.T) {
			f := withSandboxes(t)
			f.run("running")
			s := f.sandbox(metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "DependenciesNotReady"})
			f.pod("agent", s.UID, c.pod)
			f.expect("told", f.deliver("1", events.TypeResourceUpdated, s), 202)
			f.expect("checked", f.deliver("2", check.EventType(), check), 202, c.want...)
		})
	}
}

func TestSandboxIsDeleted(t *testing.T) {
	f := withSandboxes(t)
	f.run("running")
	s := f.sandbox()
	f.expect("that didn't happen", f.deliver("1", events.TypeResourceDeleted, s), 202)
	f.unbox()
	stopped := s.DeepCopyObject().(*agentpod.Sandbox)
	stopped.Annotations[agentpod.AnnotationStopped] = "aborted"
	f.expect("by us", f.deliver("2", events.TypeResourceDeleted, stopped), 202)
	f.expect("by somebody", f.deliver("3", events.TypeResourceDeleted, s), 202, deleted)
}

// Whoever can reach the function could tell of a Sandbox that never was.
func TestForgedSandbox(t *testing.T) {
	for name, f := range map[string]*fixture{"where they are set up": withSandboxes(t), "where they are not": setup(t)} {
		t.Run(name, func(t *testing.T) {
			f.run("running")
			s := agentpod.Sandbox{TypeMeta: metav1.TypeMeta{APIVersion: "agents.x-k8s.io/v1beta1", Kind: "Sandbox"}, ObjectMeta: f.job().ObjectMeta}
			s.UID = "forged"
			f.expect("a Sandbox is said to be gone", f.post("1", events.TypeResourceDeleted, s), 202)
			s.Status.Conditions = []metav1.Condition{ended("PodSucceeded")}
			f.expect("a Sandbox is said to have ended", f.post("2", events.TypeResourceUpdated, s), 202)
		})
	}
}
