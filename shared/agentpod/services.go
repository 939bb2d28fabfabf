package agentpod

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
)

// annotationSpec is a digest of what was asked for. The API server fills in a spec, so it can't be compared with what
// is read back.
const annotationSpec = "codexk8s.dev/spec"

// knativeServing is where the activator, which holds the calls to a service at zero pods, and the autoscaler are.
const knativeServing = "knative-serving"

// perPod is what a pod of a service needs besides its own container: Knative's queue-proxy, which names no limits and
// so gets those of the LimitRange.
var perPod = corev1.ResourceList{
	corev1.ResourceRequestsCPU:    resource.MustParse("250m"),
	corev1.ResourceRequestsMemory: resource.MustParse("256Mi"),
	corev1.ResourceLimitsCPU:      resource.MustParse("1"),
	corev1.ResourceLimitsMemory:   resource.MustParse("1Gi"),
}

// addServices gives a run of a full-env role its project's services: Knative Services, quota for their pods, network
// policies, and their addresses in the agent's environment.
func addServices(o *Objects, r events.AgentRequested, p Platform, meta func(string) metav1.ObjectMeta) error {
	if len(r.Services) == 0 {
		return nil
	}
	quota := resourceQuota(o.Support)
	for _, s := range r.Services {
		size, err := sizeOf(s.CPU, s.Memory)
		if err != nil {
			return err
		}
		service, err := knativeService(meta(s.Name), s, size, addresses(r))
		if err != nil {
			return err
		}
		o.Services = append(o.Services, Object{gvr.KnativeServices, service})
		makeRoom(quota.Spec.Hard, s, size)
	}
	for _, object := range o.Support {
		// Git hosting is for the agent only. A project's services reach DNS, and each other through the ingress. They
		// get no internet, because the agent may send them anything and must not reach more through them.
		if policy, ok := object.Value.(*networkingv1.NetworkPolicy); ok && policy.Name == "egress-git" {
			policy.Spec.PodSelector = ofServices(metav1.LabelSelectorOpDoesNotExist)
		}
	}
	o.Support = append(o.Support, Object{gvr.NetworkPolicies, ingressToServices(meta("ingress-services"), p)})
	agent := &o.agent().Spec.Template.Spec.Containers[0]
	agent.Env = append(agent.Env, addresses(r)...)
	return nil
}

// addresses are the SERVICE_<NAME>_URL of all services, in their order.
func addresses(r events.AgentRequested) []corev1.EnvVar {
	var all []corev1.EnvVar
	for _, s := range r.Services {
		all = append(all, corev1.EnvVar{Name: ServiceVariable(s.Name), Value: ServiceURL(s.Name, r.Namespace)})
	}
	return all
}

// ServiceVariable is the environment variable that has a service's URL, SERVICE_PRICES_URL.
func ServiceVariable(service string) string {
	return "SERVICE_" + strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_URL"
}

// ServiceURL is where pods of the namespace reach the service.
func ServiceURL(service, namespace string) string {
	return "http://" + service + "." + namespace + ".svc.cluster.local"
}

// knativeService is one service. What changes with each run is on the Service only: a changed template would make a new
// revision, and a pod to start.
func knativeService(meta metav1.ObjectMeta, s events.Service, size Size, addresses []corev1.EnvVar) (*servingv1.Service, error) {
	meta.Labels[labelName] = s.Name
	meta.Labels[networking.VisibilityLabelKey] = serving.VisibilityClusterLocal
	spec := servingv1.ServiceSpec{ConfigurationSpec: servingv1.ConfigurationSpec{Template: servingv1.RevisionTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{LabelManagedBy: ManagedBy, labelName: s.Name},
			Annotations: map[string]string{
				autoscaling.MinScaleAnnotationKey: "0",
				autoscaling.MaxScaleAnnotationKey: strconv.Itoa(int(s.MaxScale)),
			},
		},
		Spec: servingv1.RevisionSpec{PodSpec: corev1.PodSpec{
			AutomountServiceAccountToken: ptr(false),
			EnableServiceLinks:           ptr(false),
			Containers:                   []corev1.Container{serviceContainer(s, size, addresses)},
		}},
	}}}
	asked, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding service %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(asked)
	meta.Annotations[annotationSpec] = hex.EncodeToString(sum[:8])
	service := &servingv1.Service{ObjectMeta: meta, Spec: spec}
	service.SetGroupVersionKind(servingv1.SchemeGroupVersion.WithKind("Service"))
	return service, nil
}

