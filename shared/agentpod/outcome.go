package agentpod

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/exitcode"
	"codexk8s.dev/shared/reason"
)

// State is how far a run's Job has got.
type State string

// States of a Job.
const (
	Running   State = "running" // also while it waits for its pod
	Succeeded State = "succeeded"
	Failed    State = "failed"
)

// Outcome is how a Job ended: Reason and Message are empty unless it failed, and Message tells a person what happened
// and what to do.
type Outcome struct {
	State   State
	Reason  string
	Message string
}

func failed(cause, format string, args ...any) Outcome {
	return Outcome{State: Failed, Reason: cause, Message: fmt.Sprintf(format, args...)}
}

// Ended reports whether the Job has ended, by its conditions alone. FailureTarget and SuccessCriteriaMet are not the
// end: the Job's pods are still terminating.
func Ended(job *batchv1.Job) bool {
	return hasCondition(job, batchv1.JobComplete) != nil || hasCondition(job, batchv1.JobFailed) != nil
}

// EndedAt is when the Job ended; zero if it has not, or doesn't say.
func EndedAt(job *batchv1.Job) time.Time {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if c := hasCondition(job, kind); c != nil {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// AtWork reports whether all is well with the Job as far as its own status can tell: its controller has not begun, or
// its pod is ready. A pod is not ready while it starts, or when its agent has ended and a sidecar keeps running. A Job
// that has begun and has no pod was refused one, or waits for the next.
func AtWork(job *batchv1.Job) bool {
	begun := job.Status.StartTime != nil
	ready := job.Status.Active > 0 && job.Status.Ready != nil && *job.Status.Ready > 0
	return !Ended(job) && (!begun || ready)
}

// JobSucceeded reports whether the Job is complete.
func JobSucceeded(job *batchv1.Job) bool { return hasCondition(job, batchv1.JobComplete) != nil }

// Judge finds the outcome of a Job from the Job, its pods and the warnings that Kubernetes recorded in its namespace.
// Pods and warnings may be missing (they don't live as long as Jobs): then the reason is less precise, but the state is
// not.
//
// now is the time by the API server's clock, which stamped all of them.
func Judge(job *batchv1.Job, pods []corev1.Pod, warnings []corev1.Event, now time.Time) Outcome {
	if JobSucceeded(job) {
		return Outcome{State: Succeeded}
	}
	pod := newest(pods)
	if condition := hasCondition(job, batchv1.JobFailed); condition != nil {
		return judgeFailed(job, condition, pod)
	}
	if pod == nil || ended(pod) {
		return judgeWithoutPod(job, pod, warnings, now)
	}
	return judgeLive(pod, warnings, now)
}

// JudgeRemoved finds the outcome of a Job that is gone from what its controller recorded when it ended, after since;
// false if it recorded nothing, because somebody deleted the Job.
// https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/controller/job/job_controller.go (recordJobFinished)
func JudgeRemoved(said []corev1.Event, since time.Time) (Outcome, bool) {
	job := new(batchv1.Job)
	for _, e := range said {
		if e.InvolvedObject.Kind != "Job" || e.InvolvedObject.Name != JobName || saidAt(e, since).Before(since.Truncate(time.Second)) {
			continue
		}
		switch e.Reason {
		case "Completed":
			return Outcome{State: Succeeded}, true
		case batchv1.JobReasonBackoffLimitExceeded, batchv1.JobReasonDeadlineExceeded, batchv1.JobReasonPodFailurePolicy:
			job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: e.Reason, Message: e.Message}}
		}
	}
	return Judge(job, nil, nil, since), Ended(job)
}

func judgeFailed(job *batchv1.Job, condition *batchv1.JobCondition, pod *corev1.Pod) Outcome {
	switch condition.Reason {
	case batchv1.JobReasonDeadlineExceeded:
		return deadlineExceeded()
	case batchv1.JobReasonPodFailurePolicy:
		// Our policy fails a Job for one exit code only, of either of two containers. The pod may be gone, but the
		// condition begins with the container's name.
		// https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
		if probing(pod) || strings.HasPrefix(condition.Message, "Container "+probeName+" ") {
			return notIsolated(lastWords(pod, condition.Message))
		}
		return failed(reason.Precondition, "The agent can't do this run, and trying again would not help: %s", lastWords(pod, condition.Message))
	}
	if pod != nil {
		if outcome, ok := judgePod(pod); ok {
			return outcome
		}
	}
	tries := max(job.Status.Failed, 1)
	return failed(reason.AgentError, "The agent failed %d times: %s. The run's log has more, if the agent got as far as writing one.",
		tries, strings.TrimSuffix(first(lastWords(pod, condition.Message), "nobody says why"), "."))
}

