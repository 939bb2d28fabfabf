package source

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"codexk8s.dev/test/local/kube"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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

func TestAPIServerTellsOfSelectedJobs(t *testing.T) {
	store, err := kube.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
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
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: run}}
  ceOverrides: {extensions: {team: platform}}
  resources: [{apiVersion: batch/v1, kind: Job, selector: {matchLabels: {app.kubernetes.io/managed-by: codexk8s}}}]`, &o)
	url, events := receive(t, 500, 503) // the first event is tried again
	a, err := StartAPIServer(&o, store, "https://10.0.0.1", url)
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
		got = append(got, fmt.Sprintf("%s %s %s [%v %v %v %v %v] active %d", e.Type(), e.Source(), e.Subject(), x["kind"], x["apiversion"], x["namespace"], x["name"], x["team"], data.Status.Active))
	}
	want := []string{
		"dev.knative.apiserver.resource.add https://10.0.0.1 /apis/batch/v1/namespaces/run/jobs/before [Job batch/v1 run before platform] active 0",
		"dev.knative.apiserver.resource.add https://10.0.0.1 /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 0",
		"dev.knative.apiserver.resource.update https://10.0.0.1 /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 1",
		"dev.knative.apiserver.resource.delete https://10.0.0.1 /apis/batch/v1/namespaces/run/jobs/after [Job batch/v1 run after platform] active 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
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
