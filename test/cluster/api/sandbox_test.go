//go:build apiserver

package api

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/test/cluster/agentsandbox"
)

// TestSandboxesAreAccepted tries a run's Sandbox as agent-launcher makes it, with the rights of the overlay, in each
// version of the API; one that the cluster does not serve has to look as agent-launcher expects.
func TestSandboxesAreAccepted(t *testing.T) {
	served := defineSandboxes(t)
	for _, o := range objectsOf(t, filepath.Join(root, "config", "overlays", "agent-sandbox", "rights.yaml")) {
		undo, err := ensure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if undo != nil {
			t.Cleanup(func() { _ = undo() })
		}
	}
	o, accepted := newRun(t), 0
	namespace := o.Namespace.Value.GetName()
	launcher := as(t, "agent-launcher")
	if err := create(t, launcher, o.Namespace, false); err != nil {
		t.Fatal(err)
	}
	for _, object := range o.Support {
		if err := create(t, launcher, object, false); err != nil {
			t.Fatalf("%s %s: %v", object.Resource.Resource, object.Value.GetName(), err)
		}
	}
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		golden := goldenSandbox(t, version)
		golden.SetNamespace(namespace)
		// Rights that were just given hold after a moment.
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if err = trySandbox(t, "agent-launcher", golden); !apierrors.IsForbidden(err) {
				break
			}
		}
		if !served[version] {
			if !apierrors.IsNotFound(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
				t.Errorf("%s, which is not served, is answered %v", version, err)
			}
			continue
		}
		accepted++
		if err != nil {
			t.Errorf("%s: %v", version, err)
		}
		pod := sandboxPod(t, golden)
		pod.Namespace, pod.Spec.RuntimeClassName = namespace, nil // of which the cluster has none
		if err := tried(t, pod); err != nil {
			t.Errorf("%s: its pod under Pod Security: %v", version, err)
		}
		refusesSandboxes(t, golden)
	}
	if accepted == 0 {
		t.Errorf("the cluster serves no version of Sandboxes that the platform writes: %v", served)
	}
}

// refusesSandboxes shows that an accepted Sandbox means something.
func refusesSandboxes(t *testing.T, golden *unstructured.Unstructured) {
	t.Helper()
	version := golden.GetAPIVersion()
	for _, spoilt := range []struct {
		value string
		path  []string
	}{
		{"Never", []string{"spec", "shutdownPolicy"}},
		{"soon", []string{"spec", "shutdownTime"}},
		{"gvisor", []string{"spec", "podTemplate", "spec", "runtime"}},
	} {
		u := golden.DeepCopy()
		if err := unstructured.SetNestedField(u.Object, spoilt.value, spoilt.path...); err != nil {
			t.Fatal(err)
		}
		if err := trySandbox(t, "agent-launcher", u); !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			t.Errorf("%s: %v: %s is answered %v", version, spoilt.path, spoilt.value, err)
		}
	}
	elsewhere := golden.DeepCopy()
	elsewhere.SetNamespace("default")
	if err := trySandbox(t, "agent-launcher", elsewhere); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "namespaces of runs only") {
		t.Errorf("%s: agent-launcher may make a Sandbox elsewhere: %v", version, err)
	}
	if err := trySandbox(t, "run-observer", golden); !apierrors.IsForbidden(err) {
		t.Errorf("%s: run-observer may make a Sandbox: %v", version, err)
	}
}

// defineSandboxes makes the resource where it is missing, and returns the versions that are served.
func defineSandboxes(t *testing.T) map[string]bool {
	t.Helper()
	dir, err := agentsandbox.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := "sandboxes." + gvr.Sandboxes("v1alpha1").Group
	for _, o := range objectsOf(t, filepath.Join(dir, agentsandbox.Definition)) {
		unstructured.RemoveNestedField(o.Object, "spec", "conversion") // nobody is there to convert
		undo, err := ensure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if undo != nil {
			t.Cleanup(func() { _ = undo() })
		}
	}
	if err := established(t.Context()); err != nil {
		t.Fatal(err)
	}
	crd, err := admin.Resource(crds).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, v := range versions {
		version := v.(map[string]any)
		served[version["name"].(string)] = version["served"] == true
	}
	return served
}

// goldenSandbox is what agentpod's own test holds Build to.
func goldenSandbox(t *testing.T, version string) *unstructured.Unstructured {
	t.Helper()
	file := map[string]string{"v1alpha1": "sandbox-v1alpha1.yaml", "v1beta1": "sandbox.yaml"}[version]
	all := objectsOf(t, filepath.Join(root, "shared", "agentpod", "testdata", file))
	if got := all[0].GetAPIVersion(); len(all) != 1 || got != gvr.Sandboxes(version).GroupVersion().String() {
		t.Fatalf("%s holds %d objects, the first of %s", file, len(all), got)
	}
	return all[0]
}

func trySandbox(t *testing.T, account string, u *unstructured.Unstructured) error {
	t.Helper()
	r := gvr.Sandboxes(u.GroupVersionKind().Version)
	_, err := as(t, account).Resource(r).Namespace(u.GetNamespace()).Create(t.Context(), u, metav1.CreateOptions{
		DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
	})
	return err
}

// sandboxPod is the pod that agent-sandbox's controller would make: the template under the Sandbox's own name.
func sandboxPod(t *testing.T, u *unstructured.Unstructured) *corev1.Pod {
	t.Helper()
	template := u.Object["spec"].(map[string]any)["podTemplate"].(map[string]any)
	pod := &corev1.Pod{}
	fromUnstructured(t, map[string]any{"metadata": template["metadata"], "spec": template["spec"]}, pod)
	pod.APIVersion, pod.Kind, pod.Name = "v1", "Pod", u.GetName()
	return pod
}
