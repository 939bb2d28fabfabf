//go:build cluster

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	ours       = "app.kubernetes.io/managed-by=codexk8s"
	agentImage = "AGENT_IMAGE"
)

// agentRuns lets models answer slowly and waits until the agent of the repository's run talks to one.
func (w *world) agentRuns(t *testing.T, repo string) corev1.Pod {
	t.Helper()
	w.model.Behave(model.Behaviour{Mode: model.Slow, Delay: 400 * time.Millisecond})
	t.Cleanup(func() { w.model.Behave(model.Behaviour{}) })
	begun := time.Now()
	var pod corev1.Pod
	until(t, 4*time.Minute, func(ctx context.Context) (string, error) {
		pods, err := w.agentPods(ctx, repo)
		running := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
		if err != nil || running < 0 {
			return "the agent's pod to run", err
		}
		pod = pods[running]
		for _, r := range w.model.Requests() {
			if r.At.After(begun) {
				return "", nil
			}
		}
		return "the agent to ask the model", nil
	})
	return pod
}

// agentPods are the pods of the repository's runs.
func (w *world) agentPods(ctx context.Context, repo string) ([]corev1.Pod, error) {
	all, err := list[corev1.Pod](ctx, w, "v1/pods", "", ours)
	var own []corev1.Pod
	for _, p := range all {
		if p.Annotations["codexk8s.dev/repository"] == repo {
			own = append(own, p)
		}
	}
	return own, err
}

// killRunning kills the function's pods while an agent works.
func (w *world) killRunning(t *testing.T, function string) {
	t.Helper()
	until(t, time.Minute, func(ctx context.Context) (string, error) {
		pods, err := w.functionPods(ctx, function)
		if len(pods) == 0 {
			return "a pod of " + function, err
		}
		return "", err
	})
	w.kill(t, namespace, function)
	w.model.Behave(model.Behaviour{})
}

// TestAnEvictedAgentGoesOnInItsNextPod evicts the agent's pod through the Eviction API, as a drain does. What
// pressure on the node does is the matter of pressure_test.go.
func TestAnEvictedAgentGoesOnInItsNextPod(t *testing.T) {
	repo := it.repo("evicted")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentRuns(t, repo)
	eviction := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "policy/v1", "kind": "Eviction",
		"metadata": map[string]any{"name": pod.Name, "namespace": pod.Namespace}}}
	_, err := it.api.Resource(resource("v1/pods")).Namespace(pod.Namespace).Create(t.Context(), eviction, metav1.CreateOptions{}, "eviction")
	// The answer is a Status, which has no name; the pod tells whether it went.
	if err != nil && !strings.Contains(err.Error(), "name") {
		t.Fatal(err)
	}
	it.model.Behave(model.Behaviour{})
	until(t, 3*time.Minute, func(ctx context.Context) (string, error) {
		pods, err := it.agentPods(ctx, repo)
		for _, p := range pods {
			if p.UID != pod.UID {
				return "", nil
			}
		}
		return "the next pod", err
	})
	it.finished(t, repo, issue, "succeeded", "")
	it.settled(t)
	it.once(t, repo, issue)
}

// TestAQuotaThatIsExhaustedIsSaid has an operator's quota in the run's namespace before the Job's pod can be made.
func TestAQuotaThatIsExhaustedIsSaid(t *testing.T) {
	repo := it.repo("quota")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	made := make(chan error, 1)
	it.watch(t, "v1/namespaces", ours, func(_ time.Time, change string, o *unstructured.Unstructured) {
		if change != "ADDED" || o.GetAnnotations()["codexk8s.dev/repository"] != repo {
			return
		}
		quota := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ResourceQuota",
			"metadata": map[string]any{"name": "of-the-operator"}, "spec": map[string]any{"hard": map[string]any{"pods": "0"}}}}
		_, err := it.api.Resource(resource("v1/resourcequotas")).Namespace(o.GetName()).Create(t.Context(), quota, metav1.CreateOptions{})
		made <- err
	})
	it.label(t, repo, issue)
	select {
	case err := <-made:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("there was no namespace for the run in 2 minutes")
	}
	it.checked(t, repo)
	it.finished(t, repo, issue, "failed", "quota_exceeded")
	it.jobGoes(t, repo)
}

// TestAnImageThatCannotBePulledIsSaid gives agents an image that the registry doesn't have.
func TestAnImageThatCannotBePulledIsSaid(t *testing.T) {
	before := it.agentImage(t)
	t.Cleanup(func() { it.setAgentImage(t, before) })
	it.setAgentImage(t, strings.SplitN(before, "@", 2)[0]+"@sha256:"+strings.Repeat("0", 64))
	repo := it.repo("image")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	it.checked(t, repo)
	it.finished(t, repo, issue, "failed", "image_pull")
	it.jobGoes(t, repo)
}

// jobGoes waits until the repository's Job is gone, which could not begin and would try for an hour.
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

// checked sends the run's due checks now and then, which otherwise take minutes to come.
func (w *world) checked(t *testing.T, repo string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := w.db.Exec(ctx, `
				UPDATE pending p SET due_at = now() FROM events e
				WHERE (p.source, p.id) = (e.source, e.id) AND e.type = 'dev.codexk8s.run.check' AND e.correlation LIKE $1 || '#%'
			`, repo)
			if err != nil && ctx.Err() == nil {
				t.Logf("letting the checks come due: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done })
}

// agentImage is what agent-launcher gives to Jobs.
func (w *world) agentImage(t *testing.T) string {
	t.Helper()
	image, err := w.kubectl(t.Context(), "-n", namespace, "get", "ksvc", "agent-launcher", "-o",
		fmt.Sprintf(`jsonpath={.spec.template.spec.containers[0].env[?(@.name==%q)].value}`, agentImage))
	if err != nil || image == "" {
		t.Fatalf("agent-launcher's %s: %q, %v", agentImage, image, err)
	}
	return image
}

func (w *world) setAgentImage(t *testing.T, image string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	changes, err := w.environment("agent-launcher", map[string]string{agentImage: image})
	if err == nil {
		_, err = w.kubectl(ctx, "-n", namespace, "patch", "ksvc", "agent-launcher", "--type=json", "-p", toYAML(changes))
	}
	if err = errors.Join(err, w.servicesReady(ctx)); err != nil {
		t.Fatal(err)
	}
}