func deadlineExceeded() Outcome {
	return failed(reason.DeadlineExceeded, "The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller.")
}

// judgePod finds the reason in a pod that has ended; false when it shows none.
func judgePod(pod *corev1.Pod) (Outcome, bool) {
	if outcome, ok := takenAway(pod); ok {
		return outcome, true
	}
	if outcome, ok := judgeContainer(pod); ok {
		return outcome, true
	}
	if own := terminated(pod); own != nil && own.ExitCode == 0 {
		return Outcome{}, false
	}
	// The agent never started: a container that the cluster added stood in the way, or the node did.
	for _, c := range statuses(pod) {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 && !isOurs(c.Name) {
			return failed(reason.SidecarFailed, "The container %s, which the cluster put into the agent's pod, ended with exit code %d: %s. Keep it out of the namespaces of runs, or mend it.",
				c.Name, t.ExitCode, strings.TrimSuffix(first(tail(t.Message), t.Reason), ".")), true
		}
	}
	// https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/lifecycle/predicate.go
	if pod.Status.Reason != "" {
		return failed(reason.NodeRejected, "The node %s rejected the agent's pod (%s): %s", pod.Spec.NodeName, pod.Status.Reason, sentence(first(pod.Status.Message, "it does not say why"))), true
	}
	return Outcome{}, false
}

