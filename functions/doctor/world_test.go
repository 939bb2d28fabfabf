package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

// A world is an installed platform: our manifests on an API server, each object
// ready, seen with the doctor's own rights; and a database where all is well.
type world struct {
	*testing.T
	env    env
	api    *kube.Server
	client dynamic.Interface // may do all
	sql    *pgtest.DB
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := kube.Open("")
	if err != nil {
		t.Fatal(err)
	}
	api, err := kube.Serve(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close(); s.Close() })
	w := &world{T: t, api: api}
	all := filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.WriteConfig(all); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", all)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	if w.client, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	w.install()
	w.env.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.WriteAccountConfig(w.env.Kubeconfig, namespace, "doctor"); err != nil {
		t.Fatal(err)
	}
	w.env.DatabaseURL = pgtest.New(t)
	w.sql = pgtest.Open(t, w.env.DatabaseURL)
	w.exec(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop')`)
	w.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/shop', 'shop')`)
	w.exec(`INSERT INTO ticks (function, ticked_at) VALUES ('timekeeper', now() - interval '30 seconds')`)
	return w
}

// install puts the manifests' objects into the API server as a cluster would have them.
func (w *world) install() {
	w.Helper()
	for _, dir := range []string{"config", "eventing"} {
		files, err := filepath.Glob("../../" + dir + "/*.yaml")
		if err != nil {
			w.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				w.Fatal(err)
			}
			for document := range strings.SplitSeq(string(content), "\n---\n") {
				w.put(document)
			}
		}
	}
}

// put creates an object with its status; a Knative one becomes ready. A kind that the API server doesn't play is left
// out.
func (w *world) put(document string) {
	w.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
		w.Fatal(err)
	}
	if strings.Contains(o.GetAPIVersion(), "knative.dev") {
		o.Object["status"] = ready("True", "", "")
	}
	in := w.in(o.GroupVersionKind().Group, strings.ToLower(o.GetKind())+"s", o.GetNamespace())
	created, err := in.Create(w.Context(), o, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	if o.Object["status"] != nil {
		o.SetResourceVersion(created.GetResourceVersion())
		if _, err := in.UpdateStatus(w.Context(), o, metav1.UpdateOptions{}); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) in(group, plural, ns string) dynamic.ResourceInterface {
	r := w.client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural})
	if ns == "" {
		return r
	}
	return r.Namespace(ns)
}

func ready(status, reason, message string) map[string]any {
	return map[string]any{"observedGeneration": int64(1), "conditions": []any{
		map[string]any{"type": "Ready", "status": status, "reason": reason, "message": message},
	}}
}

// set gives a Knative object another status.
func (w *world) set(group, plural, name string, status map[string]any) {
	w.Helper()
	o, err := w.in(group, plural, namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	o.Object["status"] = status
	if _, err := w.in(group, plural, namespace).UpdateStatus(w.Context(), o, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(group, plural, name string) {
	w.Helper()
	if err := w.in(group, plural, namespace).Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(query string) {
	w.Helper()
	w.sql.Do(query)
}

func (w *world) doctor(args ...string) (string, error) {
	var out bytes.Buffer
	err := run(w.Context(), w.env, args, &out)
	return out.String(), err
}
