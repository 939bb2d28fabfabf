package agentpod

import (
	"maps"
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/exitcode"
)

// user is the non-root user of ko's and distroless' images.
const user = 65532

// Where the pod's writable volumes are; everything else is read-only.
const (
	workDir = "/work"
	homeDir = "/home/agent"
	tmpDir  = "/tmp"
)

func job(meta metav1.ObjectMeta, r events.AgentRequested, p Platform, s Size, now time.Time) *batchv1.Job {
	backoffLimit, parallelism := int32(2), int32(1)
	deadline := int64(math.Ceil(r.Deadline.Sub(now).Seconds()))
	ttl := int32(p.JobTTL.Seconds())
	replacement := batchv1.Failed
	template := meta.DeepCopy()
	template.Name, template.Namespace = "", ""
	template.Labels[labelName] = JobName
	// A pod moved to empty a node would start over from its last snapshot, which is never worth it.
	template.Annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "false"
	maps.Copy(template.Labels, noMeshLabels)
	maps.Copy(template.Annotations, noMeshAnnotations)
	return &batchv1.Job{
		ObjectMeta: meta,
		Spec: batchv1.JobSpec{
			Parallelism:             &parallelism,
			Completions:             &parallelism,
			BackoffLimit:            &backoffLimit,
			ActiveDeadlineSeconds:   &deadline,
			TTLSecondsAfterFinished: &ttl,
			// A successor starts only when its predecessor is gone, so two agents never push to the same branch.
			PodReplacementPolicy: &replacement,
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
				{
					// What the cluster does (drain, preemption, eviction) isn't the agent's failure. This rule comes
					// first, because a pod that is told to go may end with any code.
					Action:          batchv1.PodFailurePolicyActionIgnore,
					OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
				},
				{
					// For the probe as well as the agent.
					Action: batchv1.PodFailurePolicyActionFailJob,
					OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
						Operator: batchv1.PodFailurePolicyOnExitCodesOpIn,
						Values:   []int32{exitcode.Never},
					},
				},
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: *template, Spec: podSpec(r, p, s)},
		},
	}
}

// A service mesh's sidecar would keep running after the agent, so that its pod never ends, and its proxy would bypass
// what the network policies and the probe cover.
// https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
// https://linkerd.io/2/features/proxy-injection/
// https://kuma.io/docs/latest/production/dp-config/dpp-on-kubernetes/
// https://developer.hashicorp.com/consul/docs/reference/k8s/annotation-label
var (
	noMeshLabels      = map[string]string{"sidecar.istio.io/inject": "false", "kuma.io/sidecar-injection": "disabled"}
	noMeshAnnotations = map[string]string{
		"sidecar.istio.io/inject":              "false", // of Istio before 1.10
		"linkerd.io/inject":                    "disabled",
		"consul.hashicorp.com/connect-inject":  "false",
		"openservicemesh.io/sidecar-injection": "disabled",
	}
)

func podSpec(r events.AgentRequested, p Platform, s Size) corev1.PodSpec {
	no, yes, id := false, true, int64(user)
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		ServiceAccountName:            JobName,
		AutomountServiceAccountToken:  &no,
		EnableServiceLinks:            &no,
		TerminationGracePeriodSeconds: ptr(int64(p.Grace.Seconds())),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   &yes,
			RunAsUser:      &id,
			RunAsGroup:     &id,
			FSGroup:        &id,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{emptyDir("work", "10Gi"), emptyDir("home", "2Gi"), emptyDir("tmp", "2Gi")},
		Containers: []corev1.Container{{
			Name:  JobName,
			Image: p.Image,
			Env: []corev1.EnvVar{
				{Name: "RUN_ID", Value: r.RunID},
				{Name: "AGENT_GATEWAY_URL", Value: p.GatewayURL},
				{Name: "LLM_URL", Value: p.LLMURL},
				{Name: TokenKey, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: SecretName}, Key: TokenKey,
				}}},
				{Name: "WORK_DIR", Value: workDir},
				{Name: "HOME", Value: homeDir},
			},
			Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{
					corev1.ResourceCPU:              s.CPU,
					corev1.ResourceMemory:           s.Memory,
					corev1.ResourceEphemeralStorage: resource.MustParse("16Gi"),
				},
				Requests: corev1.ResourceList{
					corev1.ResourceCPU:              scaled(s.CPU, 1, 4),
					corev1.ResourceMemory:           scaled(s.Memory, 1, 2),
					corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
				},
			},
			SecurityContext: restricted(),
			VolumeMounts: []corev1.VolumeMount{
				{Name: "work", MountPath: workDir},
				{Name: "home", MountPath: homeDir},
				{Name: "tmp", MountPath: tmpDir},
			},
			// The end of the runner's log, if it wrote no message: what a person sees when an agent fails.
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}},
	}
	if p.Probe {
		spec.InitContainers = []corev1.Container{probe(r, p)}
	}
	if r.Runtime != "" {
		spec.RuntimeClassName = ptr(r.Runtime)
	}
	return spec
}

func restricted() *corev1.SecurityContext {
	no, yes := false, true
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
		RunAsNonRoot:             &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func emptyDir(name, limit string) corev1.Volume {
	size := resource.MustParse(limit)
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}
}

func ptr[T any](v T) *T { return &v }
