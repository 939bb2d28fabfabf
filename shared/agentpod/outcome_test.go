package agentpod_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func job(age time.Duration, conditions ...batchv1.JobCondition) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "codexk8s-run-7f1c8f5e3b57", UID: "job-uid", CreationTimestamp: ago(age)},
		Status:     batchv1.JobStatus{Conditions: conditions, Failed: 3},
	}
}

func jobCondition(kind batchv1.JobConditionType, reason, message string) batchv1.JobCondition {
	return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message}
}

// Conditions as the Job controller of Kubernetes 1.35 writes them.
var (
	complete    = jobCondition(batchv1.JobComplete, "CompletionsReached", "Reached expected number of succeeded pods")
	backoff     = jobCondition(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
	overdue     = jobCondition(batchv1.JobFailed, "DeadlineExceeded", "Job was active longer than specified deadline")
	notIsolated = jobCondition(batchv1.JobFailed, "PodFailurePolicy", "Container probe for pod codexk8s-run-7f1c8f5e3b57/agent-x7k2p failed with exit code 42 matching FailJob rule at index 1")
	policy      = jobCondition(batchv1.JobFailed, "PodFailurePolicy", "Container agent for pod codexk8s-run-7f1c8f5e3b57/agent-x7k2p failed with exit code 42 matching FailJob rule at index 1")
)

// pod is one of the Job's, a minute younger than age says for each index.
func pod(age time.Duration, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-x7k2p", CreationTimestamp: ago(age)},
		Spec: corev1.PodSpec{NodeName: "node-3", Containers: []corev1.Container{{
			Name:      "agent",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")}},
		}}},
	}
	change(&p)
	return p
}

func exited(code int32, reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodFailed
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message},
		}}}
	}
}

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}}
	}
}

// probed is a pod whose probe ended, or waits; the agent's own container waits for it.
func probed(state corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		waiting("PodInitializing", "")(p)
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "probe", State: state}}
	}
}

func probeExited(code int32, message string) func(*corev1.Pod) {
	return probed(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", Message: message}})
}

func disrupted(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodFailed
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message}}
	}
}

func warning(reason, message string) corev1.Event {
	return corev1.Event{
		Type: corev1.EventTypeWarning, Reason: reason, Message: message,
		InvolvedObject: corev1.ObjectReference{Kind: "Job", Name: "agent", UID: "job-uid"},
	}
}