// takenAway explains a pod that the node or the cluster ended, not the agent.
// https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
func takenAway(pod *corev1.Pod) (Outcome, bool) {
	node, message := pod.Spec.NodeName, pod.Status.Message
	lost := failed(reason.NodeLost, "The node %s of the agent's pod is gone or does not answer. Set the label again to run anew.", node)
	switch pod.Status.Reason {
	case "Evicted": // the kubelet's own, with no container status worth reading
		return failed(reason.Evicted, "The node evicted the agent's pod: %s", message), true
	case "DeadlineExceeded": // its own, which it has in a Sandbox
		return deadlineExceeded(), true
	case "NodeLost", "ContainerStatusUnknown":
		return lost, true
	case "Preempting": // to make room for a pod that the node needs
		return failed(reason.Preempted, "The node %s needed the agent's place: %s Set the label again to run anew.", node, sentence(message)), true
	case "Terminated", "NodeShutdown", "Shutdown": // https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/nodeshutdown/nodeshutdown_manager.go
		return failed(reason.NodeShutdown, "The node %s was shut down: %s Set the label again to run anew.", node, sentence(message)), true
	}
	c := podCondition(pod, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue {
		unknown := terminated(pod)
		return lost, unknown != nil && unknown.Reason == "ContainerStatusUnknown"
	}
	switch c.Reason {
	case corev1.PodReasonPreemptionByScheduler:
		return failed(reason.Preempted, "A pod of higher priority took the agent's place. Add nodes, or give agents a higher priority."), true
	case "DeletionByTaintManager", "DeletionByPodGC":
		return lost, true
	}
	return failed(reason.Evicted, "The agent's pod was moved off its node %s (%s): %s", node, c.Reason, first(c.Message, message)), true
}

// killed is the exit code of a process that SIGKILL ended: 128 and the signal's number.
const killed = 128 + 9

// judgeContainer finds the reason in how the agent or its probe ended; false if neither has ended, or it ended well.
func judgeContainer(pod *corev1.Pod) (Outcome, bool) {
	end := terminated(pod)
	if end == nil {
		return Outcome{}, false
	}
	switch {
	case end.Reason == "OOMKilled" && end.ExitCode != 0:
		return failed(reason.OOMKilled, "The agent used more memory than %s and was killed. Give the role more memory, or let it run fewer things at once.", memoryLimit(pod)), true
	case end.Reason == "ContainerCannotRun" || end.Reason == "StartError":
		return failed(reason.ConfigError, "The agent's container could not be started: %s. Look at the agent's image.", end.Message), true
	case end.ExitCode == exitcode.Never && probing(pod):
		return notIsolated(lastWords(pod, "")), true
	case end.ExitCode != 0 && probing(pod):
		return failed(reason.GatewayUnreachable, "The run's pod can't work from its namespace, so its agent was not started: %s Check the platform's GATEWAY_PEERS, GATEWAY_PORTS and DNS_PEERS, and that agent-gateway and llm-caller are ready.",
			sentence(lastWords(pod, end.Reason))), true
	case end.ExitCode == exitcode.Never:
		return failed(reason.Precondition, "The agent can't do this run, and trying again would not help: %s", lastWords(pod, "")), true
	case end.ExitCode == killed:
		return failed(reason.AgentError, "The agent ended with exit code %d: %s It was killed (SIGKILL), but not for its own memory limit: its node %s may be short of memory. Look at the node's events, then set the label again to run anew.",
			end.ExitCode, sentence(lastWords(pod, end.Reason)), pod.Spec.NodeName), true
	case end.ExitCode != 0:
		return failed(reason.AgentError, "The agent ended with exit code %d: %s", end.ExitCode, lastWords(pod, end.Reason)), true
	}
	return Outcome{}, false
}

func notIsolated(found string) Outcome {
	return failed(reason.IsolationBroken, "The run's namespace is not isolated, so its agent was not started: %s Let the cluster's network plugin enforce NetworkPolicy, for IPv6 too; what is allowed is agent-launcher's GIT_CIDRS, GATEWAY_PEERS and DNS_PEERS.",
		sentence(found))
}

func sentence(s string) string { return strings.TrimRight(s, ".\n ") + "." }

// IsQuota reports whether the API server's message is about a lack of quota; the status code alone (403) may also mean
// missing rights.
func IsQuota(message string) bool {
	return strings.Contains(message, "exceeded quota") || strings.Contains(message, "insufficient quota")
}

func newest(pods []corev1.Pod) *corev1.Pod {
	var last *corev1.Pod
	for i := range pods {
		if last == nil || last.CreationTimestamp.Before(&pods[i].CreationTimestamp) {
			last = &pods[i]
		}
	}
	return last
}

func hasCondition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i, c := range pod.Status.Conditions {
		if c.Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// containerStatus is the status of the container that matters now: the probe until it has ended well, then the agent.
func containerStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for i, c := range pod.Status.InitContainerStatuses {
		if c.Name == probeName && (c.State.Terminated == nil || c.State.Terminated.ExitCode != 0) {
			return &pod.Status.InitContainerStatuses[i]
		}
	}
	for i, c := range pod.Status.ContainerStatuses {
		if c.Name == JobName {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// probing reports whether the pod got no further than its probe.
func probing(pod *corev1.Pod) bool {
	if pod == nil {
		return false
	}
	c := containerStatus(pod)
	return c != nil && c.Name == probeName
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if c := containerStatus(pod); c != nil {
		return c.State.Terminated
	}
	return nil
}

// statuses are those of all containers in the order of their start: init containers first.
func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// isOurs tells the containers that the platform asked for from those that the cluster added.
func isOurs(container string) bool { return container == JobName || container == probeName }

// ended reports whether nothing of the pod runs any more.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func memoryLimit(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if limit := c.Resources.Limits.Memory(); c.Name == JobName && !limit.IsZero() {
			return "its limit of " + limit.String()
		}
	}
	return "it may"
}

// lastWords is the end of what the agent wrote before it ended, or otherwise if it wrote nothing.
func lastWords(pod *corev1.Pod, otherwise string) string {
	if pod == nil || terminated(pod) == nil {
		return otherwise
	}
	return first(tail(terminated(pod).Message), otherwise)
}

// tail is the end of what a container wrote.
func tail(message string) string {
	const limit = 500
	words := []rune(strings.TrimSpace(message))
	if len(words) > limit {
		words = append([]rune("…"), words[len(words)-limit:]...)
	}
	return string(words)
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
