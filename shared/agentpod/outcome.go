package agentpod

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// State is how far a run's Job is.
type State string

// States of a Job.
const (
	Running   State = "running" // also while it waits for its pod
	Succeeded State = "succeeded"
	Failed    State = "failed"
)

// Reasons of a failed outcome. Each tells a person where to look.
const (
	ReasonImagePull     = "image_pull"          // the agent's image can't be had
	ReasonConfig        = "config_error"        // the pod can't be made as written
	ReasonOOM           = "oom_killed"          // more memory than allowed
	ReasonDeadline      = "deadline_exceeded"   // the run's time is up
	ReasonEvicted       = "evicted"             // the node threw the pod out: disk, memory, drain
	ReasonPreempted     = "preempted"           // a more important pod took the place
	ReasonNodeLost      = "node_lost"           // the node is gone or silent
	ReasonQuota         = "quota_exceeded"      // the namespace's or the cluster's quota is used up
	ReasonUnschedulable = "unschedulable"       // no node has room
	ReasonIsolation     = "isolation_broken"    // the pod could reach what it must not: its agent never started
	ReasonGateway       = "gateway_unreachable" // the pod could not reach what it must
	ReasonPrecondition  = "precondition"        // the agent itself says that trying again is useless
	ReasonAgent         = "agent_error"         // the agent ended with an error, three times
	ReasonJobDeleted    = "job_deleted"         // somebody deleted the Job
	ReasonRefused       = "kubernetes_refused"  // the API server refused an object of the run
)

// How long a pod may be stuck before the run is given up. Registries have bad
// minutes and autoscalers need some to bring a node.
const (
	pullPatience     = 2 * time.Minute
	podPatience      = 2 * time.Minute
	schedulePatience = 10 * time.Minute
	nodePatience     = 5 * time.Minute
)

// Outcome is what became of a Job: Reason and Message are empty unless it failed,
// and Message tells a person what happened and what to do.
type Outcome struct {
	State   State
	Reason  string
	Message string
}