func TestJudge(t *testing.T) {
	const closeIt = "Let the cluster's network plugin enforce NetworkPolicy, for IPv6 too; what is allowed is agent-launcher's GIT_CIDRS, GATEWAY_PEERS and DNS_PEERS."
	const pull = `Back-off pulling image "registry.example/agent-runner:v9": ErrImagePull: not found`
	type outcome = agentpod.Outcome
	running := outcome{State: agentpod.Running}
	failed := func(reason, message string) outcome {
		return outcome{State: agentpod.Failed, Reason: reason, Message: message}
	}
	for name, test := range map[string]struct {
		job      *batchv1.Job
		pods     []corev1.Pod
		warnings []corev1.Event
		want     outcome
	}{
		"just created": {job: job(0), want: running},
		"not isolated": {
			job:  job(time.Minute, notIsolated),
			pods: []corev1.Pod{pod(time.Minute, probeExited(42, "reachable: 169.254.169.254:80\n"))},
			want: failed("isolation_broken", "The run's namespace is not isolated, so its agent was not started: reachable: 169.254.169.254:80. "+closeIt),
		},
		"not isolated, pod gone": {
			job:  job(time.Minute, notIsolated),
			want: failed("isolation_broken", "The run's namespace is not isolated, so its agent was not started: "+notIsolated.Message+". "+closeIt),
		},
		"isolated too well": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, probeExited(1, "no answer from http://agent-gateway"))},
			want: failed("gateway_unreachable", "The run's pod can't work from its namespace, so its agent was not started: no answer from http://agent-gateway. Check the platform's GATEWAY_PEERS, GATEWAY_PORTS and DNS_PEERS, and that agent-gateway and llm-caller are ready."),
		},
		"isolated, and the agent can't do it": {
			job: job(time.Minute, policy),
			pods: []corev1.Pod{pod(time.Minute, func(p *corev1.Pod) {
				probeExited(0, "")(p)
				exited(42, "Error", "repository_access")(p)
			})},
			want: failed("precondition", "The agent can't do this run, and trying again would not help: repository_access"),
		},
		"image can't be pulled for the probe": {
			job:  job(time.Hour),
			pods: []corev1.Pod{pod(time.Hour, probed(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: pull}}))},
			want: failed("image_pull", "The agent's image can't be pulled: "+pull+". Check the platform's AGENT_IMAGE and the cluster's access to that registry."),
		},
		"probing": {
			job:  job(time.Minute),
			pods: []corev1.Pod{pod(time.Minute, probed(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}))},
			want: running,
		},
		"complete": {job: job(time.Hour, complete), want: outcome{State: agentpod.Succeeded}},
		"complete after two failures": {
			job:  job(time.Hour, jobCondition(batchv1.JobSuccessCriteriaMet, "CompletionsReached", ""), complete),
			pods: []corev1.Pod{pod(time.Hour, exited(1, "Error", "lost"))},
			want: outcome{State: agentpod.Succeeded},
		},
		"failing, pods still terminating": {
			job:  job(time.Hour, jobCondition(batchv1.JobFailureTarget, "DeadlineExceeded", "")),
			pods: []corev1.Pod{pod(time.Hour, func(p *corev1.Pod) { d := ago(10 * time.Second); p.DeletionTimestamp = &d })},
			want: running,
		},
		"condition taken back": {
			job:  job(time.Hour, batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionFalse}),
			pods: []corev1.Pod{pod(time.Hour, func(*corev1.Pod) {})},
			want: running,
		},
		"deadline": {
			job: job(time.Hour, overdue),
			want: failed("deadline_exceeded",
				"The run's time was up and its pod was stopped. Raise the role's deadline, or make the issue smaller."),
		},
		"precondition": {
			job:  job(time.Minute, policy),
			pods: []corev1.Pod{pod(time.Minute, exited(42, "Error", "the repository can't be read: 404\n"))},
			want: failed("precondition", "The agent can't do this run, and trying again would not help: the repository can't be read: 404"),
		},
		"precondition, pod gone": {
			job:  job(time.Minute, policy),
			want: failed("precondition", "The agent can't do this run, and trying again would not help: "+policy.Message),
		},
		"out of memory": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Hour, exited(1, "Error", "an older try")), pod(time.Minute, exited(137, "OOMKilled", ""))},
			want: failed("oom_killed",
				"The agent used more memory than its limit of 4Gi and was killed. Give the role more memory, or let it run fewer things at once."),
		},
		"agent error": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, exited(3, "Error", "codex: stream closed"))},
			want: failed("agent_error", "The agent ended with exit code 3: codex: stream closed"),
		},
		"agent error without words": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, exited(137, "Error", ""))},
			want: failed("agent_error", "The agent ended with exit code 137: Error. It was killed (SIGKILL), but not for its own memory limit: "+
				"its node node-3 may be short of memory. Look at the node's events, then set the label again to run anew."),
		},
		"failed, pods gone": {
			job: job(time.Hour, backoff),
			want: failed("agent_error",
				"The agent failed 3 times: Job has reached the specified backoff limit. The run's log has more, if the agent got as far as writing one."),
		},
		"image without a program": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, exited(128, "StartError", `exec: "/ko-app/agent-runner": no such file`))},
			want: failed("config_error", `The agent's container could not be started: exec: "/ko-app/agent-runner": no such file. Look at the agent's image.`),
		},
		"evicted by the node": {
			job: job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, func(p *corev1.Pod) {
				p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
				p.Status.Message = `Usage of EmptyDir volume "work" exceeds the limit "10Gi".`
			})},
			want: failed("evicted", `The node evicted the agent's pod: Usage of EmptyDir volume "work" exceeds the limit "10Gi".`),
		},
		"drained": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, disrupted("EvictionByEvictionAPI", "Eviction API: evicting"))},
			want: failed("evicted", "The agent's pod was moved off its node node-3 (EvictionByEvictionAPI): Eviction API: evicting"),
		},
		"preempted": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"))},
			want: failed("preempted", "A pod of higher priority took the agent's place. Add nodes, or give agents a higher priority."),
		},
		"node lost": {
			job:  job(time.Hour, backoff),
			pods: []corev1.Pod{pod(time.Minute, disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"))},
			want: failed("node_lost", "The node node-3 of the agent's pod is gone or does not answer. Set the label again to run anew."),
		},
		"terminating for ever": {
			job: job(time.Hour),
			pods: []corev1.Pod{pod(time.Hour, func(p *corev1.Pod) {
				d := ago(6 * time.Minute)
				p.DeletionTimestamp = &d
			})},
			want: failed("node_lost",
				"The agent's pod was told to end at 2026-11-23T09:54:00Z and has not: its node node-3 is gone or does not answer. Set the label again to run anew."),
		},
		"image being pulled": {job: job(time.Hour), pods: []corev1.Pod{pod(14*time.Minute, waiting("ContainerCreating", ""))}, want: running},
		"image pull": {
			job:  job(time.Second),
			pods: []corev1.Pod{pod(time.Second, waiting("ImagePullBackOff", pull))},
			want: failed("image_pull", "The agent's image can't be pulled: "+pull+". Check the platform's AGENT_IMAGE and the cluster's access to that registry."),
		},
		"image name": {
			job:  job(time.Second),
			pods: []corev1.Pod{pod(time.Second, waiting("InvalidImageName", `couldn't parse image name "ko://x"`))},
			want: failed("image_pull", `The name of the agent's image is not valid: couldn't parse image name "ko://x". Correct the platform's AGENT_IMAGE.`),
		},
		"missing secret": {
			job:  job(3 * time.Minute),
			pods: []corev1.Pod{pod(3*time.Minute, waiting("CreateContainerConfigError", `secret "run" not found`))},
			want: failed("config_error", `The agent's container can't be created (CreateContainerConfigError): secret "run" not found`),
		},
		"no room yet": {job: job(3 * time.Minute), pods: []corev1.Pod{pod(3*time.Minute, unschedulable)}, want: running},
		"no room": {
			job:  job(time.Hour),
			pods: []corev1.Pod{pod(11*time.Minute, unschedulable)},
			want: failed("unschedulable",
				"No node has had room for the agent's pod for 10m0s: 0/3 nodes are available: 3 Insufficient memory. Add nodes, or give the role less CPU and memory."),
		},
		"quota": {
			job:      job(3 * time.Minute),
			warnings: []corev1.Event{warning("Other", "x"), warning("FailedCreate", `pods "agent-x" is forbidden: exceeded quota: run, requested: pods=1, used: pods=10, limited: pods=10`)},
			want: failed("quota_exceeded",
				`There is no quota left for the agent's pod: pods "agent-x" is forbidden: exceeded quota: run, requested: pods=1, used: pods=10, limited: pods=10. Wait for other runs to end, or raise the quota.`),
		},
		"pod refused": {
			job:      job(3 * time.Minute),
			warnings: []corev1.Event{warning("FailedCreate", `pods "agent-x" is forbidden: violates PodSecurity "restricted:latest"`)},
			want:     failed("config_error", `Kubernetes refuses the agent's pod: pods "agent-x" is forbidden: violates PodSecurity "restricted:latest"`),
		},
		"a warning about another Job": {
			job:      job(3 * time.Minute),
			warnings: []corev1.Event{{Reason: "FailedCreate", Message: "exceeded quota", InvolvedObject: corev1.ObjectReference{Name: "agent", UID: "former"}}},
			want:     running,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := agentpod.Judge(test.job, test.pods, test.warnings, now)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Judge (-want +got):\n%s", diff)
			}
		})
	}
}

func unschedulable(p *corev1.Pod) {
	p.Spec.NodeName = ""
	p.Status.Phase = corev1.PodPending
	p.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable",
		Message: "0/3 nodes are available: 3 Insufficient memory",
	}}
}
