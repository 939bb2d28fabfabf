package agentpod

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/reason"
)

// How long a Job that may still recover may be stuck before the run is given up. Registries have bad minutes, and
// autoscalers need some to add a node.
const (
	pullPatience     = 2 * time.Minute
	podPatience      = 2 * time.Minute
	mountPatience    = 5 * time.Minute  // the node says what it lacks
	nodePatience     = 5 * time.Minute  // the node says nothing
	schedulePatience = 10 * time.Minute // nothing has made a pod, or found it a place
	createPatience   = 15 * time.Minute // the node creates the container and does not say what takes so long
)

// freshness is how old a current warning may be: what lasts is repeated within a minute, and from the 25th time on
// within five.
// https://github.com/kubernetes/client-go/blob/v0.35.0/tools/record/events_cache.go
const freshness = 6 * time.Minute

// judgeLive looks at a pod that has not ended: is it still making progress?
func judgeLive(pod *corev1.Pod, warnings []corev1.Event, now time.Time) Outcome {
	if gone := pod.DeletionTimestamp; gone != nil {
		// A pod on a dead node stays "terminating" for ever, and its successor
		// waits for it, because of the Job's pod replacement policy.
		if now.Sub(gone.Time) > nodePatience {
			return failed(reason.NodeLost, "The agent's pod was told to end at %s and has not: its node %s is gone or does not answer. Set the label again to run anew.", rfc3339(gone.Time), pod.Spec.NodeName)
		}
		return Outcome{State: Running}
	}
	if Lingers([]corev1.Pod{*pod}) {
		if outcome, ok := judgeContainer(pod); ok {
			return outcome
		}
		return Outcome{State: Succeeded}
	}
	if outcome, ok := judgeUnplaced(pod, now); ok {
		return outcome
	}
	waited := now.Sub(since(pod))
	for _, c := range statuses(pod) {
		if c.State.Waiting == nil {
			continue
		}
		if outcome, ok := judgeWaiting(c, waited); ok {
			return outcome
		}
	}
	return judgeCreating(pod, warnings, waited, now)
}

// Lingers reports whether a Job's agent has ended while its pod goes on, because a sidecar runs in it. Such a Job gets
// no next try and does not end by itself, so it has to be stopped.
func Lingers(pods []corev1.Pod) bool {
	pod := newest(pods)
	if pod == nil || ended(pod) || pod.DeletionTimestamp != nil || terminated(pod) == nil || probing(pod) {
		return false
	}
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return !isOurs(c.Name) && c.State.Running != nil })
}

// judgeUnplaced is for a pod that has no node, or whose node has not noticed it.
func judgeUnplaced(pod *corev1.Pod, now time.Time) (Outcome, bool) {
	age := now.Sub(pod.CreationTimestamp.Time)
	c := podCondition(pod, corev1.PodScheduled)
	switch {
	case c != nil && c.Status == corev1.ConditionTrue || pod.Spec.NodeName != "":
		if len(statuses(pod)) == 0 && pod.Status.Phase == corev1.PodPending && now.Sub(since(pod)) > nodePatience {
			return failed(reason.NodeLost, "The node %s was given the agent's pod and has not begun with it for %s: is its kubelet at work? Set the label again to run anew.", pod.Spec.NodeName, nodePatience), true
		}
	case age <= schedulePatience:
	case c != nil && c.Reason == corev1.PodReasonUnschedulable:
		return failed(reason.Unschedulable, "No node has had room for the agent's pod for %s: %s. Add nodes, or give the role less CPU and memory.", schedulePatience, c.Message), true
	case len(pod.Spec.SchedulingGates) > 0:
		var gates []string
		for _, g := range pod.Spec.SchedulingGates {
			gates = append(gates, g.Name)
		}
		return failed(reason.Unschedulable, "The agent's pod has been held back for %s by %s: whoever set that scheduling gate has not lifted it.", schedulePatience, strings.Join(gates, ", ")), true
	case c != nil:
		return failed(reason.Unschedulable, "The agent's pod has had no node for %s (%s): %s", schedulePatience, c.Reason, sentence(first(c.Message, "nobody says why"))), true
	case pod.Status.Phase == corev1.PodPending:
		return failed(reason.Unschedulable, "No scheduler has looked at the agent's pod for %s: is %s at work?", schedulePatience, first(pod.Spec.SchedulerName, corev1.DefaultSchedulerName)), true
	}
	return Outcome{}, false
}

