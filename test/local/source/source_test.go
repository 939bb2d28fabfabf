package source

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/local/kube"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"sigs.k8s.io/yaml"
)

// receive is a sink that answers the first requests with the codes given and then 202.
func receive(t *testing.T, codes ...int) (string, <-chan event.Event) {
	t.Helper()
	events := make(chan event.Event, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(codes) > 0 {
			w.WriteHeader(codes[0])
			codes = codes[1:]
			return
		}
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			t.Errorf("the sink got a bad event: %v", err)
			return
		}
		events <- *e
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	return server.URL, events
}

func next(t *testing.T, events <-chan event.Event) event.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event came")
		return event.Event{}
	}
}

func parse(t *testing.T, document string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatal(err)
	}
}

// cluster is an empty one, and its API server.
func cluster(t *testing.T) (*kube.Store, *kube.Server) {
	t.Helper()
	store, err := kube.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	server, err := kube.Serve(store, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return store, server
}

func TestAPIServerTellsOfSelectedJobs(t *testing.T) {
	store, server := cluster(t)
	create := func(r *kube.Resource, document string) *unstructured.Unstructured {
		t.Helper()
		o := &unstructured.Unstructured{}
		parse(t, document, &o.Object)
		o, err := store.Create(r, o)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: %s, namespace: run, labels: {app.kubernetes.io/managed-by: %s}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: i}]}}}}`
	create(kube.Namespaces, `{apiVersion: v1, kind: Namespace, metadata: {name: run}}`)
	create(kube.Jobs, fmt.Sprintf(job, "before", "codexk8s"))
	create(kube.Jobs, fmt.Sprintf(job, "other", "somebody"))

	var o sourcesv1.ApiServerSource
	parse(t, `
metadata: {name: jobs, namespace: codexk8s}
spec:
  mode: Resource
  namespaceSelector: {}
  ceOverrides: {extensions: {team: platform}}
  resources: [{apiVersion: batch/v1, kind: Job, selector: {matchLabels: {app.kubernetes.io/managed-by: codexk8s}}}]`, &o)
	url, events := receive(t, 500, 503) // the first event is tried again
	config := reach(t, server)
	a, err := StartAPIServer(t.Context(), &o, config, url)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	after := create(kube.Jobs, fmt.Sprintf(job, "after", "codexk8s"))
	_ = unstructured.SetNestedField(after.Object, int64(1), "status", "active")
	if _, err := store.Update(kube.Jobs, after, true); err != nil {
		t.Fatal(err)
	}
	background := metav1.DeletePropagationBackground
	if _, err := store.Delete(kube.Jobs, "run", "after", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 4 {
		e := next(t, events)
		var data struct{ Status struct{ Active int } }
		if err := json.Unmarshal(e.Data(), &data); err != nil {
			t.Fatal(err)
		}
		x := e.Extensions()
		if e.Source() != config.Host {
			t.Errorf("the source is %s, want the API server %s", e.Source(), config.Host)
		}
		got = append(got, fmt.Sprintf("%s %s [%v %v %v %v %v] active %d", e.Type(), e.Subject(), x["kind"], x["apiversion"], x["namespace"], x["name"], x["team"], data.Status.Active))
	}
	want := []string{
		"dev.knative.apiserver.resource.add /apis/batch/v1/namespaces/run/jobs/before [Job batch/v1 run before platform] active 0",
		"dev.knative.apiserver.resource.add /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 0",
		"dev.knative.apiserver.resource.update /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 1",
		"dev.knative.apiserver.resource.delete /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// reach returns how a client with all rights reaches the server.
func reach(t *testing.T, server *kube.Server) *rest.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.WriteConfig(file); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// An API server that has forgotten the versions, or was away, is asked for the list again: what happened meanwhile is
// told as add, update or delete, and what has not changed is not told twice.
func TestAPIServerCatchesUpAfterABrokenWatch(t *testing.T) {
	object := func(name, version string) map[string]any {
		return map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{
			"name": name, "namespace": "run", "uid": "uid-" + name, "resourceVersion": version}}
	}
	lists := [][]any{
		{object("same", "1"), object("changes", "2"), object("goes", "3")},
		{object("same", "1"), object("changes", "8"), object("comes", "9")},
	}
	var listed, watched int
	var versions []string
	again := make(chan struct{}) // closed when it is watched the second time
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			list := lists[min(listed, 1)]
			listed++
			_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "batch/v1", "kind": "JobList",
				"metadata": map[string]any{"resourceVersion": fmt.Sprint(10 * listed)}, "items": list})
			return
		}
		versions = append(versions, r.URL.Query().Get("resourceVersion"))
		if watched++; watched == 1 {
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ERROR", "object": map[string]any{
				"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}})
			return
		}
		close(again)
		<-r.Context().Done()
	}))
	defer api.Close()
	var o sourcesv1.ApiServerSource
	parse(t, `{metadata: {name: jobs, namespace: run}, spec: {mode: Resource, resources: [{apiVersion: batch/v1, kind: Job}]}}`, &o)
	url, events := receive(t)
	a, err := StartAPIServer(t.Context(), &o, &rest.Config{Host: api.URL}, url)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 6 {
		e := next(t, events)
		got = append(got, fmt.Sprintf("%s %v", strings.TrimPrefix(e.Type(), "dev.knative.apiserver.resource."), e.Extensions()["name"]))
	}
	<-again
	a.Stop()
	want := []string{"add same", "add changes", "add goes", "update changes", "add comes", "delete goes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10", "20"}, versions); diff != "" {
		t.Errorf("watched from (-want +got):\n%s", diff)
	}
}

func TestAPIServerSaysWhatItMayNotList(t *testing.T) {
	_, server := cluster(t)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.WriteAccountConfig(file, "codexk8s", "nobody"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	var o sourcesv1.ApiServerSource
	parse(t, `{metadata: {name: jobs, namespace: codexk8s}, spec: {namespaceSelector: {}, resources: [{apiVersion: batch/v1, kind: Job}]}}`, &o)
	_, err = StartAPIServer(t.Context(), &o, config, "http://127.0.0.1:1")
	want := `User "system:serviceaccount:codexk8s:nobody" cannot list resource "jobs" in API group "batch" at the cluster scope`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

func TestPingTicks(t *testing.T) {
	var o sourcesv1.PingSource
	parse(t, `{metadata: {name: tick, namespace: codexk8s}, spec: {schedule: "0 0 1 1 *", contentType: application/json, data: '{"a":1}'}}`, &o)
	url, events := receive(t)
	p, err := StartPing(&o, url, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := next(t, events)
	got := fmt.Sprintf("%s %s %s", e.Type(), e.Source(), e.Data())
	if diff := cmp.Diff(`dev.knative.sources.ping /apis/v1/namespaces/codexk8s/pingsources/tick {"a":1}`, got); diff != "" {
		t.Errorf("tick (-want +got):\n%s", diff)
	}

	often, err := StartPing(&o, url, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer often.Stop()
	if first, second := next(t, events), next(t, events); first.ID() == second.ID() {
		t.Error("two ticks have one id")
	}
}

func TestABadScheduleIsAnError(t *testing.T) {
	var o sourcesv1.PingSource
	parse(t, `{metadata: {name: tick}, spec: {schedule: "often"}}`, &o)
	if _, err := StartPing(&o, "http://127.0.0.1:1", 0); err == nil {
		t.Error("no error")
	}
}
