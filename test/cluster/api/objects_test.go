//go:build apiserver

package api

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/stage"
)

// newRun is a run's objects in a namespace of its own, which goes with the test.
func newRun(t *testing.T) agentpod.Objects {
	t.Helper()
	id, repo := uuid.NewString(), "acme/"+strings.ToLower(uuid.NewString())
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL = "registry.example.com/agent-runner:1", "http://agent-gateway", "http://llm-caller/v1"
	o, err := agentpod.Build(events.AgentRequested{
		RunRef:    events.RunRef{RunID: id, Project: "demo", Repository: repo, Issue: 1},
		Namespace: stage.Namespace(events.WorkItem(repo, 1)), Stage: "dev", Role: "dev", Engine: "codex", CPU: "2", Memory: "4Gi", Kubernetes: events.KubernetesRead,
		Deadline: time.Now().Add(time.Hour), ExpiresAt: time.Now().Add(time.Hour),
	}, p, "token", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = admin.Resource(spaces).Delete(context.Background(), o.Namespace.Value.GetName(), metav1.DeleteOptions{})
	})
	return o
}

func create(t *testing.T, as dynamic.Interface, o agentpod.Object, dryRun bool) error {
	t.Helper()
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err := at(as, toUnstructured(t, o.Value)).Create(t.Context(), toUnstructured(t, o.Value), options)
	return err
}

// TestAgentLauncherMayMakeEveryObjectOfARun makes them with its rights, under the admission policy, in its order; the
// Job only on trial, so that nothing is pulled. The Job's pod is tried by itself: Pod Security refuses pods, not Jobs.
func TestAgentLauncherMayMakeEveryObjectOfARun(t *testing.T) {
	launcher, o := as(t, "agent-launcher"), newRun(t)
	if err := create(t, launcher, o.Namespace, false); err != nil {
		t.Fatal(err)
	}
	for _, object := range o.Support {
		if err := create(t, launcher, object, false); err != nil {
			t.Errorf("%s %s: %v", object.Resource.Resource, object.Value.GetName(), err)
		}
	}
	if err := create(t, launcher, o.Job, true); err != nil {
		t.Errorf("the Job: %v", err)
	}
	job := toUnstructured(t, o.Job.Value)
	pod := podOf(t, job.Object, o.Namespace.Value.GetName())
	if err := tried(t, pod); err != nil {
		t.Errorf("the Job's pod under Pod Security: %v", err)
	}
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	if err := tried(t, pod); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "restricted") {
		t.Errorf("a pod that may gain rights is answered %v, want a refusal by Pod Security", err)
	}
	namespace := o.Namespace.Value.GetName()
	want := slices.Concat(rights("events", "get", "list", "watch"), rights("pods", "get", "list", "watch"),
		rights("pods/log", "get", "list", "watch"), rights("services", "get", "list", "watch"))
	slices.Sort(want)
	if diff := cmp.Diff(want, allowed(t, user(namespace, agentpod.JobName), namespace)); diff != "" {
		t.Errorf("rights of an agent in its namespace (-want +got):\n%s", diff)
	}
	for _, elsewhere := range []string{"", "default"} {
		if got := allowed(t, user(namespace, agentpod.JobName), elsewhere); got != nil {
			t.Errorf("rights of an agent in namespace %q: %q", elsewhere, got)
		}
	}
}

// podOf is the pod that the Job controller would make. Its account was made a moment ago.
func podOf(t *testing.T, job map[string]any, in string) *corev1.Pod {
	t.Helper()
	template := job["spec"].(map[string]any)["template"].(map[string]any)
	pod := &corev1.Pod{}
	fromUnstructured(t, map[string]any{"metadata": template["metadata"], "spec": template["spec"]}, pod)
	pod.APIVersion, pod.Kind, pod.Name, pod.Namespace = "v1", "Pod", "agent-x", in
	return pod
}

func tried(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	return create(t, admin, agentpod.Object{Resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, Value: pod}, true)
}

// TestAgentLauncherTouchesNoNamespaceButThoseOfRuns: its rights hold in the whole cluster, and the admission policy
// takes back what is not a run's.
func TestAgentLauncherTouchesNoNamespaceButThoseOfRuns(t *testing.T) {
	launcher, o := as(t, "agent-launcher"), newRun(t)
	trial := metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	named := func(name string, labels map[string]string) agentpod.Object {
		return agentpod.Object{Resource: spaces, Value: &corev1.Namespace{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}}
	}
	somebodys, likeOurs := "somebody-"+uuid.NewString()[:6], agentpod.NamespacePrefix+"of-somebody-"+uuid.NewString()[:6]
	elsewhere := func(object agentpod.Object) agentpod.Object {
		moved := toUnstructured(t, object.Value)
		moved.SetNamespace(somebodys)
		return agentpod.Object{Resource: object.Resource, Value: moved}
	}
	for _, name := range []string{somebodys, likeOurs} {
		if err := create(t, admin, named(name, nil), false); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Resource(spaces).Delete(context.Background(), name, metav1.DeleteOptions{}) })
	}
	for _, object := range o.Support {
		if object.Resource == gvr.Roles { // without which nobody may bind it
			if err := create(t, admin, elsewhere(object), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	attempts := map[string]func() error{
		"delete somebody's namespace": func() error { return launcher.Resource(spaces).Delete(t.Context(), somebodys, trial) },
		"delete a namespace with our prefix that is not ours": func() error {
			return launcher.Resource(spaces).Delete(t.Context(), likeOurs, trial)
		},
		"delete the platform's namespace":  func() error { return launcher.Resource(spaces).Delete(t.Context(), namespace, trial) },
		"make a Job elsewhere":             func() error { return create(t, launcher, elsewhere(o.Job), true) },
		"make a namespace of another name": func() error { return create(t, launcher, named("somebody", o.Namespace.Value.GetLabels()), true) },
		"make a namespace without Pod Security": func() error {
			return create(t, launcher, named(agentpod.NamespacePrefix+"x", map[string]string{agentpod.LabelManagedBy: agentpod.ManagedBy}), true)
		},
		"take the platform's label off a namespace": func() error {
			if err := create(t, launcher, o.Namespace, false); err != nil {
				t.Fatal(err)
			}
			u, err := launcher.Resource(spaces).Get(t.Context(), o.Namespace.Value.GetName(), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			u.SetLabels(map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
			_, err = launcher.Resource(spaces).Update(t.Context(), u, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		},
	}
	for _, object := range o.Support {
		attempts["make "+object.Resource.Resource+" "+object.Value.GetName()+" elsewhere"] = func() error { return create(t, launcher, elsewhere(object), true) }
	}
	for what, try := range attempts {
		// A policy that was just made holds after a moment.
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if err = try(); err != nil {
				break
			}
		}
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "agent-launcher") {
			t.Errorf("agent-launcher may %s: %v", what, err)
		}
	}
}
