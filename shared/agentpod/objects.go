package agentpod

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/reason"
)

// An Object is one object of a run and the API's resource it is created through.
type Object struct {
	Resource schema.GroupVersionResource
	Value    interface {
		metav1.Object
		runtime.Object
	}
}

// Objects are all objects of a run. They are created in this order: the namespace, then the support in any order, then
// the services and the Job, so that no pod ever runs without its network policy.
type Objects struct {
	Namespace Object
	Support   []Object
	Services  []Object // the project's, for a full-env role; *servingv1.Service
	Job       Object   // or the Sandbox in its place, if the project wants that
}

func (o *Objects) agent() *batchv1.Job { return o.Job.Value.(*batchv1.Job) }

// Build makes the objects of a run's Job; token is the run token.
// A request that can't be met is a *Refusal: invalid_request, namespace_invalid,
// deadline_exceeded, or kubernetes_refused for what this platform is not set up for.
func Build(r events.AgentRequested, p Platform, token string, now time.Time) (Objects, error) {
	if r.RunID == "" || r.Repository == "" || r.Issue <= 0 {
		return Objects{}, refuse(reason.InvalidRequest, "the request names no run, repository or issue")
	}
	if !strings.HasPrefix(r.Namespace, NamespacePrefix) || len(r.Namespace) > 63 {
		return Objects{}, refuse(reason.NamespaceInvalid, "namespace %q is none of ours: their names begin with %s", r.Namespace, NamespacePrefix)
	}
	if !r.Deadline.After(now) {
		return Objects{}, refuse(reason.DeadlineExceeded, "the run's deadline %s had passed before its pod was started", rfc3339(r.Deadline))
	}
	if err := p.offers(r.Sandbox); err != nil {
		return Objects{}, err
	}
	size, err := sizeOf(r.CPU, r.Memory)
	if err != nil {
		return Objects{}, err
	}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: r.Namespace, Labels: labelsOf(r), Annotations: annotationsOf(r)}
	}
	o := Objects{
		Namespace: Object{gvr.Namespaces, namespace(r)},
		Job:       Object{gvr.Jobs, job(meta(JobName), r, p, size, now)},
	}
	automount := false
	o.Support = []Object{
		{gvr.ServiceAccounts, &corev1.ServiceAccount{ObjectMeta: meta(JobName), AutomountServiceAccountToken: &automount}},
		{gvr.Roles, &rbacv1.Role{ObjectMeta: meta(JobName), Rules: AgentRules(r.Kubernetes)}},
		{gvr.RoleBindings, &rbacv1.RoleBinding{
			ObjectMeta: meta(JobName),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: JobName},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: JobName, Namespace: r.Namespace}},
		}},
		{gvr.ResourceQuotas, quota(meta(SecretName), size)},
		{gvr.LimitRanges, limitRange(meta(SecretName))},
		{gvr.Secrets, &corev1.Secret{ObjectMeta: meta(SecretName), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{TokenKey: []byte(token)}}},
	}
	for _, policy := range policies(meta, p) {
		o.Support = append(o.Support, Object{gvr.NetworkPolicies, policy})
	}
	if err := addServices(&o, r, p, meta); err != nil {
		return Objects{}, err
	}
	for _, object := range append(o.Support, o.Namespace, o.Job) {
		setKind(object)
	}
	if r.Sandbox != "" {
		o.Job = Object{gvr.Sandboxes(p.SandboxVersion), sandbox(o.agent(), r, p.SandboxVersion)}
	}
	return o, nil
}

// AgentRules are all the rights of an agent's account, in its own namespace, by its role's word: none, or to read.
// agent-launcher needs the same rights, because Kubernetes lets nobody grant what they don't have:
// config/200-agent-launcher.yaml repeats them, and a test compares the two.
//
// No token for the account is in the pod, and no network policy leads to the API server, so this is the second wall.
func AgentRules(kubernetes string) []rbacv1.PolicyRule {
	if kubernetes != events.KubernetesRead {
		return []rbacv1.PolicyRule{}
	}
	return []rbacv1.PolicyRule{{
		APIGroups: []string{""},
		Resources: []string{"pods", "pods/log", "events", "services"},
		Verbs:     []string{"get", "list", "watch"},
	}}
}

// kinds by resource: the API wants both.
var kinds = map[schema.GroupVersionResource]string{
	gvr.Namespaces: "Namespace", gvr.ServiceAccounts: "ServiceAccount", gvr.Secrets: "Secret", gvr.ResourceQuotas: "ResourceQuota",
	gvr.LimitRanges: "LimitRange", gvr.Roles: "Role", gvr.RoleBindings: "RoleBinding", gvr.NetworkPolicies: "NetworkPolicy", gvr.Jobs: "Job",
}

func setKind(o Object) {
	o.Value.GetObjectKind().SetGroupVersionKind(o.Resource.GroupVersion().WithKind(kinds[o.Resource]))
}

func namespace(r events.AgentRequested) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace, Labels: labelsOf(r), Annotations: annotationsOf(r)}}
	ns.Annotations[AnnotationExpiresAt] = rfc3339(r.ExpiresAt)
	// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
	for _, mode := range []string{"enforce", "audit", "warn"} {
		ns.Labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	return ns
}

// quota has room for two of the agent's pods: while one is terminating, its successor already counts. It allows no
// Services that would open the namespace to the outside and no volumes that outlive it.
func quota(meta metav1.ObjectMeta, s Size) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: meta,
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			corev1.ResourcePods:                   resource.MustParse("10"),
			"count/jobs.batch":                    resource.MustParse("5"),
			corev1.ResourceRequestsCPU:            atLeast("4", scaled(s.CPU, 2, 1)),
			corev1.ResourceRequestsMemory:         atLeast("8Gi", scaled(s.Memory, 2, 1)),
			corev1.ResourceLimitsCPU:              atLeast("8", scaled(s.CPU, 2, 1)),
			corev1.ResourceLimitsMemory:           atLeast("16Gi", scaled(s.Memory, 2, 1)),
			corev1.ResourcePersistentVolumeClaims: resource.MustParse("0"),
			corev1.ResourceServicesLoadBalancers:  resource.MustParse("0"),
			corev1.ResourceServicesNodePorts:      resource.MustParse("0"),
		}},
	}
}

func limitRange(meta metav1.ObjectMeta) *corev1.LimitRange {
	return &corev1.LimitRange{
		ObjectMeta: meta,
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer,
			DefaultRequest: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("250m"),
				corev1.ResourceMemory: resource.MustParse("256Mi"),
			},
			Default: corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("1"),
				corev1.ResourceMemory: resource.MustParse("1Gi"),
			},
		}}},
	}
}

// sizeOf reads the size that a request gives for the container.
func sizeOf(cpu, memory string) (size Size, err error) {
	for _, part := range []struct {
		quantity string
		into     *resource.Quantity
		name     string
	}{{cpu, &size.CPU, "CPU"}, {memory, &size.Memory, "memory"}} {
		if *part.into, err = resource.ParseQuantity(part.quantity); err != nil || part.into.Sign() <= 0 {
			return size, refuse(reason.InvalidRequest, "%s %q is not a Kubernetes quantity such as 2, 500m or 4Gi", part.name, part.quantity)
		}
	}
	return size, nil
}

func scaled(q resource.Quantity, times, by int64) resource.Quantity {
	return *resource.NewMilliQuantity(q.MilliValue()*times/by, q.Format)
}

func atLeast(floor string, q resource.Quantity) resource.Quantity {
	if f := resource.MustParse(floor); f.Cmp(q) >= 0 {
		return f
	}
	return q
}
