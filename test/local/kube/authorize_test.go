package kube

import (
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// A service account may do what its roles say, where they say it, and can't give itself or others more.
func TestAccountsMayDoWhatTheirRolesSay(t *testing.T) {
	c := start(t, "")
	for _, namespace := range []string{"home", "away"} {
		if _, err := c.server.Store.Create(Namespaces, object(t, `{apiVersion: v1, kind: Namespace, metadata: {name: `+namespace+`}}`)); err != nil {
			t.Fatal(err)
		}
	}
	err := c.server.Store.SetRules("home", []*unstructured.Unstructured{
		object(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: reader}, rules: [{apiGroups: [batch], resources: [jobs], verbs: [get]}]}`),
		object(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: reader},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}, subjects: [{kind: ServiceAccount, name: worker, namespace: home}]}`),
		object(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: writer, namespace: home}, rules: [
  {apiGroups: [""], resources: [secrets], verbs: [create]}, {apiGroups: [""], resources: [configmaps], resourceNames: [settings], verbs: ["*"]},
  {apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create]}]}`),
		object(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: writer, namespace: home},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: writer}, subjects: [{kind: ServiceAccount, name: worker, namespace: home}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := c.server.WriteAccountConfig(file, "home", "worker"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	if c.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	get := func(r *Resource, namespace, name string) func() error {
		return func() error {
			_, err := c.in(r, namespace).Get(t.Context(), name, metav1.GetOptions{})
			return err
		}
	}
	create := func(r *Resource, namespace, document string) func() error {
		return func() error {
			_, err := c.in(r, namespace).Create(t.Context(), object(t, document), metav1.CreateOptions{})
			return err
		}
	}
	role := func(rule string) string {
		return `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: given, namespace: home}, rules: [` + rule + `]}`
	}
	binding := func(kind, name, as string) string {
		return `{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: ` + as + `, namespace: home},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ` + kind + `, name: ` + name + `}, subjects: [{kind: ServiceAccount, name: other, namespace: home}]}`
	}
	for _, step := range []struct {
		what   string
		do     func() error
		answer metav1.StatusReason // empty means that it is done
	}{
		{"get of the cluster's rule", get(Jobs, "away", "none"), metav1.StatusReasonNotFound},
		{"list, which no rule has", func() error {
			_, err := c.in(Jobs, "home").List(t.Context(), metav1.ListOptions{})
			return err
		}, metav1.StatusReasonForbidden},
		{"create in its namespace", create(Secrets, "home", `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: home}}`), ""},
		{"create in another", create(Secrets, "away", `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: away}}`), metav1.StatusReasonForbidden},
		{"the named object", get(ConfigMaps, "home", "settings"), metav1.StatusReasonNotFound},
		{"an object of another name", get(ConfigMaps, "home", "other"), metav1.StatusReasonForbidden},
		{"what belongs to no namespace", get(Namespaces, "", "home"), metav1.StatusReasonForbidden},
		{"a role with what it may do", create(Roles, "home", role(`{apiGroups: [batch], resources: [jobs], verbs: [get]}`)), ""},
		{"a role with more", create(Roles, "home", role(`{apiGroups: [batch], resources: [jobs], verbs: [get, delete]}`)), metav1.StatusReasonForbidden},
		{"a role for all names where it has one", create(Roles, "home", role(`{apiGroups: [""], resources: [configmaps], verbs: [get]}`)), metav1.StatusReasonForbidden},
		{"a binding to what it may do", create(RoleBindings, "home", binding("ClusterRole", "reader", "a")), ""},
	} {
		if err := step.do(); apierrors.ReasonForError(err) != step.answer && !(err == nil && step.answer == "") {
			t.Errorf("%s: got %v, want %q", step.what, err, step.answer)
		}
	}
	if err := c.server.Store.SetRules("home", nil); err != nil {
		t.Fatal(err)
	}
	if err := get(Jobs, "away", "none")(); !apierrors.IsForbidden(err) {
		t.Errorf("after the rules are gone: %v", err)
	}
}
