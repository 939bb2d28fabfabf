package kube_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	fakekube "codexk8s.dev/test/local/kube"
)

func open(t *testing.T) (*fakekube.Store, *kube.Client) {
	t.Helper()
	objects, err := fakekube.Open("")
	if err != nil {
		t.Fatal(err)
	}
	api, err := fakekube.Serve(objects, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close(); objects.Close() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.WriteConfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	c, err := kube.Open(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return objects, c
}

func namespace(labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: "run", Labels: labels},
	}
}

func TestLifeOfAnObject(t *testing.T) {
	_, c := open(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	get := func() *corev1.Namespace {
		t.Helper()
		ns, err := kube.Get[corev1.Namespace](ctx, c, gvr.Namespaces, "", "run")
		must(err)
		return ns
	}
	if ns := get(); ns != nil {
		t.Errorf("what isn't there was read as %+v", ns)
	}
	must(c.Create(ctx, gvr.Namespaces, namespace(map[string]string{"app": "one"})))
	if err := c.Create(ctx, gvr.Namespaces, namespace(nil)); !apierrors.IsAlreadyExists(err) {
		t.Errorf("created twice: %v", err)
	}
	must(c.Update(ctx, gvr.Namespaces, namespace(map[string]string{"app": "two"})))
	must(c.Annotate(ctx, gvr.Namespaces, get(), "a", "b"))
	ns := get()
	if ns.Labels["app"] != "two" || ns.Annotations["a"] != "b" {
		t.Errorf("labels %v, annotations %v", ns.Labels, ns.Annotations)
	}
	all, err := kube.List[corev1.Namespace](ctx, c, gvr.Namespaces, "", "app=two")
	must(err)
	if diff := cmp.Diff([]corev1.Namespace{*ns}, all); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}

	other := ns.DeepCopy()
	other.UID = "another"
	if err := c.Delete(ctx, gvr.Namespaces, other, metav1.DeletePropagationBackground); !apierrors.IsConflict(err) {
		t.Errorf("deleted an object with another UID: %v", err)
	}
	must(c.Annotate(ctx, gvr.Namespaces, ns, "a", "c"))
	if err := c.DeleteUnchanged(ctx, gvr.Namespaces, ns, metav1.DeletePropagationBackground); !apierrors.IsConflict(err) {
		t.Errorf("deleted an object that was changed since: %v", err)
	}
	must(c.DeleteUnchanged(ctx, gvr.Namespaces, get(), metav1.DeletePropagationBackground))
	for deadline := time.Now().Add(10 * time.Second); get() != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	must(c.Delete(ctx, gvr.Namespaces, ns, metav1.DeletePropagationBackground))
}

func TestKindsOfErrors(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	terminating := apierrors.NewForbidden(gvr.Jobs.GroupResource(), "agent", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, test := range map[string]struct {
		err     error
		refused bool
		until   time.Time
	}{
		"forbidden":             {err: apierrors.NewForbidden(gvr.Jobs.GroupResource(), "agent", errors.New("no")), refused: true},
		"bad request":           {err: apierrors.NewBadRequest("no"), refused: true},
		"namespace terminating": {err: terminating},
		"unauthorized":          {err: apierrors.NewUnauthorized("token")},
		"conflict":              {err: apierrors.NewConflict(gvr.Jobs.GroupResource(), "agent", errors.New("changed"))},
		"too many":              {err: apierrors.NewTooManyRequests("slow down", 7), until: now.Add(7 * time.Second)},
		"no connection":         {err: errors.New("dial tcp: connection refused")},
	} {
		if got := kube.Refused(test.err); got != test.refused {
			t.Errorf("%s: Refused = %v", name, got)
		}
		var later *events.RetryLaterError
		classified := kube.Classify(test.err, now)
		if _, rejected := events.AsRejected(classified); rejected != test.refused {
			t.Errorf("%s: rejected = %v", name, rejected)
		}
		errors.As(classified, &later)
		switch {
		case later == nil && !test.until.IsZero():
			t.Errorf("%s: no time of the next try", name)
		case later != nil && !later.Until.Equal(test.until):
			t.Errorf("%s: next try at %s, want %s", name, later.Until, test.until)
		}
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.Open(""); err == nil {
		t.Error("outside of a cluster, without KUBECONFIG, it opened")
	}
	if _, err := kube.Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a kubeconfig that isn't there was accepted")
	}
}

// Ages are counted by the clock that stamped the objects.
func TestNowIsTheAPIServers(t *testing.T) {
	objects, c := open(t)
	if skew := time.Since(c.Now()).Abs(); skew > time.Minute {
		t.Errorf("before the first answer the time is %s off", skew)
	}
	for _, ahead := range []time.Duration{time.Hour, -24 * time.Hour, 0} {
		objects.SetAhead(ahead)
		if _, err := kube.List[corev1.Namespace](t.Context(), c, gvr.Namespaces, "", ""); err != nil {
			t.Fatal(err)
		}
		if skew := (time.Until(c.Now()) - ahead).Abs(); skew > time.Minute {
			t.Errorf("with its clock %s ahead the time is %s off", ahead, skew)
		}
	}
}