// since is when the waiting container could have started: the agent waits for the probe, and both for a node.
func since(pod *corev1.Pod) time.Time {
	at := pod.CreationTimestamp.Time
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized} {
		if c := podCondition(pod, kind); c != nil && c.Status == corev1.ConditionTrue && c.LastTransitionTime.After(at) {
			at = c.LastTransitionTime.Time
		}
	}
	return at
}

// Waits reports whether a container of the pod waits for something other than its turn.
func Waits(pod *corev1.Pod) bool {
	return slices.ContainsFunc(statuses(pod), func(c corev1.ContainerStatus) bool { return c.State.Waiting != nil && !inTurn(c.State.Waiting) })
}

func inTurn(w *corev1.ContainerStateWaiting) bool {
	return w.Reason == "" || w.Reason == "ContainerCreating" || w.Reason == "PodInitializing"
}

// pulling are the reasons why a container waits for its image, with what the registry said.
// https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/images/types.go
var pulling = []string{"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed"}

// judgeWaiting is for a container that the node can't start, ours or not: the agent waits for those that the cluster
// put before it.
// https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/kubelet/container/sync_result.go
func judgeWaiting(c corev1.ContainerStatus, waited time.Duration) (Outcome, bool) {
	why, message := c.State.Waiting.Reason, strings.TrimSuffix(c.State.Waiting.Message, ".")
	pull := slices.Contains(pulling, why)
	switch {
	case inTurn(c.State.Waiting):
		return Outcome{}, false
	case why == "InvalidImageName" || why == "ErrImageNeverPull" || pull && pullRefused(message):
	case pull && waited <= pullPatience || waited <= podPatience:
		return Outcome{}, false
	}
	switch {
	case !isOurs(c.Name):
		if t := c.LastTerminationState.Terminated; t != nil {
			message = first(strings.TrimSuffix(tail(t.Message), "."), fmt.Sprintf("%s, exit code %d", t.Reason, t.ExitCode))
		}
		return failed(reason.SidecarFailed, "The container %s, which the cluster put into the agent's pod, does not come up (%s): %s. Keep it out of the namespaces of runs, or mend it.", c.Name, why, message), true
	case why == "InvalidImageName":
		return failed(reason.ImagePull, "The name of the agent's image is not valid: %s. Correct the platform's AGENT_IMAGE.", message), true
	case pull || why == "ErrImageNeverPull":
		return failed(reason.ImagePull, "The agent's image can't be pulled: %s. Check the platform's AGENT_IMAGE and the cluster's access to that registry.", message), true
	}
	return failed(reason.ConfigError, "The agent's container can't be created (%s): %s", why, message), true
}

// pullRefused reports whether a registry will give the same answer again. It may not if it is away, slow, or had too
// many requests, or if the node has lost a part of what it pulled.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
func pullRefused(message string) bool {
	message = strings.ToLower(withoutNames(message))
	return !pullPasses.MatchString(message) && slices.ContainsFunc([]string{
		"not found", "manifest unknown", "name unknown", "name invalid", "does not exist", "denied", "unauthorized", "authentication required",
		"no basic auth credentials", "forbidden", "no match for platform", "no matching manifest", "invalid reference",
	}, func(s string) bool { return strings.Contains(message, s) })
}

var pullPasses = regexp.MustCompile(`toomanyrequests|\b429\b|\bdial\b|\blookup\b|\bsnapshot\b`)

// names are what somebody chose, which may hold any word or number: quoted texts, images, URLs, paths, digests.
var names = regexp.MustCompile(`"[^"]*"|\S*/\S*|\bsha256:[0-9a-f]+`)

func withoutNames(message string) string { return names.ReplaceAllString(message, "…") }

