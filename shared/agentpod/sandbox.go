package agentpod

import (
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
)

// AgentSandbox is the project's setting with which kubernetes-sigs/agent-sandbox makes the agent's pod, in place of a
// Job: for clusters whose isolation, audit or billing depends on Sandboxes.
//
// The pod is exactly the Job's. But a Sandbox does less than a Job: a pod that fails stays failed, without a second
// try. A pod that is deleted, for example by a node's drain, is replaced until the deadline and continues from its
// snapshot.
// https://github.com/kubernetes-sigs/agent-sandbox/blob/main/controllers/sandbox_controller.go
const AgentSandbox = "agent-sandbox"

// SandboxKind is the kind of a [Sandbox], and of a Job that stands for one.
const SandboxKind = "Sandbox"

// Sandbox is as much of agents.x-k8s.io's Sandbox as the platform writes and reads. The
// fields are the same in v1alpha1 and v1beta1.
type Sandbox struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   SandboxSpec   `json:"spec"`
	Status SandboxStatus `json:"status,omitzero"`
}

// SandboxSpec is the pod, and until when it may exist.
type SandboxSpec struct {
	PodTemplate SandboxPod `json:"podTemplate"`
	// ShutdownTime is when the controller deletes the pod, however often it was replaced.
	ShutdownTime *metav1.Time `json:"shutdownTime,omitempty"`
	// ShutdownPolicy is Retain: the Sandbox stays and says that its time was up.
	ShutdownPolicy string `json:"shutdownPolicy,omitempty"`
}

// SandboxPod is a pod's template. Its metadata are labels and annotations only.
type SandboxPod struct {
	Metadata SandboxPodMeta `json:"metadata"`
	Spec     corev1.PodSpec `json:"spec"`
}

// SandboxPodMeta is put on the pod.
type SandboxPodMeta struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// SandboxStatus is what the controller says: Finished some time after the pod has ended, though not in early releases
// (0.2); Ready with a reason if the pod can't be made, or its time is up.
type SandboxStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeepCopyObject makes it a runtime.Object.
func (s *Sandbox) DeepCopyObject() runtime.Object {
	c := *s
	s.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	template := (&corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: s.Spec.PodTemplate.Metadata.Labels, Annotations: s.Spec.PodTemplate.Metadata.Annotations},
		Spec:       s.Spec.PodTemplate.Spec,
	}).DeepCopy()
	c.Spec.PodTemplate = SandboxPod{SandboxPodMeta{template.Labels, template.Annotations}, template.Spec}
	c.Spec.ShutdownTime = s.Spec.ShutdownTime.DeepCopy()
	c.Status.Conditions = append([]metav1.Condition(nil), s.Status.Conditions...)
	return &c
}

// offers says whether this platform has what the project wants its pods made by: nil, or a *Refusal.
func (p Platform) offers(sandbox string) error {
	switch {
	case sandbox == "":
		return nil
	case sandbox != AgentSandbox:
		return refuse(reason.InvalidRequest, "sandbox %q is not known: the project's setting is %s, or none", sandbox, AgentSandbox)
	case p.SandboxVersion == "":
		return refuse(reason.KubernetesRefused, "The project's runs are to be Sandboxes, which are not set up here: %s", sandboxSetup)
	}
	return nil
}

// sandboxSetup says what a project's setting needs.
const sandboxSetup = "deploy the platform with OVERLAY=agent-sandbox, and agent-sandbox's controller with the definition of sandboxes.agents.x-k8s.io " +
	"(https://github.com/kubernetes-sigs/agent-sandbox/releases); or take sandbox out of the project's settings."

// sandbox is what is made in place of the Job.
func sandbox(job *batchv1.Job, r events.AgentRequested, version string) *Sandbox {
	template := job.Spec.Template
	template.Labels = maps.Clone(template.Labels)
	template.Labels[LabelSandbox] = AgentSandbox
	// The deadline of this pod; the Sandbox's own is for replaced pods.
	template.Spec.ActiveDeadlineSeconds = job.Spec.ActiveDeadlineSeconds
	until := metav1.NewTime(r.Deadline.UTC())
	return &Sandbox{
		TypeMeta:   metav1.TypeMeta{APIVersion: gvr.SandboxGroup + "/" + version, Kind: SandboxKind},
		ObjectMeta: job.ObjectMeta,
		Spec: SandboxSpec{
			PodTemplate:    SandboxPod{SandboxPodMeta{template.Labels, template.Annotations}, template.Spec},
			ShutdownTime:   &until,
			ShutdownPolicy: "Retain",
		},
	}
}

// AsJob returns a Job with the status this Sandbox has, for decisions that are the
// same for both: is it the run's, has it ended? Its Kind stays SandboxKind.
func (s *Sandbox) AsJob() *batchv1.Job {
	job := &batchv1.Job{TypeMeta: s.TypeMeta, ObjectMeta: *s.ObjectMeta.DeepCopy()}
	add := func(kind batchv1.JobConditionType, cause string) {
		job.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: cause}}
	}
	switch {
	case s.finished("PodSucceeded"):
		add(batchv1.JobComplete, "")
	case s.finished("PodFailed"):
		add(batchv1.JobFailed, "")
	case s.expired():
		add(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)
	}
	return job
}

func (s *Sandbox) condition(kind string) metav1.Condition {
	for _, c := range s.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}

func (s *Sandbox) finished(cause string) bool {
	c := s.condition("Finished")
	return c.Status == metav1.ConditionTrue && c.Reason == cause
}

func (s *Sandbox) expired() bool { return s.condition("Ready").Reason == "SandboxExpired" }

// JudgeSandbox finds the outcome from the Sandbox and its own pods. The pods come first, because early releases don't
// say when one has ended.
func JudgeSandbox(s *Sandbox, pods []corev1.Pod, now time.Time) Outcome {
	pod := newest(pods)
	switch {
	case s.finished("PodSucceeded") || pod != nil && pod.Status.Phase == corev1.PodSucceeded:
		return Outcome{State: Succeeded}
	case s.expired():
		return deadlineExceeded()
	case pod == nil:
		return judgeSandboxWithoutPod(s, now)
	case pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodFailed:
		return judgeLive(pod, nil, now) // a pod that is being deleted gets a successor
	}
	if outcome, ok := judgePod(pod); ok {
		return outcome
	}
	return failed(reason.AgentError, "The agent's pod failed: %s", lastWords(pod, pod.Status.Reason+" "+pod.Status.Message))
}

func judgeSandboxWithoutPod(s *Sandbox, now time.Time) Outcome {
	ready, young := s.condition("Ready"), now.Sub(s.CreationTimestamp.Time) <= podPatience
	switch {
	case IsQuota(ready.Message):
		return failed(reason.QuotaExceeded, "There is no quota left for the agent's pod: %s. Wait for other runs to end, or raise the quota.", ready.Message)
	case ready.Reason == "ReconcilerError" && (!young || refusedForGood(ready.Message)):
		return failed(reason.ConfigError, "agent-sandbox can't make the agent's pod: %s", ready.Message)
	case ready.Type == "" && !young:
		return failed(reason.ConfigError, "Nobody has made a pod of the run's Sandbox for %s: is agent-sandbox's controller at work?", podPatience)
	}
	return Outcome{State: Running} // a deleted pod is being replaced
}