func failed(reason, format string, args ...any) Outcome {
	return Outcome{State: Failed, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Ended reports whether the Job has ended, from its conditions alone, and so
// whether the pods need to be read for the reason. FailureTarget and
// SuccessCriteriaMet are not the end: pods of the Job are still terminating.
func Ended(job *batchv1.Job) bool {
	return hasCondition(job, batchv1.JobComplete) != nil || hasCondition(job, batchv1.JobFailed) != nil
}

// JobSucceeded reports whether the Job is complete.
func JobSucceeded(job *batchv1.Job) bool { return hasCondition(job, batchv1.JobComplete) != nil }

// Judge tells the outcome of a Job from the Job, its pods and the warnings that
// Kubernetes recorded in its namespace. Pods and warnings may be missing (they
// live shorter than Jobs): the reason is then less precise, the state is not.
func Judge(job *batchv1.Job, pods []corev1.Pod, warnings []corev1.Event, now time.Time) Outcome {
	if JobSucceeded(job) {
		return Outcome{State: Succeeded}
	}
	pod := newest(pods)
	if condition := hasCondition(job, batchv1.JobFailed); condition != nil {
		return judgeFailed(job, condition, pod)
	}
	if pod == nil {
		return judgeWithoutPod(job, warnings, now)
	}
	return judgeStuck(pod, now)
}

func judgeFailed(job *batchv1.Job, condition *batchv1.JobCondition, pod *corev1.Pod) Outcome {
	switch condition.Reason {
	case batchv1.JobReasonDeadlineExceeded:
		return deadlineExceeded()
	case batchv1.JobReasonPodFailurePolicy:
		// Our policy fails a Job for one exit code only, that of two containers. The
		// pod may be gone, but the condition begins with the container's name.
		// https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
		if probing(pod) || strings.HasPrefix(condition.Message, "Container "+ProbeName+" ") {
			return notIsolated(lastWords(pod, condition.Message))
		}
		return failed(ReasonPrecondition, "The agent can't do this run, and trying again would not help: %s", lastWords(pod, condition.Message))
	}
	if pod != nil {
		if outcome, ok := judgePod(pod); ok {
			return outcome
		}
	}
	tries := max(job.Status.Failed, 1)
	return failed(ReasonAgent, "The agent failed %d times: %s. The run's log has more, if the agent got as far as writing one.",
		tries, strings.TrimSuffix(lastWords(pod, condition.Message), "."))
}

func deadlineExceeded() Outcome {
	return failed(ReasonDeadline, "The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller.")
}

// judgePod finds the reason in a pod that has ended; false when it shows none.
func judgePod(pod *corev1.Pod) (Outcome, bool) {
	if c := podCondition(pod, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue {
		return disrupted(pod, c), true
	}
	// The kubelet's own evictions carry no container status worth reading.
	if pod.Status.Reason == "Evicted" {
		return failed(ReasonEvicted, "The node evicted the agent's pod: %s", pod.Status.Message), true
	}
	if pod.Status.Reason == "DeadlineExceeded" { // its own, which it has in a Sandbox
		return deadlineExceeded(), true
	}
	if pod.Status.Reason == "NodeLost" {
		return failed(ReasonNodeLost, "The node %s of the agent's pod is gone or does not answer. Set the label again to run anew.", pod.Spec.NodeName), true
	}
	ended := terminated(pod)
	if ended == nil {
		return Outcome{}, false
	}
	switch {
	case ended.Reason == "OOMKilled":
		return failed(ReasonOOM, "The agent used more memory than %s and was killed. Give the role more memory, or let it run fewer things at once.", memoryLimit(pod)), true
	case ended.Reason == "ContainerCannotRun" || ended.Reason == "StartError":
		return failed(ReasonConfig, "The agent's container could not be started: %s. Look at the agent's image.", ended.Message), true
	case ended.ExitCode == ExitPrecondition && probing(pod):
		return notIsolated(lastWords(pod, "")), true
	case ended.ExitCode != 0 && probing(pod):
		return failed(ReasonGateway, "The run's pod can't work from its namespace, so its agent was not started: %s Check the platform's GATEWAY_PEERS, GATEWAY_PORTS and DNS_PEERS, and that agent-gateway and llm-caller are ready.",
			sentence(lastWords(pod, ended.Reason))), true
	case ended.ExitCode == ExitPrecondition:
		return failed(ReasonPrecondition, "The agent can't do this run, and trying again would not help: %s", lastWords(pod, "")), true
	case ended.ExitCode != 0:
		return failed(ReasonAgent, "The agent ended with exit code %d: %s", ended.ExitCode, lastWords(pod, ended.Reason)), true
	}
	return Outcome{}, false
}

func notIsolated(found string) Outcome {
	return failed(ReasonIsolation, "The run's namespace is not isolated, so its agent was not started: %s Let the cluster's network plugin enforce NetworkPolicy, for IPv6 too; what is allowed is agent-launcher's GIT_CIDRS, GATEWAY_PEERS and DNS_PEERS.",
		sentence(found))
}

func sentence(s string) string { return strings.TrimRight(s, ".\n ") + "." }

// disrupted explains a pod that the cluster took away.
// https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
func disrupted(pod *corev1.Pod, c *corev1.PodCondition) Outcome {
	switch c.Reason {
	case corev1.PodReasonPreemptionByScheduler:
		return failed(ReasonPreempted, "A pod of higher priority took the agent's place. Add nodes, or give agents a higher priority.")
	case "DeletionByTaintManager", "DeletionByPodGC":
		return failed(ReasonNodeLost, "The node %s of the agent's pod is gone or does not answer. Set the label again to run anew.", pod.Spec.NodeName)
	}
	return failed(ReasonEvicted, "The agent's pod was moved off its node %s (%s): %s", pod.Spec.NodeName, c.Reason, c.Message)
}

// judgeStuck looks at a pod that has not ended: does it still make its way?
func judgeStuck(pod *corev1.Pod, now time.Time) Outcome {
	age := now.Sub(pod.CreationTimestamp.Time)
	if gone := pod.DeletionTimestamp; gone != nil {
		// A pod on a dead node stays "terminating" for ever, and its successor
		// waits for it, because of the Job's pod replacement policy.
		if now.Sub(gone.Time) > nodePatience {
			return failed(ReasonNodeLost, "The agent's pod was told to end at %s and has not: its node %s is gone or does not answer. Set the label again to run anew.", rfc3339(gone.Time), pod.Spec.NodeName)
		}
		return Outcome{State: Running}
	}
	if waiting := waitingState(pod); waiting != nil {
		switch waiting.Reason {
		case "InvalidImageName":
			return failed(ReasonImagePull, "The name of the agent's image is no valid one: %s. Correct the platform's AGENT_IMAGE.", waiting.Message)
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable":
			if age > pullPatience {
				return failed(ReasonImagePull, "The agent's image can't be pulled: %s. Check the platform's AGENT_IMAGE and the cluster's access to that registry.", waiting.Message)
			}
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			if age > podPatience {
				return failed(ReasonConfig, "The agent's container can't be created (%s): %s", waiting.Reason, waiting.Message)
			}
		}
	}
	if c := podCondition(pod, corev1.PodScheduled); c != nil && c.Reason == corev1.PodReasonUnschedulable && age > schedulePatience {
		return failed(ReasonUnschedulable, "No node has had room for the agent's pod for %s: %s. Add nodes, or give the role less CPU and memory.", schedulePatience, c.Message)
	}
	return Outcome{State: Running}
}

// judgeWithoutPod asks the recorded warnings why a Job has no pod: a refused pod
// shows nowhere else.
func judgeWithoutPod(job *batchv1.Job, warnings []corev1.Event, now time.Time) Outcome {
	if now.Sub(job.CreationTimestamp.Time) <= podPatience {
		return Outcome{State: Running}
	}
	for _, w := range warnings {
		if w.Reason != "FailedCreate" || w.InvolvedObject.Name != job.Name || w.InvolvedObject.UID != job.UID {
			continue
		}
		if IsQuota(w.Message) {
			return failed(ReasonQuota, "There is no quota left for the agent's pod: %s. Wait for other runs to end, or raise the quota.", w.Message)
		}
		return failed(ReasonConfig, "Kubernetes refuses the agent's pod: %s", w.Message)
	}
	return Outcome{State: Running}
}

// IsQuota reports whether the API server's message refuses something for want of
// quota; the status code alone (403) does not tell that from missing rights.
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

// containerStatus is that of the container on which the pod depends now: the probe
// until it has ended well, then the agent.
func containerStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	for i, c := range pod.Status.InitContainerStatuses {
		if c.Name == ProbeName && (c.State.Terminated == nil || c.State.Terminated.ExitCode != 0) {
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
	return c != nil && c.Name == ProbeName
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if c := containerStatus(pod); c != nil {
		return c.State.Terminated
	}
	return nil
}

func waitingState(pod *corev1.Pod) *corev1.ContainerStateWaiting {
	if c := containerStatus(pod); c != nil {
		return c.State.Waiting
	}
	return nil
}

func memoryLimit(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if limit := c.Resources.Limits.Memory(); c.Name == JobName && !limit.IsZero() {
			return "its limit of " + limit.String()
		}
	}
	return "it may"
}

// lastWords is the end of what the agent wrote before it ended, else otherwise.
func lastWords(pod *corev1.Pod, otherwise string) string {
	const limit = 500
	if pod == nil || terminated(pod) == nil || strings.TrimSpace(terminated(pod).Message) == "" {
		return otherwise
	}
	words := []rune(strings.TrimSpace(terminated(pod).Message))
	if len(words) > limit {
		words = append([]rune("…"), words[len(words)-limit:]...)
	}
	return string(words)
}