func serviceContainer(s events.Service, size Size, addresses []corev1.EnvVar) corev1.Container {
	port := corev1.ContainerPort{Name: "http1", ContainerPort: s.Port}
	if s.Protocol == "h2c" {
		port.Name = "h2c"
	}
	// The addresses come first: a value may refer to them, $(SERVICE_PRICES_URL).
	env := slices.Clone(addresses)
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, corev1.EnvVar{Name: name, Value: s.Env[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		secret, key, _ := strings.Cut(s.Secrets[name], "/")
		// A service may start before its agent has had the Secret made.
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key, Optional: ptr(true),
		}}})
	}
	c := corev1.Container{
		Image: s.Image, Command: s.Command, Args: s.Args, Env: env, Ports: []corev1.ContainerPort{port},
		Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{
				corev1.ResourceCPU: size.CPU, corev1.ResourceMemory: size.Memory, corev1.ResourceEphemeralStorage: resource.MustParse("2Gi"),
			},
			Requests: corev1.ResourceList{corev1.ResourceCPU: scaled(size.CPU, 1, 4), corev1.ResourceMemory: scaled(size.Memory, 1, 2)},
		},
		// Knative accepts these on a container, not on a pod. The root file system stays writable, within its limit,
		// because the images are the project's and most write somewhere.
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr(false),
			RunAsNonRoot:             ptr(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if s.Ready != "" {
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: s.Ready, Port: intstr.FromInt32(0)}}}
	}
	return c
}

// makeRoom adds what the service's pods may use to the quota: as many as it may have, and one more for the old revision
// while the next one starts.
func makeRoom(hard corev1.ResourceList, s events.Service, size Size) {
	own := corev1.ResourceList{
		corev1.ResourceRequestsCPU: scaled(size.CPU, 1, 4), corev1.ResourceRequestsMemory: scaled(size.Memory, 1, 2),
		corev1.ResourceLimitsCPU: size.CPU, corev1.ResourceLimitsMemory: size.Memory,
		corev1.ResourcePods: resource.MustParse("1"),
	}
	for name, quantity := range own {
		sum := hard[name].DeepCopy()
		for range s.MaxScale + 1 {
			sum.Add(quantity)
			sum.Add(perPod[name])
		}
		hard[name] = sum
	}
}

// ingressToServices lets in what forwards a call to a service: Knative's ingress while the service is awake, the
// activator while it isn't, and the autoscaler, which asks for the load. The agent's calls come through the ingress
// too.
func ingressToServices(meta metav1.ObjectMeta, p Platform) *networkingv1.NetworkPolicy {
	from := p.Gateways
	if !slices.ContainsFunc(from, func(g Peer) bool { return g.Namespace == knativeServing && len(g.Labels) == 0 }) {
		from = append(slices.Clip(from), Peer{Namespace: knativeServing})
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: meta,
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: ofServices(metav1.LabelSelectorOpExists),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: peers(from)}},
		},
	}
}

// ofServices selects the pods that Knative made for services, or all others.
func ofServices(is metav1.LabelSelectorOperator) metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: serving.ServiceLabelKey, Operator: is}}}
}

func resourceQuota(objects []Object) *corev1.ResourceQuota {
	i := slices.IndexFunc(objects, func(o Object) bool { return o.Resource == gvr.ResourceQuotas })
	return objects[i].Value.(*corev1.ResourceQuota)
}

// RenewService changes an existing service to what is asked for: it is left over from this event's first delivery, or
// from the run before. false means that nothing changes; an object that is not ours is a *Refusal.
func RenewService(existing, asked *servingv1.Service) (changed bool, err error) {
	if !madeByUs(existing) {
		return false, refuse(reason.ServiceTaken, "namespace %s has a Knative Service %s that is not the platform's; rename it in the project's services", existing.Namespace, existing.Name)
	}
	before := existing.ObjectMeta.DeepCopy()
	if existing.Annotations == nil {
		existing.Annotations = map[string]string{}
	}
	maps.Copy(existing.Labels, asked.Labels)
	maps.Copy(existing.Annotations, asked.Annotations)
	if before.Annotations[annotationSpec] != asked.Annotations[annotationSpec] {
		existing.Spec = asked.Spec
	}
	return !maps.Equal(before.Labels, existing.Labels) || !maps.Equal(before.Annotations, existing.Annotations), nil
}
