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
	until(t, labelTime, func(ctx context.Context) (string, error) {
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
