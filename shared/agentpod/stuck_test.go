package agentpod_test

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"codexk8s.dev/shared/agentpod"
)

type change = func(*corev1.Pod)

// ends is a pod that the kubelet ended by itself, with no word of a container.
func ends(reason, message string) change {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, reason, message
	}
}

// beside adds a container that the cluster put into the pod and that runs.
func beside(f change) change {
	return func(p *corev1.Pod) {
		f(p)
		p.Status.Phase = corev1.PodRunning
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: "istio-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
}

// behind makes the agent wait for an initial container that the cluster put into the pod.
func behind(state, last corev1.ContainerState) change {
	return func(p *corev1.Pod) {
		waiting("PodInitializing", "")(p)
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: state, LastTerminationState: last}}
	}
}

func ended(code int32, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", Message: message}}
}

func waits(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// held is a pod without a node.
func held(reason, message string, gates ...string) change {
	return func(p *corev1.Pod) {
		p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending
		if reason != "" {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message}}
		}
		for _, g := range gates {
			p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: g})
		}
	}
}

// placed is a pod that got its node so long ago.
func placed(d time.Duration, f change) change {
	return func(p *corev1.Pod) {
		p.UID, p.Status.Phase = "pod-uid", corev1.PodPending
		f(p)
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: ago(d)})
	}
}

// said is a warning of so long ago about what has the UID.
func said(uid types.UID, age time.Duration, reason, message string) corev1.Event {
	return corev1.Event{Type: corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: ago(age), InvolvedObject: corev1.ObjectReference{UID: uid}}
}

func refused(age time.Duration, message string) corev1.Event {
	return said("job-uid", age, "FailedCreate", "Error creating: "+message)
}