// judgeCreating is for a container that the node has been creating for long. Only the warnings say what is missing: a
// volume, the network.
func judgeCreating(pod *corev1.Pod, warnings []corev1.Event, waited time.Duration, now time.Time) Outcome {
	c := containerStatus(pod)
	if c == nil || c.State.Waiting == nil || waited <= mountPatience {
		return Outcome{State: Running}
	}
	w := latest(warnings, now, func(w corev1.Event) bool {
		return w.InvolvedObject.UID == pod.UID && slices.Contains([]string{
			"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "FailedCreatePodContainer", "NetworkNotReady",
		}, w.Reason)
	})
	switch {
	case w != nil:
		return failed(reason.NotStarted, "The node %s has not been able to start the agent's pod for %s (%s): %s", pod.Spec.NodeName, mountPatience, w.Reason, sentence(tail(w.Message)))
	case waited > createPatience:
		return failed(reason.NotStarted, "The node %s has been creating the agent's pod for %s and does not say what it waits for. Look at its kubelet, and at the pull of the image.", pod.Spec.NodeName, createPatience)
	}
	return Outcome{State: Running}
}

// judgeWithoutPod is for a Job that has no pod, or whose last one has ended: will there be another? Only the recorded
// warnings show a refused pod.
func judgeWithoutPod(job *batchv1.Job, last *corev1.Pod, warnings []corev1.Event, now time.Time) Outcome {
	from := job.CreationTimestamp.Time
	if last != nil && last.CreationTimestamp.After(from) {
		from = last.CreationTimestamp.Time
	}
	w := latest(warnings, now, func(w corev1.Event) bool {
		return w.Reason == "FailedCreate" && w.InvolvedObject.UID == job.UID && !saidAt(w, now).Before(from)
	})
	long := now.Sub(from) > schedulePatience && last == nil
	switch {
	case w != nil && IsQuota(w.Message):
		return failed(reason.QuotaExceeded, "There is no quota left for the agent's pod: %s. Wait for other runs to end, or raise the quota.", w.Message)
	case w != nil && refusedForGood(w.Message):
		return failed(reason.ConfigError, "Kubernetes refuses the agent's pod: %s", w.Message)
	case w != nil && long:
		return failed(reason.ConfigError, "Kubernetes has not been able to make the agent's pod for %s: %s", schedulePatience, sentence(w.Message))
	case job.Spec.Suspend != nil && *job.Spec.Suspend && long:
		return failed(reason.Unschedulable, "The agent's Job has been suspended for %s, and not by the platform: look at who queues Jobs in this cluster.", schedulePatience)
	case now.Sub(from) > createPatience && last == nil && !slices.ContainsFunc(warnings, func(w corev1.Event) bool { return w.InvolvedObject.UID == job.UID }):
		return failed(reason.ConfigError, "Nobody has made a pod of the agent's Job for %s: is the cluster's controller manager at work?", createPatience)
	}
	return Outcome{State: Running}
}

// refusedForGood tells what the API server will always say about the same pod from what passes: a webhook that is away,
// or can't reach what it needs, a quota or an account that it does not know yet.
func refusedForGood(message string) bool {
	message = withoutNames(message)
	return !refusalPasses.MatchString(message) && slices.ContainsFunc([]string{" is forbidden: ", " is invalid: ", " denied the request", "denied request"},
		func(s string) bool { return strings.Contains(message, s) })
}

var refusalPasses = regexp.MustCompile(`status unknown for quota|error looking up service account|being terminated|object has been modified|` +
	`not yet ready to handle request|caches not synchronized|etcdserver: |timed out|deadline exceeded|connection (?:refused|reset)|\bdial tcp\b|too many requests`)

// latest is the newest current warning of a kind.
func latest(warnings []corev1.Event, now time.Time, of func(corev1.Event) bool) *corev1.Event {
	var last *corev1.Event
	for i, w := range warnings {
		at := saidAt(w, now)
		if of(w) && now.Sub(at) <= freshness && (last == nil || at.After(saidAt(*last, now))) {
			last = &warnings[i]
		}
	}
	return last
}

// saidAt is when an event was last recorded; which of its times are set depends on who recorded it. Without any it
// counts as current.
func saidAt(e corev1.Event, now time.Time) time.Time {
	at := e.CreationTimestamp.Time
	for _, t := range []metav1.Time{e.FirstTimestamp, e.LastTimestamp, metav1.Time(e.EventTime)} {
		if t.After(at) {
			at = t.Time
		}
	}
	if e.Series != nil && e.Series.LastObservedTime.After(at) {
		at = e.Series.LastObservedTime.Time
	}
	if at.IsZero() {
		return now
	}
	return at
}
