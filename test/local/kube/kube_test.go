package kube

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// cluster is a server with a real client.
type cluster struct {
	*testing.T
	server *Server
	config *rest.Config
	client dynamic.Interface
}

func start(t *testing.T, file string) *cluster {
	t.Helper()
	store, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	server, err := Serve(store, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); store.Close() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.WriteConfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t, server, config, client}
}

func (c *cluster) in(r *Resource, namespace string) dynamic.ResourceInterface {
	resource := c.client.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Plural})
	if namespace == "" {
		return resource
	}
	return resource.Namespace(namespace)
}

func object(t *testing.T, document string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return o
}

func (c *cluster) create(r *Resource, namespace, document string) *unstructured.Unstructured {
	c.Helper()
	o, err := c.in(r, namespace).Create(c.Context(), object(c.T, document), metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return o
}

const (
	namespace = `{apiVersion: v1, kind: Namespace, metadata: {name: run, labels: {app: x}}}`
	secret    = `{apiVersion: v1, kind: Secret, metadata: {name: run, labels: {app: x}}, stringData: {RUN_TOKEN: t}}`
	job       = `{apiVersion: batch/v1, kind: Job, metadata: {name: agent}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: i}]}}}}`
)

func TestCreateGetListUpdate(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	created := c.create(Secrets, "run", secret)
	if at := created.GetCreationTimestamp(); created.GetUID() == "" || created.GetResourceVersion() == "" || at.IsZero() {
		t.Errorf("the server's metadata is missing: %v", created.Object["metadata"])
	}
	if diff := cmp.Diff(map[string]any{"RUN_TOKEN": "dA=="}, created.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	c.create(Secrets, "run", `{apiVersion: v1, kind: Secret, metadata: {generateName: other-}}`)
	list, err := c.in(Secrets, "run").List(t.Context(), metav1.ListOptions{LabelSelector: "app=x"})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetName() != "run" {
		t.Errorf("the selected list is %v, %v", list, err)
	}
	if list, err = c.in(Secrets, "").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=run"}); err != nil || len(list.Items) != 1 {
		t.Errorf("the list of all namespaces is %v, %v", list, err)
	}
	stale := created.DeepCopy()
	created.SetLabels(map[string]string{"app": "y"})
	updated, err := c.in(Secrets, "run").Update(t.Context(), created, metav1.UpdateOptions{})
	if err != nil || updated.GetLabels()["app"] != "y" {
		t.Errorf("updated to %v, %v", updated, err)
	}
	if _, err := c.in(Secrets, "run").Update(t.Context(), stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a stale update: %v", err)
	}
}

func TestErrorsAreTheRealOnes(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	c.create(Secrets, "run", secret)
	uid := types.UID("00000000-0000-0000-0000-000000000000")
	add := func(r *Resource, namespace, document string) error {
		_, err := c.in(r, namespace).Create(t.Context(), object(t, document), metav1.CreateOptions{})
		return err
	}
	for _, test := range []struct {
		name string
		err  error
		is   func(error) bool
		text string
	}{
		{"there already", add(Secrets, "run", secret), apierrors.IsAlreadyExists, `secrets "run" already exists`},
		{"no namespace", add(Secrets, "gone", secret), apierrors.IsNotFound, `namespaces "gone" not found`},
		{"bad label", add(Secrets, "run", `{apiVersion: v1, kind: Secret, metadata: {name: s, labels: {run: "owner/repo#1"}}}`), apierrors.IsInvalid, "metadata.labels"},
		{"bad name", add(Namespaces, "", `{apiVersion: v1, kind: Namespace, metadata: {name: Run_1}}`), apierrors.IsInvalid, "metadata.name"},
		{"unknown field", add(Jobs, "run", strings.Replace(job, "restartPolicy", "restartPolicee", 1)), apierrors.IsBadRequest, `unknown field "spec.template.spec.restartPolicee"`},
		{"nothing to get", func() error { _, err := c.in(Jobs, "run").Get(t.Context(), "agent", metav1.GetOptions{}); return err }(), apierrors.IsNotFound, `jobs.batch "agent" not found`},
		{"another uid", c.in(Secrets, "run").Delete(t.Context(), "run", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}), apierrors.IsConflict, "UID"},
		{"unknown resource", func() error {
			_, err := c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "widgets"}).List(t.Context(), metav1.ListOptions{})
			return err
		}(), apierrors.IsNotFound, "could not find"},
	} {
		if test.err == nil || !test.is(test.err) || !strings.Contains(test.err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, test.err)
		}
	}
	anonymous, err := rest.HTTPClientFor(rest.AnonymousClientConfig(c.config))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := anonymous.Get(c.server.URL() + "/api/v1/namespaces")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", resp.Status)
	}
	c.server.SetOutage(true)
	if _, err := c.in(Secrets, "run").Get(t.Context(), "run", metav1.GetOptions{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("in an outage: %v", err)
	}
}

