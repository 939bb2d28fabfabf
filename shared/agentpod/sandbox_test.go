package agentpod_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
)

func sandboxed(t *testing.T, r events.AgentRequested, version string) agentpod.Objects {
	t.Helper()
	p := platform()
	p.SandboxVersion = version
	r.Sandbox = agentpod.AgentSandbox
	o, err := agentpod.Build(r, p, "header.claims.signature", now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The Sandbox stands in the Job's place: all else of the run is the same, and its pod is the Job's, but that the
// deadline is the pod's own, and its label tells who made it.
func TestSandbox(t *testing.T) {
	r := request()
	r.Runtime, r.Attempt = "gvisor", 1
	want := build(t, r)
	for version, name := range map[string]string{"v1beta1": "sandbox", "v1alpha1": "sandbox-v1alpha1"} {
		o := sandboxed(t, r, version)
		golden(t, name, o.Job)
		if got := o.Job.Resource.String(); got != "agents.x-k8s.io/"+version+", Resource=sandboxes" {
			t.Errorf("it is made through %s", got)
		}
		if diff := cmp.Diff(append(want.Support, want.Namespace), append(o.Support, o.Namespace)); diff != "" {
			t.Errorf("the run's other objects (-with a Job +with a Sandbox):\n%s", diff)
		}
		pod, job := o.Job.Value.(*agentpod.Sandbox).Spec.PodTemplate, want.Job.Value.(*batchv1.Job).Spec
		job.Template.Spec.ActiveDeadlineSeconds = job.ActiveDeadlineSeconds
		job.Template.Labels[agentpod.LabelSandbox] = agentpod.AgentSandbox
		if diff := cmp.Diff(job.Template, corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: pod.Metadata.Labels, Annotations: pod.Metadata.Annotations}, Spec: pod.Spec,
		}); diff != "" {
			t.Errorf("the pod (-of the Job +of the Sandbox):\n%s", diff)
		}
		if diff := cmp.Diff(o.Job.Value, o.Job.Value.DeepCopyObject()); diff != "" {
			t.Errorf("a copy differs:\n%s", diff)
		}
		if ref, ok := agentpod.RunOf(o.Job.Value); !ok || ref != r.RunRef || agentpod.Attempt(o.Job.Value) != 1 {
			t.Errorf("run read back as %+v, %v, attempt %d", ref, ok, agentpod.Attempt(o.Job.Value))
		}
	}
}

func TestSandboxRefused(t *testing.T) {
	for name, test := range map[string]struct{ sandbox, version, reason string }{
		"not set up":   {"agent-sandbox", "", "kubernetes_refused"},
		"another kind": {"docker", "v1beta1", "invalid_request"},
	} {
		r, p := request(), platform()
		r.Sandbox, p.SandboxVersion = test.sandbox, test.version
		_, err := agentpod.Build(r, p, "token", now)
		var refusal *agentpod.Refusal
		if !errors.As(err, &refusal) || refusal.Reason != test.reason {
			t.Errorf("%s: %v, want a refusal for %s", name, err, test.reason)
		}
	}
	p := platform()
	p.SandboxVersion = "v1"
	if p.Validate() == nil {
		t.Error("version v1 of the API was accepted")
	}
}

func says(kind, reason string) metav1.Condition {
	status := metav1.ConditionTrue
	if kind == "Ready" {
		status = metav1.ConditionFalse
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "Error seen: " + reason}
}

var (
	ready    = metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "DependenciesReady"}
	expired  = says("Ready", "SandboxExpired")
	finished = says("Finished", "PodSucceeded")
	podFails = says("Finished", "PodFailed")
)

func box(age time.Duration, conditions ...metav1.Condition) *agentpod.Sandbox {
	return &agentpod.Sandbox{
		TypeMeta:   metav1.TypeMeta{APIVersion: "agents.x-k8s.io/v1beta1", Kind: "Sandbox"},
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "codexk8s-run-7f1c8f5e3b57", UID: "box", CreationTimestamp: ago(age)},
		Status:     agentpod.SandboxStatus{Conditions: conditions},
	}
}

