package main

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	fakekube "codexk8s.dev/test/local/kube"
)

// withSandboxes is the function where agent-sandbox is set up; nobody makes pods.
func withSandboxes(t *testing.T) *fixture {
	t.Helper()
	f := setup(t)
	f.h.sandboxes = gvr.Sandboxes("v1beta1")
	return f
}

// sandbox creates the run's Sandbox with those conditions and returns it as stored.
func (f *fixture) sandbox(conditions ...metav1.Condition) *agentpod.Sandbox {
	f.Helper()
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL, p.SandboxVersion = "agent:1", "http://gateway", "http://llm/v1", "v1beta1"
	o, err := agentpod.Build(events.AgentRequested{
		RunRef: ref, Namespace: namespace, Stage: "dev", Role: "dev", CPU: "2", Memory: "4Gi", Deadline: time.Now().Add(time.Hour), Sandbox: agentpod.AgentSandbox,
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

var (
	check   = events.RunCheck{RunRef: ref, Namespace: namespace}
	tooMuch = failed("oom_killed", "The agent used more memory than its limit of 4Gi and was killed. Give the role more memory, or let it run fewer things at once.")
)

// podOf makes the Sandbox's pod again, as its controller would, and returns it as stored.
func (f *fixture) podOf(s *agentpod.Sandbox, status corev1.PodStatus) *corev1.Pod {
	f.Helper()
	yes := true
	stored := new(corev1.Pod)
	f.put(fakekube.Pods, &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: s.Spec.PodTemplate.Metadata.Labels, Annotations: s.Spec.PodTemplate.Metadata.Annotations,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: s.APIVersion, Kind: s.Kind, Name: s.Name, UID: s.UID, Controller: &yes}}},
		Spec:   s.Spec.PodTemplate.Spec,
		Status: status,
	}, stored)
	return stored
}

// leaving is the pod as Kubernetes describes it once it has to go.
func leaving(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	now := metav1.Now()
	pod.DeletionTimestamp = &now
	return pod
}

func TestSandboxEnds(t *testing.T) {
	for name, c := range map[string]struct {
		condition metav1.Condition // of the Sandbox, by the time that its pod is told of
		pod       corev1.PodStatus
		want      events.Payload
	}{
		"well":                        {ended("PodSucceeded"), corev1.PodStatus{Phase: corev1.PodSucceeded}, finished},
		"badly":                       {ended("PodFailed"), terminated(137, "OOMKilled", ""), tooMuch},
		"well, and it is yet to say":  {metav1.Condition{}, corev1.PodStatus{Phase: corev1.PodSucceeded}, finished},
		"badly, and it is yet to say": {metav1.Condition{}, terminated(137, "OOMKilled", ""), tooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			f := withSandboxes(t)
			f.run("running")
			s := f.sandbox(c.condition)
			f.pod("agent-of-another", "another", terminated(1, "Error", "not this one"))
			pod := f.podOf(s, c.pod)
			f.expect("told", f.deliver("1", events.TypeResourceUpdated, pod), 202, c.want)
			f.deliver("2", events.TypeResourceAdded, pod)
			f.deliver("3", check.EventType(), check)
			if n := f.stored(); n != 1 {
				t.Errorf("%d events for one outcome", n)
			}
			f.state("succeeded")
			f.unbox()
			f.mu.Lock()
			f.sent = nil
			f.mu.Unlock()
			f.expect("deleted when it had ended", f.deliver("4", events.TypeResourceDeleted, leaving(pod)), 202)
		})
	}
}

// At the run's deadline the controller deletes the pod, and says so of the Sandbox, which stays.
func TestSandboxExpires(t *testing.T) {
	f := withSandboxes(t)
	f.run("running")
	s := f.sandbox(metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SandboxExpired"})
	pod := f.podOf(s, corev1.PodStatus{Phase: corev1.PodRunning})
	f.expect("its pod goes", f.deliver("1", events.TypeResourceUpdated, leaving(pod)), 202)
	f.expect("its pod is gone", f.deliver("2", events.TypeResourceDeleted, leaving(pod)), 202,
		failed("deadline_exceeded", "The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller."))
}

// A pod that is evicted or drained is made again.
func TestPodOfASandboxIsDeleted(t *testing.T) {
	f := withSandboxes(t)
	f.run("running")
	s := f.sandbox()
	pod := f.podOf(s, terminated(143, "Error", ""))
	if _, err := f.objects.Delete(fakekube.Pods, namespace, pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.expect("on its way out", f.deliver("1", events.TypeResourceUpdated, leaving(pod)), 202)
	f.expect("gone", f.deliver("2", events.TypeResourceDeleted, leaving(pod)), 202)
}

// Nothing reports a pod that is stuck, and an event may be lost.
func TestCheckOfASandbox(t *testing.T) {
	for name, c := range map[string]struct {
		pod  corev1.PodStatus
		want []events.Payload
	}{
		"at work":         {corev1.PodStatus{Phase: corev1.PodRunning}, nil},
		"its pod ended":   {terminated(137, "OOMKilled", ""), []events.Payload{tooMuch}},
		"its pod is done": {corev1.PodStatus{Phase: corev1.PodSucceeded}, []events.Payload{finished}},
	} {
		t.Run(name, func(t *testing.T) {
			f := withSandboxes(t)
			f.run("running")
			f.podOf(f.sandbox(metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "DependenciesNotReady"}), c.pod)
			f.expect("checked", f.deliver("1", check.EventType(), check), 202, c.want...)
		})
	}
}

func TestSandboxIsDeleted(t *testing.T) {
	f := withSandboxes(t)
	f.run("running")
	s := f.sandbox()
	pod := f.podOf(s, corev1.PodStatus{Phase: corev1.PodRunning})
	f.expect("that didn't happen", f.deliver("1", events.TypeResourceDeleted, leaving(pod)), 202)
	f.unbox()
	f.state("cancelled")
	f.expect("by us", f.deliver("2", events.TypeResourceDeleted, leaving(pod)), 202)
	f.state("running")
	f.expect("by somebody", f.deliver("3", events.TypeResourceDeleted, leaving(pod)), 202, deleted)
}

// Anybody who can reach the function could report a pod that never existed.
func TestForgedPodOfASandbox(t *testing.T) {
	for name, f := range map[string]*fixture{"where they are set up": withSandboxes(t), "where they are not": setup(t)} {
		t.Run(name, func(t *testing.T) {
			f.run("running")
			pod := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: f.job().ObjectMeta}
			pod.UID = "forged"
			f.expect("a pod is said to be gone", f.post("1", events.TypeResourceDeleted, pod), 202)
			pod.Status.Phase = corev1.PodSucceeded
			f.expect("a pod is said to have ended", f.post("2", events.TypeResourceUpdated, pod), 202)
		})
	}
}
