//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestAQuotaThatIsExhaustedIsSaid has an operator's quota in the run's namespace before the Job's pod can be made.
func TestAQuotaThatIsExhaustedIsSaid(t *testing.T) {
	repo := it.repo("quota")
	it.inItsNamespace(t, repo, "v1/resourcequotas", map[string]any{"apiVersion": "v1", "kind": "ResourceQuota",
		"metadata": map[string]any{"name": "of-the-operator"}, "spec": map[string]any{"hard": map[string]any{"pods": "0"}}})
	it.endsBadly(t, repo, "FailedCreate", "quota_exceeded", "There is no quota left for the agent's pod")
}

// TestAPodThatAdmissionRefusesIsSaid has an operator's limits in the run's namespace that agents exceed.
func TestAPodThatAdmissionRefusesIsSaid(t *testing.T) {
	repo := it.repo("refused")
	it.inItsNamespace(t, repo, "v1/limitranges", map[string]any{"apiVersion": "v1", "kind": "LimitRange",
		"metadata": map[string]any{"name": "of-the-operator"},
		"spec":     map[string]any{"limits": []any{map[string]any{"type": "Container", "max": map[string]any{"memory": "64Mi"}}}}})
	it.endsBadly(t, repo, "FailedCreate", "config_error", "maximum memory usage per Container is 64Mi")
}

// TestAnImageThatCannotBePulledIsSaid gives agents an image that the registry doesn't have.
func TestAnImageThatCannotBePulledIsSaid(t *testing.T) {
	before := it.agentImage(t)
	t.Cleanup(func() { it.setAgentImage(t, before) })
	it.setAgentImage(t, strings.SplitN(before, "@", 2)[0]+"@sha256:"+strings.Repeat("0", 64))
	it.endsBadly(t, it.repo("image"), "Failed", "image_pull", "The agent's image can't be pulled")
}

// TestAJobThatIsRemovedWhenItHasEndedIsNoTrouble gives the Job the time to live that some clusters give to all.
func TestAJobThatIsRemovedWhenItHasEndedIsNoTrouble(t *testing.T) {
	repo := it.repo("removed")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentRuns(t, repo)
	if _, err := it.kubectl(t.Context(), "-n", pod.Namespace, "patch", "job", "agent", "--type=merge", "-p", `{"spec":{"ttlSecondsAfterFinished":0}}`); err != nil {
		t.Fatal(err)
	}
	it.model.Behave(model.Behaviour{})
	it.finished(t, repo, issue, "succeeded", "")
	it.jobGoes(t, repo)
	it.settled(t)
	it.once(t, repo, issue)
	if body := it.github.Comments(repo, issue)[0].Body; strings.Contains(body, "deleted") {
		t.Errorf("the issue speaks of a deleted Job:\n%s", body)
	}
}

// endsBadly labels an issue whose run Kubernetes will warn of, waits until the issue says so, and prints how long after
// the warning that is. No check had to ask: those come minutes later.
func (w *world) endsBadly(t *testing.T, repo, warning, reason, words string) {
	t.Helper()
	warned := w.warnings(t, warning)
	issue := w.newIssue(t, repo, stack.IssueTitle, "")
	begun := time.Now()
	w.label(t, repo, issue)
	until(t, labelTime, func(context.Context) (string, error) {
		for _, c := range w.github.Comments(repo, issue) {
			if strings.Contains(c.Body, words) {
				return "", nil
			}
		}
		return fmt.Sprintf("a comment that says %q", words), nil
	})
	said := time.Now()
	var in string
	if err := w.db.QueryRow(t.Context(), `SELECT namespace FROM runs WHERE repository = $1`, repo).Scan(&in); err != nil {
		t.Fatal(err)
	}
	at := warned(in)
	t.Logf("%s: Kubernetes warned (%s) %.1f s after the label, the issue says it %.1f s after that", reason, warning, at.Sub(begun).Seconds(), said.Sub(at).Seconds())
	var checks int
	if err := w.db.QueryRow(t.Context(), `
		SELECT count(*)
		FROM inbox JOIN events USING (source, id)
		WHERE type = 'dev.codexk8s.run.check' AND inbox.function = 'run-observer' AND correlation LIKE $1 || '#%' AND handled_at <= $2
	`, repo, said).Scan(&checks); err != nil {
		t.Fatal(err)
	}
	if checks > 0 {
		t.Errorf("%d checks came before the issue said it: nobody told", checks)
	}
	w.finished(t, repo, issue, "failed", reason)
	w.jobGoes(t, repo)
}

// warnings watches for Kubernetes' warnings with that reason, and tells when the first one in a namespace was seen.
func (w *world) warnings(t *testing.T, reason string) (first func(namespace string) time.Time) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]time.Time{}
	w.watch(t, "v1/events", "", func(at time.Time, _ string, o *unstructured.Unstructured) {
		var e corev1.Event
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &e); err != nil || e.Type != corev1.EventTypeWarning || e.Reason != reason {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, known := seen[e.Namespace]; !known {
			seen[e.Namespace] = at
		}
	})
	return func(namespace string) time.Time {
		mu.Lock()
		defer mu.Unlock()
		at, ok := seen[namespace]
		if !ok {
			t.Fatalf("Kubernetes has not warned of %s in %s", reason, namespace)
		}
		return at
	}
}

// inItsNamespace makes an operator's object in the namespace of the repository's run, as soon as that is there.
func (w *world) inItsNamespace(t *testing.T, repo, path string, object map[string]any) {
	t.Helper()
	w.watch(t, "v1/namespaces", ours, func(_ time.Time, change string, o *unstructured.Unstructured) {
		if change != "ADDED" || o.GetAnnotations()["codexk8s.dev/repository"] != repo {
			return
		}
		if _, err := w.api.Resource(resource(path)).Namespace(o.GetName()).Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}); err != nil {
			t.Errorf("making %s in %s: %v", path, o.GetName(), err)
		}
	})
}

// jobGoes waits until the repository's Job is gone: one that could not begin would try for an hour.
func (w *world) jobGoes(t *testing.T, repo string) {
	t.Helper()
	until(t, time.Minute, func(ctx context.Context) (string, error) {
		jobs, err := list[batchv1.Job](ctx, w, "batch/v1/jobs", "", ours)
		for _, j := range jobs {
			if j.Annotations["codexk8s.dev/repository"] == repo {
				return "the Job in " + j.Namespace + " to go", err
			}
		}
		return "", err
	})
}