func TestSandboxAsJob(t *testing.T) {
	for name, test := range map[string]struct {
		conditions []metav1.Condition
		want       []batchv1.JobCondition
	}{
		"no word yet":              {},
		"at work":                  {conditions: []metav1.Condition{ready}},
		"done":                     {conditions: []metav1.Condition{finished}, want: []batchv1.JobCondition{{Type: "Complete", Status: "True"}}},
		"done, and its time is up": {conditions: []metav1.Condition{expired, finished}, want: []batchv1.JobCondition{{Type: "Complete", Status: "True"}}},
		"failed":                   {conditions: []metav1.Condition{podFails}, want: []batchv1.JobCondition{{Type: "Failed", Status: "True"}}},
		"its time is up":           {conditions: []metav1.Condition{expired}, want: []batchv1.JobCondition{{Type: "Failed", Status: "True", Reason: "DeadlineExceeded"}}},
	} {
		s := box(0, test.conditions...)
		want := &batchv1.Job{TypeMeta: s.TypeMeta, ObjectMeta: s.ObjectMeta, Status: batchv1.JobStatus{Conditions: test.want}}
		if diff := cmp.Diff(want, s.AsJob()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSandboxKeepsItsNamespaceAndItsPlace(t *testing.T) {
	first := request()
	o := sandboxed(t, first, "v1beta1")
	there := o.Job.Value.(*agentpod.Sandbox)
	ns, past := o.Namespace.Value.(*corev1.Namespace), now.Add(25*time.Hour)
	second, other := request(), request()
	second.Attempt = 1
	other.RunID = "00000000-0000-4000-8000-000000000000"
	for name, test := range map[string]struct {
		conditions []metav1.Condition
		removable  string
		next       map[string]agentpod.Fate
	}{
		"at work":        {[]metav1.Condition{ready}, "active_run", map[string]agentpod.Fate{"same": agentpod.Keep, "second": agentpod.Stop, "other": agentpod.Stop}},
		"ended":          {[]metav1.Condition{podFails}, "", map[string]agentpod.Fate{"same": agentpod.Replace, "second": agentpod.Replace, "other": agentpod.Replace}},
		"its time is up": {[]metav1.Condition{expired}, "", map[string]agentpod.Fate{"same": agentpod.Replace, "second": agentpod.Replace, "other": agentpod.Replace}},
	} {
		there.Status.Conditions = test.conditions
		if got := reasonOf(t, agentpod.Removable(ns, []batchv1.Job{*there.AsJob()}, past)); got != test.removable {
			t.Errorf("%s: its namespace is refused for %q, want %q", name, got, test.removable)
		}
		got := map[string]agentpod.Fate{}
		for which, r := range map[string]events.AgentRequested{"same": first, "second": second, "other": other} {
			what, err := agentpod.FateOf(there.AsJob(), r)
			if err != nil {
				t.Error(err)
			}
			got[which] = what
		}
		if diff := cmp.Diff(test.next, got); diff != "" {
			t.Errorf("%s: what comes of it (-want +got):\n%s", name, diff)
		}
	}
}

func pods(p ...corev1.Pod) []corev1.Pod { return p }

func TestJudgeSandbox(t *testing.T) {
	type outcome = agentpod.Outcome
	running := outcome{State: agentpod.Running}
	failed := func(reason, message string) outcome { return outcome{agentpod.Failed, reason, message} }
	timeUp := failed("deadline_exceeded", "The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller.")
	phase := func(phase corev1.PodPhase, reason string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = phase, reason, "says the kubelet"
		}
	}
	leaving := func(p *corev1.Pod) {
		disrupted("EvictionByEvictionAPI", "drained")(p)
		gone := ago(time.Second)
		p.DeletionTimestamp = &gone
	}
	for name, test := range map[string]struct {
		box  *agentpod.Sandbox
		pods []corev1.Pod
		want outcome
	}{
		"just created":              {box: box(0), want: running},
		"nobody makes a pod":        {box: box(3 * time.Minute), want: failed("config_error", "Nobody has made a pod of the run's Sandbox for 2m0s: is agent-sandbox's controller at work?")},
		"no quota":                  {box: box(3*time.Minute, says("Ready", "exceeded quota: run")), want: failed("quota_exceeded", "There is no quota left for the agent's pod: Error seen: exceeded quota: run. Wait for other runs to end, or raise the quota.")},
		"the pod is refused":        {box: box(3*time.Minute, says("Ready", "ReconcilerError")), want: failed("config_error", "agent-sandbox can't make the agent's pod: Error seen: ReconcilerError")},
		"the pod is made anew":      {box: box(time.Hour, says("Ready", "DependenciesNotReady")), want: running},
		"at work":                   {box: box(time.Hour, ready), pods: pods(pod(time.Hour, phase(corev1.PodRunning, ""))), want: running},
		"done":                      {box: box(time.Hour, finished), want: outcome{State: agentpod.Succeeded}},
		"done, as an old release":   {box: box(time.Hour, ready), pods: pods(pod(time.Hour, phase(corev1.PodSucceeded, ""))), want: outcome{State: agentpod.Succeeded}},
		"the Sandbox's time is up":  {box: box(time.Hour, expired), want: timeUp},
		"the pod's time is up":      {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, phase(corev1.PodFailed, "DeadlineExceeded"))), want: timeUp},
		"failed":                    {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, exited(1, "Error", "panic: oh"))), want: failed("agent_error", "The agent ended with exit code 1: panic: oh")},
		"failed, as an old release": {box: box(time.Hour, ready), pods: pods(pod(time.Hour, exited(42, "Error", "no such branch"))), want: failed("precondition", "The agent can't do this run, and trying again would not help: no such branch")},
		"its probe can't work": {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, func(p *corev1.Pod) { probeExited(1, "no DNS")(p); p.Status.Phase = corev1.PodFailed })),
			want: failed("gateway_unreachable", "The run's pod can't work from its namespace, so its agent was not started: no DNS. Check the platform's GATEWAY_PEERS, GATEWAY_PORTS and DNS_PEERS, and that agent-gateway and llm-caller are ready.")},
		"failed, nobody knows why":      {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, phase(corev1.PodFailed, ""))), want: failed("agent_error", "The agent's pod failed:  says the kubelet")},
		"the node won't have it":        {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, phase(corev1.PodFailed, "UnexpectedAdmissionError"))), want: failed("node_rejected", "The node node-3 rejected the agent's pod (UnexpectedAdmissionError): says the kubelet.")},
		"drained: a successor comes":    {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, leaving)), want: running},
		"evicted: no successor comes":   {box: box(time.Hour, podFails), pods: pods(pod(time.Hour, phase(corev1.PodFailed, "Evicted"))), want: failed("evicted", "The node evicted the agent's pod: says the kubelet")},
		"its image can't be had":        {box: box(time.Hour, ready), pods: pods(pod(3*time.Minute, waiting("ImagePullBackOff", "not found"))), want: failed("image_pull", "The agent's image can't be pulled: not found. Check the platform's AGENT_IMAGE and the cluster's access to that registry.")},
		"the successor counts, not it":  {box: box(time.Hour, ready), pods: pods(pod(time.Hour, exited(1, "Error", "x")), pod(time.Minute, phase(corev1.PodRunning, ""))), want: running},
		"failed, as its time is up too": {box: box(time.Hour, expired, podFails), want: timeUp},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, agentpod.JudgeSandbox(test.box, test.pods, now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
