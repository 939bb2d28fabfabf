//go:build cluster

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource reads "batch/v1/jobs" or "v1/pods".
func resource(path string) schema.GroupVersionResource {
	parts := strings.Split(path, "/")
	if len(parts) == 2 {
		return schema.GroupVersionResource{Version: parts[0], Resource: parts[1]}
	}
	return schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}
}

// get reads an object into its type; the zero value when there is none.
func get[T any](ctx context.Context, w *world, path, in, name string) (o T, err error) {
	u, err := w.api.Resource(resource(path)).Namespace(in).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return o, nil
	}
	if err != nil {
		return o, err
	}
	return o, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &o)
}

// list reads objects; in "" = of all namespaces.
func list[T any](ctx context.Context, w *world, path, in, labels string) ([]T, error) {
	us, err := w.api.Resource(resource(path)).Namespace(in).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, err
	}
	all := make([]T, len(us.Items))
	for i := range us.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(us.Items[i].Object, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// mustList is list where an error ends the test.
func mustList[T any](t *testing.T, w *world, path, in, labels string) []T {
	t.Helper()
	all, err := list[T](t.Context(), w, path, in, labels)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wait asks ten times a second until nothing is missing. An error of the question is told like something missing: the
// cluster and the database are taken away on purpose here.
func wait(ctx context.Context, ask func() (missing string, err error)) error {
	for {
		missing, err := ask()
		last := missing
		switch {
		case err == nil && missing == "":
			return nil
		case errors.As(err, new(fatal)):
			return err
		case err != nil:
			last += ": " + err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", last, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fatal is an error that waiting can't mend.
type fatal struct{ error }

// until waits, and fails the test when the time is over.
func until(t *testing.T, patience time.Duration, ask func(ctx context.Context) (missing string, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("%s are over", patience))
	defer cancel()
	if err := wait(ctx, func() (string, error) { return ask(ctx) }); err != nil {
		it.tell(t)
		t.Fatal(err)
	}
}

// functionPods are the pods of functions that are there, those on their way out included.
func (w *world) functionPods(ctx context.Context, function string) ([]corev1.Pod, error) {
	selector := "serving.knative.dev/service"
	if function != "" {
		selector += "=" + function
	}
	return list[corev1.Pod](ctx, w, "v1/pods", namespace, selector)
}

// atZero waits until no function has a pod. timekeeper wakes up every minute, so a moment comes in each.
func (w *world) atZero(t *testing.T) {
	t.Helper()
	until(t, 4*time.Minute, func(ctx context.Context) (string, error) {
		pods, err := w.functionPods(ctx, "")
		var names []string
		for _, p := range pods {
			names = append(names, p.Name)
		}
		if len(names) > 0 {
			return "pods of functions to go: " + strings.Join(names, " "), err
		}
		return "", err
	})
}

// tell prints what a person would look at first when a test fails.
func (w *world) tell(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"-n", namespace, "get", "pods,ksvc"},
		{"get", "pods,jobs", "-A", "-l", "app.kubernetes.io/managed-by=codexk8s"},
		{"get", "events", "-A", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"},
	} {
		out, err := w.kubectl(ctx, args...)
		lines := strings.Split(out, "\n")
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	functions, err := w.functionPods(ctx, "")
	if err != nil {
		t.Logf("pods of functions: %v", err)
	}
	for _, p := range functions {
		out, err := w.kubectl(ctx, "-n", namespace, "logs", p.Name, "-c", "user-container", "--tail=15")
		t.Logf("logs of %s: %v\n%s", p.Name, err, out)
	}
	pods, err := list[corev1.Pod](ctx, w, "v1/pods", "", "app.kubernetes.io/managed-by=codexk8s")
	if err != nil {
		t.Logf("pods of agents: %v", err)
	}
	for _, p := range pods[max(0, len(pods)-3):] {
		out, err := w.kubectl(ctx, "-n", p.Namespace, "logs", p.Name, "--all-containers", "--tail=15")
		t.Logf("logs of %s/%s: %v\n%s", p.Namespace, p.Name, err, out)
	}
}

// watch calls f for every change of the resource in all namespaces with those labels, until the test ends.
func (w *world) watch(t *testing.T, path, labels string, f func(at time.Time, what string, o *unstructured.Unstructured)) {
	t.Helper()
	watcher, err := w.api.Resource(resource(path)).Watch(t.Context(), metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		t.Fatalf("watching %s: %v", path, err)
	}
	go func() {
		for e := range watcher.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok {
				f(time.Now(), string(e.Type), o)
			}
		}
	}()
	t.Cleanup(watcher.Stop)
}
