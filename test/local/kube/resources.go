// Package kube is a Kubernetes API server for the resources that the platform uses, so that client-go works unchanged
// against it: create, get, list, watch, update, patch (JSON, merge, strategic merge, server-side apply) and delete over
// HTTP with JSON, with the real server's errors.
//
// Objects are checked as the real server does with fieldValidation=Strict: unknown fields, bad names and bad labels are
// refused. What is behind the objects is played where somebody could notice: a namespace that is deleted stays
// Terminating until everything in it is gone, a deleted pod stays until its process has ended (package job sees to
// that), dependents follow their owners by the deletion's propagation policy. A service account may do what the roles
// in the store give it (RBAC), and give nobody more than it has. Not played: quota, admission and managedFields. A
// Knative Service is an object and no more: nobody runs its image, and its status says so.
//
// Objects live in memory and, when a file is given, in that file soon after every change.
package kube

import (
	"fmt"
	"net/http"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/json"

	"codexk8s.dev/shared/agentpod"
)

// Resource is one kind of object that the server knows.
type Resource struct {
	Group, Version, Plural, Kind string
	// Cluster says that its objects belong to no namespace.
	Cluster bool
	// Status says that status is a subresource of its own.
	Status bool
	// sample returns a value of the Go type.
	sample func() any
	// dnsLabel says that names must be DNS labels (no dots).
	dnsLabel bool
}

// The resources, named where other packages need them.
var (
	Namespaces = &Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace", Cluster: true, Status: true, dnsLabel: true, sample: of[corev1.Namespace]}
	Secrets    = &Resource{Version: "v1", Plural: "secrets", Kind: "Secret", sample: of[corev1.Secret]}
	ConfigMaps = &Resource{Version: "v1", Plural: "configmaps", Kind: "ConfigMap", sample: of[corev1.ConfigMap]}
	Accounts   = &Resource{Version: "v1", Plural: "serviceaccounts", Kind: "ServiceAccount", sample: of[corev1.ServiceAccount]}
	Pods       = &Resource{Version: "v1", Plural: "pods", Kind: "Pod", Status: true, sample: of[corev1.Pod]}
	Events     = &Resource{Version: "v1", Plural: "events", Kind: "Event", sample: of[corev1.Event]}
	Jobs       = &Resource{Group: "batch", Version: "v1", Plural: "jobs", Kind: "Job", Status: true, sample: of[batchv1.Job]}

	NetworkPolicies = &Resource{Group: "networking.k8s.io", Version: "v1", Plural: "networkpolicies", Kind: "NetworkPolicy", sample: of[networkingv1.NetworkPolicy]}
	Roles           = &Resource{Group: rbacv1.GroupName, Version: "v1", Plural: "roles", Kind: "Role", sample: of[rbacv1.Role]}
	RoleBindings    = &Resource{Group: rbacv1.GroupName, Version: "v1", Plural: "rolebindings", Kind: "RoleBinding", sample: of[rbacv1.RoleBinding]}
	ClusterRoles    = &Resource{Group: rbacv1.GroupName, Version: "v1", Plural: "clusterroles", Kind: "ClusterRole", Cluster: true, sample: of[rbacv1.ClusterRole]}
	// KnativeServices are those of runs, next to their agents; nothing runs them.
	KnativeServices     = &Resource{Group: "serving.knative.dev", Version: "v1", Plural: "services", Kind: "Service", Status: true, dnsLabel: true, sample: of[servingv1.Service]}
	ClusterRoleBindings = &Resource{Group: rbacv1.GroupName, Version: "v1", Plural: "clusterrolebindings", Kind: "ClusterRoleBinding", Cluster: true, sample: of[rbacv1.ClusterRoleBinding]}
)

// Sandboxes of agent-sandbox; no controller of theirs is played.
var Sandboxes = &Resource{Group: "agents.x-k8s.io", Version: "v1beta1", Plural: "sandboxes", Kind: "Sandbox", Status: true, sample: of[agentpod.Sandbox]}