func TestPatches(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	apply := func(document string) map[string]any {
		t.Helper()
		o, err := c.in(ConfigMaps, "run").Apply(t.Context(), "settings", object(t, document), metav1.ApplyOptions{FieldManager: "launcher"})
		if err != nil {
			t.Fatal(err)
		}
		data, _ := o.Object["data"].(map[string]any)
		return data
	}
	patch := func(kind types.PatchType, body string) {
		t.Helper()
		if _, err := c.in(ConfigMaps, "run").Patch(t.Context(), "settings", kind, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	apply(`{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: "1", b: "2"}}`) // creates
	patch(types.MergePatchType, `{"data":{"c":"3"}}`)
	patch(types.StrategicMergePatchType, `{"data":{"d":"4"}}`)
	patch(types.JSONPatchType, `[{"op":"add","path":"/data/e","value":"5"}]`)
	// b is no longer said by the one who said it; c, d and e are somebody else's.
	got := apply(`{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: "one"}}`)
	if diff := cmp.Diff(map[string]any{"a": "one", "c": "3", "d": "4", "e": "5"}, got); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if _, err := c.in(ConfigMaps, "run").Patch(t.Context(), "none", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("patching nothing: %v", err)
	}
}

func TestStatusIsAHalfOfItsOwn(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	o := c.create(Jobs, "run", job)
	_ = unstructured.SetNestedField(o.Object, int64(1), "status", "active")
	o.SetLabels(map[string]string{"lost": "yes"})
	o, err := c.in(Jobs, "run").UpdateStatus(t.Context(), o, metav1.UpdateOptions{})
	if err != nil || o.GetLabels() != nil {
		t.Fatalf("a status update changed the labels: %v, %v", o, err)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	o.SetLabels(map[string]string{"kept": "yes"})
	if o, err = c.in(Jobs, "run").Update(t.Context(), o, metav1.UpdateOptions{}); err != nil || nested(o, "status", "active") != int64(1) {
		t.Errorf("an update changed the status: %v, %v", o, err)
	}
}

func gone(c *cluster, r *Resource, namespace, name string) bool {
	_, err := c.in(r, namespace).Get(context.Background(), name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func (c *cluster) eventually(what string, is func() bool) {
	c.Helper()
	for range 300 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatalf("it never happened: %s", what)
}

// pod makes a pod of the job as package job does.
func (c *cluster) pod(owner *unstructured.Unstructured, name, phase string) {
	c.Helper()
	o := object(c.T, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: run}, spec: {containers: [{name: a}]}, status: {phase: %s}}`, name, phase))
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: owner.GetName(), UID: owner.GetUID()}})
	if _, err := c.server.Store.Create(Pods, o); err != nil {
		c.Fatal(err)
	}
}

func TestDeletionAndDependents(t *testing.T) {
	background, foreground := metav1.DeletePropagationBackground, metav1.DeletePropagationForeground
	zero := int64(0)
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	remove := func(policy *metav1.DeletionPropagation) {
		t.Helper()
		if err := c.in(Jobs, "run").Delete(t.Context(), "agent", metav1.DeleteOptions{PropagationPolicy: policy}); err != nil {
			t.Fatal(err)
		}
	}
	end := func(pod string) {
		t.Helper()
		if _, err := c.server.Store.Delete(Pods, "run", pod, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
	}

	// Without a policy a batch/v1 Job leaves its pods.
	c.pod(c.create(Jobs, "run", job), "orphan", "Running")
	remove(nil)
	orphan, err := c.in(Pods, "run").Get(t.Context(), "orphan", metav1.GetOptions{})
	if err != nil || len(orphan.GetOwnerReferences()) > 0 || orphan.GetDeletionTimestamp() != nil {
		t.Errorf("the pod of a job deleted without a policy: %v, %v", orphan, err)
	}
	end("orphan")

	c.pod(c.create(Jobs, "run", job), "first", "Running")
	remove(&background)
	if !gone(c, Jobs, "run", "agent") || gone(c, Pods, "run", "first") {
		t.Error("in the background the job goes at once and its running pod ends first")
	}
	end("first")

	c.pod(c.create(Jobs, "run", job), "second", "Running")
	remove(&foreground)
	if gone(c, Jobs, "run", "agent") {
		t.Error("in the foreground the job went before its pod")
	}
	end("second")
	if !gone(c, Jobs, "run", "agent") || !gone(c, Pods, "run", "second") {
		t.Error("the job stayed after its pod")
	}
}

func TestANamespaceGoesWhenItIsEmpty(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	c.create(Secrets, "run", secret)
	c.pod(c.create(Jobs, "run", job), "agent-1", "Running")
	if err := c.in(Namespaces, "").Delete(t.Context(), "run", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the secret goes", func() bool { return gone(c, Secrets, "run", "run") })
	o, err := c.in(Namespaces, "").Get(t.Context(), "run", metav1.GetOptions{})
	if err != nil || nested(o, "status", "phase") != "Terminating" {
		t.Errorf("with a running pod in it: %v, %v", o, err)
	}
	_, err = c.in(Secrets, "run").Create(t.Context(), object(t, secret), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, "NamespaceTerminating") {
		t.Errorf("creating in a terminating namespace: %v", err)
	}
	zero := int64(0)
	if _, err := c.server.Store.Delete(Pods, "run", "agent-1", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the namespace goes", func() bool { return gone(c, Namespaces, "", "run") })
}

func TestWatch(t *testing.T) {
	c := start(t, "")
	c.create(Namespaces, "", namespace)
	c.create(Secrets, "run", secret)
	list, err := c.in(Secrets, "run").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.in(Secrets, "run").Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), LabelSelector: "app"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	c.create(Secrets, "run", `{apiVersion: v1, kind: Secret, metadata: {name: unlabelled}}`)
	if _, err := c.in(Secrets, "run").Patch(t.Context(), "run", types.MergePatchType, []byte(`{"data":{"a":"Yg=="}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.in(Secrets, "run").Delete(t.Context(), "run", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 2 {
		select {
		case e := <-w.ResultChan():
			o, _ := e.Object.(*unstructured.Unstructured)
			got = append(got, fmt.Sprint(e.Type, " ", o.GetName()))
		case <-time.After(5 * time.Second):
			t.Fatalf("only %v", got)
		}
	}
	if diff := cmp.Diff([]string{"MODIFIED run", "DELETED run"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestTheFileKeepsEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kube.json")
	first := start(t, file)
	first.create(Namespaces, "", namespace)
	first.create(Secrets, "run", secret)
	before := first.create(Jobs, "run", job)
	first.server.Close()
	first.server.Store.Close()

	second := start(t, file)
	after, err := second.in(Jobs, "run").Get(t.Context(), "agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Object, after.Object); diff != "" {
		t.Errorf("job (-before +after):\n%s", diff)
	}
	data, ok := second.server.Store.Data("run", "run")
	if diff := cmp.Diff(map[string][]byte{"RUN_TOKEN": []byte("t")}, data); diff != "" || !ok {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
	all, _ := second.server.Store.List(Accounts, "run", labels.Everything())
	if len(all) != 1 || all[0].GetName() != "default" {
		t.Errorf("accounts: %v", all)
	}
}

func TestDiscovery(t *testing.T) {
	c := start(t, "")
	d, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := d.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range lists {
		n += len(l.APIResources)
	}
	if n != len(resources) {
		t.Errorf("%d of %d resources were discovered", n, len(resources))
	}
}
