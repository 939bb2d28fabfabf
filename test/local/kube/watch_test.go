package kube

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Who knows a version misses nothing after it, deletions included; a version that is forgotten is an error.
func TestAWatchGoesOnFromAVersion(t *testing.T) {
	c := start(t, "")
	create := func(name string) *unstructured.Unstructured {
		t.Helper()
		o, err := c.server.Store.Create(Namespaces, object(t, `{apiVersion: v1, kind: Namespace, metadata: {name: `+name+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	seen := create("seen").GetResourceVersion()
	first := create("first")
	if _, err := c.server.Store.Delete(Namespaces, "", "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := c.in(Namespaces, "").Watch(t.Context(), metav1.ListOptions{ResourceVersion: seen})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var got []string
	for range 3 {
		change := <-w.ResultChan()
		o := change.Object.(*unstructured.Unstructured)
		if o.GetUID() != first.GetUID() {
			t.Errorf("it tells of %s", o.GetName())
		}
		got = append(got, string(change.Type))
	}
	if diff := cmp.Diff([]string{"ADDED", "MODIFIED", "DELETED"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for i := range 2 * remembered {
		create(fmt.Sprintf("n%d", i))
	}
	if _, err := c.in(Namespaces, "").Watch(t.Context(), metav1.ListOptions{ResourceVersion: seen}); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from a forgotten version: %v", err)
	}
}
