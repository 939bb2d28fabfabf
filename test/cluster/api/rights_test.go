//go:build apiserver

package api

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What is asked about: every verb on everything that matters in a cluster.
var (
	verbs     = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate"}
	resources = []string{
		"namespaces", "nodes", "pods", "pods/log", "pods/exec", "secrets", "configmaps", "services", "events", "serviceaccounts",
		"serviceaccounts/token", "resourcequotas", "limitranges", "persistentvolumes", "persistentvolumeclaims", "users",
		"jobs.batch", "cronjobs.batch", "deployments.apps", "networkpolicies.networking.k8s.io", "leases.coordination.k8s.io",
		"roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
		"clusterrolebindings.rbac.authorization.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io",
		"customresourcedefinitions.apiextensions.k8s.io", "services.serving.knative.dev",
	}
)

// TestEveryAccountMayDoWhatItMustAndNoMore asks the API server about every right in any namespace, for each account.
func TestEveryAccountMayDoWhatItMustAndNoMore(t *testing.T) {
	read := []string{"get", "list", "watch"}
	want := map[string][]string{
		"agent-launcher": slices.Concat(
			rights("namespaces", "get", "create", "update", "delete"),
			rights("serviceaccounts", "create", "update"), rights("secrets", "create", "update"),
			rights("resourcequotas", "create", "update"), rights("limitranges", "create", "update"),
			rights("roles.rbac.authorization.k8s.io", "create", "update"), rights("rolebindings.rbac.authorization.k8s.io", "create", "update"),
			rights("networkpolicies.networking.k8s.io", "create", "update"),
			rights("jobs.batch", "get", "list", "create", "patch", "delete"),
			// What it gives to agents, in their own namespace.
			rights("pods", read...), rights("pods/log", read...), rights("events", read...), rights("services", read...),
		),
		"run-observer":        slices.Concat(rights("jobs.batch", read...), rights("pods", "list", "watch"), rights("events", "list")),
		"run-observer-source": rights("jobs.batch", read...),
	}
	// In the platform's own namespace; the doctor reads what it reports on.
	wantOwn := map[string][]string{"doctor": slices.Concat(rights("pods", "list"), rights("services.serving.knative.dev", "list"))}
	want["doctor"] = rights("namespaces", "list")
	accounts := []string{"run-observer-source"}
	files, _ := filepath.Glob(filepath.Join(root, "config", "200-*.yaml"))
	for _, file := range files {
		for _, o := range objectsOf(t, file) {
			if o.GetKind() == "ServiceAccount" {
				accounts = append(accounts, o.GetName())
			}
		}
	}
	for _, o := range objectsOf(t, filepath.Join(root, "eventing", "run-observer.yaml")) {
		if strings.HasPrefix(o.GetAPIVersion(), "rbac") || o.GetKind() == "ServiceAccount" {
			undo, err := ensure(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if undo != nil {
				t.Cleanup(func() { _ = undo() })
			}
		}
	}
	for _, account := range accounts {
		everywhere, own := slices.Sorted(slices.Values(want[account])), slices.Sorted(slices.Values(slices.Concat(want[account], wantOwn[account])))
		if diff := cmp.Diff(everywhere, allowed(t, user(namespace, account), "")); diff != "" {
			t.Errorf("rights of %s in all namespaces (-want +got):\n%s", account, diff)
		}
		if diff := cmp.Diff(own, allowed(t, user(namespace, account), namespace)); diff != "" {
			t.Errorf("rights of %s in %s (-want +got):\n%s", account, namespace, diff)
		}
	}
}

func rights(resource string, verbs ...string) []string {
	var all []string
	for _, v := range verbs {
		all = append(all, resource+" "+v)
	}
	return all
}

// allowed returns the rights that a user has in a namespace, "" = in all.
func allowed(t *testing.T, who, in string) []string {
	t.Helper()
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}
	ask := func(ctx context.Context, resource, verb string) (bool, error) {
		name, group, _ := strings.Cut(resource, ".")
		name, sub, _ := strings.Cut(name, "/")
		review := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
			"spec": map[string]any{"user": who, "groups": []any{"system:authenticated"}, "resourceAttributes": map[string]any{
				"namespace": in, "verb": verb, "group": group, "resource": name, "subresource": sub}},
		}}
		answer, err := admin.Resource(reviews).Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		yes, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
		return yes, err
	}
	got := make([]string, len(resources)*len(verbs))
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i, resource := range resources {
		for j, verb := range verbs {
			g.Go(func() error {
				yes, err := ask(ctx, resource, verb)
				if yes {
					got[i*len(verbs)+j] = resource + " " + verb
				}
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	slices.Sort(got)
	if len(got) == 0 {
		return nil
	}
	return got
}

func objectsOf(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	all := read(file)
	if len(all) == 0 {
		t.Fatalf("%s holds no object", file)
	}
	return all
}