// TestJudgePods: pods as clusters have them. Each has its true reason, with the words of whoever knows, as soon as it
// can't come right by itself, and not before.
func TestJudgePods(t *testing.T) {
	const (
		timedOut = `Internal error occurred: failed calling webhook "mutate.example": failed to call webhook: Post "https://hook": context deadline exceeded`
		quota    = `pods "agent-x" is forbidden: exceeded quota: run, requested: pods=1, used: pods=1, limited: pods=1`
		security = `pods "agent-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`
		creating = 30 * time.Minute
	)
	suspended := job(time.Hour)
	suspended.Spec.Suspend = new(bool)
	*suspended.Spec.Suspend = true
	work := func(*corev1.Pod) {}
	for name, test := range map[string]struct {
		job    *batchv1.Job // nil: at work for an hour
		age    time.Duration
		pod    change // nil: none
		told   []corev1.Event
		reason string // "" = it goes on, "succeeded"
		says   string
	}{
		"sidecar runs on, agent done":          {pod: beside(exited(0, "Completed", "")), reason: "succeeded"},
		"sidecar runs on, agent can't":         {pod: beside(exited(42, "Error", "no such branch")), reason: "precondition", says: "no such branch"},
		"sidecar runs on, agent failed":        {pod: beside(exited(3, "Error", "stream closed")), reason: "agent_error", says: "exit code 3: stream closed"},
		"sidecar runs on, agent out of memory": {pod: beside(exited(137, "OOMKilled", "")), reason: "oom_killed", says: "4Gi"},
		"sidecar beside an agent at work":      {pod: beside(work)},
		"agent ended, phase not told yet":      {pod: func(p *corev1.Pod) { exited(1, "Error", "x")(p); p.Status.Phase = corev1.PodRunning }},

		"mesh init fails, first minute": {age: time.Minute, pod: behind(waits("CrashLoopBackOff", "back-off 10s"), ended(1, "iptables"))},
		"mesh init fails again, again":  {pod: behind(waits("CrashLoopBackOff", "back-off 5m0s restarting failed container"), ended(1, "iptables: Permission denied")), reason: "sidecar_failed", says: "mesh-init, which the cluster put into the agent's pod, does not come up (CrashLoopBackOff): iptables: Permission denied."},
		"mesh image can't be pulled":    {age: time.Second, pod: behind(waits("ImagePullBackOff", "manifest unknown"), corev1.ContainerState{}), reason: "sidecar_failed", says: "manifest unknown"},
		"mesh init ended the pod":       {job: job(time.Hour, backoff), pod: func(p *corev1.Pod) { behind(ended(1, "no route"), ended(1, ""))(p); p.Status.Phase = corev1.PodFailed }, reason: "sidecar_failed", says: "mesh-init, which the cluster put into the agent's pod, ended with exit code 1: no route."},

		"memory is gone at admission":    {job: job(time.Hour, backoff), pod: ends("OutOfmemory", "Node didn't have enough resource: memory, requested: 1073741824, used: 0, capacity: 0"), reason: "node_rejected", says: "(OutOfmemory): Node didn't have enough resource: memory"},
		"CPU is gone at admission":       {job: job(time.Hour, backoff), pod: ends("OutOfcpu", "Node didn't have enough resource: cpu"), reason: "node_rejected", says: "resource: cpu"},
		"labels of the node changed":     {job: job(time.Hour, backoff), pod: ends("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"), reason: "node_rejected", says: "Predicate NodeAffinity failed"},
		"device plugin is gone":          {job: job(time.Hour, backoff), pod: ends("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present"), reason: "node_rejected", says: "no healthy devices"},
		"kubelet says only the reason":   {job: job(time.Hour, backoff), pod: ends("TopologyAffinityError", ""), reason: "node_rejected", says: "TopologyAffinityError"},
		"node does not know its end":     {job: job(time.Hour, backoff), pod: ends("ContainerStatusUnknown", "because"), reason: "node_lost"},
		"critical pod took the place":    {job: job(time.Hour, backoff), pod: ends("Preempting", "Preempted in order to admit critical pod"), reason: "preempted", says: "Preempted in order to admit critical pod."},
		"node shut down":                 {job: job(time.Hour, backoff), pod: ends("Terminated", "Pod was terminated in response to imminent node shutdown."), reason: "node_shutdown", says: "node-3 was shut down: Pod was terminated"},
		"node shutting down took no pod": {job: job(time.Hour, backoff), pod: ends("NodeShutdown", "Pod was rejected as the node is shutting down."), reason: "node_shutdown", says: "rejected as the node is shutting down"},
		"node shut down, with a condition": {job: job(time.Hour, backoff), pod: func(p *corev1.Pod) {
			disrupted("TerminationByKubelet", "")(p)
			ends("Terminated", "imminent node shutdown")(p)
		}, reason: "node_shutdown"},
		"kubelet ended it, no more known": {job: job(time.Hour, backoff), pod: disrupted("TerminationByKubelet", "The node was low on resource: memory"), reason: "evicted", says: "low on resource: memory"},
		"taint":                           {job: job(time.Hour, backoff), pod: disrupted("DeletionByTaintManager", "x"), reason: "node_lost"},
		"node came back without it":       {job: job(time.Hour, backoff), pod: exited(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated"), reason: "node_lost"},
		"out of memory, and yet done":     {job: job(time.Hour, complete), pod: exited(0, "OOMKilled", ""), reason: "succeeded"},

		"gate, for a while":         {age: 9 * time.Minute, pod: held("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", "example.com/review")},
		"gate, for good":            {age: creating, pod: held("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", "example.com/review"), reason: "unschedulable", says: "example.com/review"},
		"no scheduler":              {age: creating, pod: held("", ""), reason: "unschedulable", says: "default-scheduler"},
		"scheduler in trouble":      {age: creating, pod: held("SchedulerError", "running Bind plugin: timeout"), reason: "unschedulable", says: "Bind plugin"},
		"kubelet is silent":         {age: creating, pod: placed(6*time.Minute, work), reason: "node_lost", says: "node-3 was given the agent's pod and has not begun"},
		"kubelet has got it now":    {age: creating, pod: placed(time.Minute, work)},
		"creating, for a while":     {pod: placed(6*time.Minute, waiting("ContainerCreating", ""))},
		"creating, for good":        {pod: placed(creating, waiting("ContainerCreating", "")), reason: "not_started", says: "does not say what it waits for"},
		"volume is missing":         {pod: placed(6*time.Minute, waiting("ContainerCreating", "")), told: []corev1.Event{said("pod-uid", time.Minute, "FailedMount", `MountVolume.SetUp failed for volume "run": secret "run" not found`)}, reason: "not_started", says: `(FailedMount): MountVolume.SetUp failed for volume "run": secret "run" not found.`},
		"volume was missing":        {pod: placed(7*time.Minute, waiting("ContainerCreating", "")), told: []corev1.Event{said("pod-uid", 7*time.Minute, "FailedMount", "x")}},
		"another's volume":          {pod: placed(6*time.Minute, waiting("ContainerCreating", "")), told: []corev1.Event{said("other", time.Minute, "FailedMount", "x")}},
		"no addresses":              {pod: placed(6*time.Minute, waiting("PodInitializing", "")), told: []corev1.Event{said("pod-uid", time.Minute, "FailedCreatePodSandBox", "failed to assign an IP address")}, reason: "not_started", says: "failed to assign an IP address"},
		"registry is slow":          {pod: placed(time.Minute, waiting("ErrImagePull", "dial tcp: i/o timeout"))},
		"registry is away":          {pod: placed(3*time.Minute, waiting("ErrImagePull", "dial tcp: i/o timeout")), reason: "image_pull", says: "i/o timeout"},
		"registry is full":          {pod: placed(time.Second, waiting("ErrImagePull", "429 Too Many Requests: toomanyrequests: unauthorized pull rate limit"))},
		"registry refuses":          {pod: placed(time.Second, waiting("ErrImagePull", "failed to authorize: 401 Unauthorized")), reason: "image_pull", says: "Unauthorized"},
		"digest of 429":             {pod: placed(time.Second, waiting("ErrImagePull", `failed to resolve reference "r/a@sha256:4429b0": r/a@sha256:4429b0: not found`)), reason: "image_pull"},
		"content is gone":           {pod: placed(time.Second, waiting("ErrImagePull", "httpReadSeeker: failed open: content at https://r/v2/a/blobs/sha256:aa not found: not found")), reason: "image_pull"},
		"snapshot is gone":          {pod: placed(time.Second, waiting("ErrImagePull", `failed to prepare extraction snapshot "extract-1": parent snapshot sha256:aa does not exist: not found`))},
		"token's host is not found": {pod: placed(time.Second, waiting("ErrImagePull", `failed to fetch oauth token: Post "https://auth/token": dial tcp: lookup auth: host not found`))},
		"network forbids":           {pod: placed(time.Second, waiting("ErrImagePull", `Head "https://r/v2/": dial tcp 10.0.0.1:443: connect: permission denied`))},
		"odd name of a proxy":       {pod: placed(time.Second, waiting("ErrImagePull", "proxyconnect tcp: dial tcp: lookup denied.proxy.corp on 10.0.0.10:53: server misbehaving"))},
		"odd name of an image":      {pod: placed(time.Second, waiting("ErrImagePull", `failed to pull "r/denied/forbidden:1": r/denied/forbidden:1: 503 Service Unavailable`))},
		"image of another platform": {pod: placed(time.Second, waiting("ImagePullBackOff", "no match for platform in manifest")), reason: "image_pull"},
		"image may not be pulled":   {pod: placed(time.Second, waiting("ErrImageNeverPull", "not present with pull policy of Never")), reason: "image_pull"},
		"waited long for its node":  {pod: placed(time.Second, waiting("CreateContainerConfigError", `secret "run" not found`))},
		"new reason of a kubelet":   {pod: placed(3*time.Minute, waiting("SomethingNewError", "oh")), reason: "config_error", says: "SomethingNewError"},

		"quota, at once":                      {job: job(time.Second), told: []corev1.Event{refused(time.Second, quota)}, reason: "quota_exceeded", says: "exceeded quota: run"},
		"quota, that was":                     {told: []corev1.Event{refused(59*time.Minute, quota)}},
		"policy, at once":                     {job: job(time.Second), told: []corev1.Event{refused(0, security)}, reason: "config_error", says: "runAsNonRoot"},
		"policy of a webhook":                 {job: job(time.Second), told: []corev1.Event{refused(0, `admission webhook "validate.example" denied the request: images must be signed`)}, reason: "config_error", says: "images must be signed"},
		"invalid":                             {job: job(time.Second), told: []corev1.Event{refused(0, `Pod "agent-x" is invalid: spec.runtimeClassName: Invalid value`)}, reason: "config_error"},
		"webhook timed out once":              {job: job(3 * time.Minute), told: []corev1.Event{refused(3*time.Minute, timedOut)}},
		"webhook is away":                     {job: job(9 * time.Minute), told: []corev1.Event{refused(time.Second, timedOut)}},
		"webhook stays away":                  {job: job(11 * time.Minute), told: []corev1.Event{refused(time.Second, timedOut)}, reason: "config_error", says: "context deadline exceeded"},
		"quota not known yet":                 {job: job(time.Second), told: []corev1.Event{refused(0, `pods "agent-x" is forbidden: status unknown for quota: run, resources: pods`)}},
		"account not known yet":               {job: job(time.Second), told: []corev1.Event{refused(0, `pods "agent-" is forbidden: error looking up service account n/agent: serviceaccount "agent" not found`)}},
		"caches are empty":                    {job: job(time.Second), told: []corev1.Event{refused(0, `pods "agent-x" is forbidden: caches not synchronized`)}},
		"webhook's store timed out":           {job: job(time.Second), told: []corev1.Event{refused(0, `admission webhook "x" denied the request: failed to get policy: etcdserver: request timed out`)}},
		"quota, for the second pod":           {age: 5 * time.Minute, pod: exited(1, "Error", "x"), told: []corev1.Event{refused(time.Second, quota)}, reason: "quota_exceeded"},
		"quota, before the pod":               {age: time.Minute, pod: exited(1, "Error", "x"), told: []corev1.Event{refused(2*time.Minute, quota)}},
		"between two pods":                    {age: 5 * time.Minute, pod: exited(1, "Error", "x")},
		"the last word counts":                {job: job(5 * time.Minute), told: []corev1.Event{refused(2*time.Minute, timedOut), refused(time.Minute, security)}, reason: "config_error", says: "violates"},
		"Job held back":                       {job: suspended, reason: "unschedulable", says: "suspended"},
		"nobody makes pods":                   {job: job(16 * time.Minute), reason: "config_error", says: "controller manager"},
		"the API server's clock is behind us": {job: job(-5 * time.Minute), age: -5 * time.Minute, pod: waiting("ErrImagePull", "i/o timeout")},
	} {
		t.Run(name, func(t *testing.T) {
			if test.job == nil {
				test.job = job(time.Hour)
			}
			var pods []corev1.Pod
			if test.pod != nil {
				if test.age == 0 {
					test.age = time.Hour
				}
				pods = []corev1.Pod{pod(test.age, test.pod)}
			}
			got := agentpod.Judge(test.job, pods, test.told, now)
			want := map[string]agentpod.State{"": agentpod.Running, "succeeded": agentpod.Succeeded}[test.reason]
			if want == "" {
				want = agentpod.Failed
			}
			if got.State != want || want == agentpod.Failed && got.Reason != test.reason || !strings.Contains(got.Message, test.says) {
				t.Errorf("judged %q (%s: %s), want %q with %q", got.State, got.Reason, got.Message, test.reason, test.says)
			}
			if lingers := strings.HasPrefix(name, "sidecar runs on"); lingers != agentpod.Lingers(pods) {
				t.Errorf("it lingers: %t, want %t", !lingers, lingers)
			}
		})
	}
}
