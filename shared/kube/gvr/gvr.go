// Package gvr names the resources of the Kubernetes API that the platform uses: group, version and plural, as in a URL.
//
// The package is pure.
package gvr

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Resources of Kubernetes and of Knative.
var (
	Namespaces      = corev1.SchemeGroupVersion.WithResource("namespaces")
	ServiceAccounts = corev1.SchemeGroupVersion.WithResource("serviceaccounts")
	Secrets         = corev1.SchemeGroupVersion.WithResource("secrets")
	ResourceQuotas  = corev1.SchemeGroupVersion.WithResource("resourcequotas")
	LimitRanges     = corev1.SchemeGroupVersion.WithResource("limitranges")
	Pods            = corev1.SchemeGroupVersion.WithResource("pods")
	Events          = corev1.SchemeGroupVersion.WithResource("events") // what Kubernetes tells people about its objects
	Roles           = rbacv1.SchemeGroupVersion.WithResource("roles")
	RoleBindings    = rbacv1.SchemeGroupVersion.WithResource("rolebindings")
	NetworkPolicies = networkingv1.SchemeGroupVersion.WithResource("networkpolicies")
	Jobs            = batchv1.SchemeGroupVersion.WithResource("jobs")
	KnativeServices = servingv1.SchemeGroupVersion.WithResource("services")
)

// SandboxGroup is the API group of kubernetes-sigs/agent-sandbox.
const SandboxGroup = "agents.x-k8s.io"

// Sandboxes is agent-sandbox's resource in that version, v1beta1 or v1alpha1; zero for "".
func Sandboxes(version string) schema.GroupVersionResource {
	if version == "" {
		return schema.GroupVersionResource{}
	}
	return schema.GroupVersionResource{Group: SandboxGroup, Version: version, Resource: "sandboxes"}
}