var resources = []*Resource{
	Namespaces, Secrets, ConfigMaps, Accounts, Pods, Events, Jobs, Roles, RoleBindings, ClusterRoles, ClusterRoleBindings, NetworkPolicies, KnativeServices, Sandboxes,
	{Version: "v1", Plural: "resourcequotas", Kind: "ResourceQuota", Status: true, sample: of[corev1.ResourceQuota]},
	{Version: "v1", Plural: "limitranges", Kind: "LimitRange", sample: of[corev1.LimitRange]},
	{Version: "v1", Plural: "services", Kind: "Service", Status: true, dnsLabel: true, sample: of[corev1.Service]},
	{Group: "eventing.knative.dev", Version: "v1", Plural: "brokers", Kind: "Broker", Status: true, sample: of[eventingv1.Broker]},
	{Group: "eventing.knative.dev", Version: "v1", Plural: "triggers", Kind: "Trigger", Status: true, sample: of[eventingv1.Trigger]},
	{Group: "sources.knative.dev", Version: "v1", Plural: "apiserversources", Kind: "ApiServerSource", Status: true, sample: of[sourcesv1.ApiServerSource]},
	{Group: "sources.knative.dev", Version: "v1", Plural: "pingsources", Kind: "PingSource", Status: true, sample: of[sourcesv1.PingSource]},
	{Group: "sources.knative.dev", Version: "v1", Plural: "sinkbindings", Kind: "SinkBinding", Status: true, sample: of[sourcesv1.SinkBinding]},
}

func of[T any]() any { return new(T) }

// find returns the resource of a request path's parts, nil when there is none.
func find(group, version, plural string) *Resource {
	for _, r := range resources {
		if r.Group == group && r.Version == version && r.Plural == plural {
			return r
		}
	}
	return nil
}

// APIVersion is what objects of the resource carry.
func (r *Resource) APIVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

func (r *Resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}
}

// check refuses what the real server would: another kind, unknown fields, bad metadata.
func (r *Resource) check(o *unstructured.Unstructured) error {
	if o.GetAPIVersion() != r.APIVersion() || o.GetKind() != r.Kind {
		return apierrors.NewBadRequest(fmt.Sprintf("the object is a %s of %s, the path is that of a %s of %s", o.GetKind(), o.GetAPIVersion(), r.Kind, r.APIVersion()))
	}
	raw, err := o.MarshalJSON()
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	strict, err := json.UnmarshalStrict(raw, r.sample())
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if len(strict) > 0 {
		texts := make([]string, 0, len(strict))
		for _, e := range strict {
			texts = append(texts, e.Error())
		}
		return apierrors.NewBadRequest("strict decoding error: " + strings.Join(texts, ", "))
	}
	return r.checkMeta(o)
}

func (r *Resource) checkMeta(o *unstructured.Unstructured) error {
	name := validation.NameIsDNSSubdomain
	if r.dnsLabel {
		name = validation.NameIsDNSLabel
	}
	if r.Group == rbacv1.GroupName {
		name = func(string, bool) []string { return nil } // any path segment
	}
	meta := &metav1.ObjectMeta{
		Name: o.GetName(), GenerateName: o.GetGenerateName(), Namespace: o.GetNamespace(),
		Labels: o.GetLabels(), Annotations: o.GetAnnotations(), OwnerReferences: o.GetOwnerReferences(), Finalizers: o.GetFinalizers(),
	}
	faults := validation.ValidateObjectMeta(meta, !r.Cluster, name, field.NewPath("metadata"))
	if r == Jobs {
		// The job's name becomes a label of its pods.
		if len(o.GetName()) > 63 {
			faults = append(faults, field.TooLong(field.NewPath("metadata", "name"), o.GetName(), 63))
		}
	}
	if len(faults) > 0 {
		return apierrors.NewInvalid(schema.GroupKind{Group: r.Group, Kind: r.Kind}, o.GetName(), faults)
	}
	return nil
}

// conflict is the error of an update or deletion of something that has changed.
func (r *Resource) conflict(name, why string) error {
	return apierrors.NewConflict(r.groupResource(), name, fmt.Errorf("%s", why))
}

func (r *Resource) notFound(name string) error {
	return apierrors.NewNotFound(r.groupResource(), name)
}

// terminating is the error of creating something in a namespace that is going.
func (r *Resource) terminating(name, namespace string) error {
	err := apierrors.NewForbidden(r.groupResource(), name, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", namespace))
	err.ErrStatus.Code = http.StatusForbidden
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: corev1.NamespaceTerminatingCause, Message: fmt.Sprintf("namespace %s is being terminated", namespace), Field: "metadata.namespace",
	})
	return err
}
