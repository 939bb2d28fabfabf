package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakekube "codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	runA = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"
	runB = "11111111-3b57-4c0e-9d6a-52b0c1f4a9e8"

	namespace = "codexk8s-run-7f1c8f5e3b57" // of the issue, so of both
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// A fixture is a Kubernetes API over HTTP, a database, and the function.
type fixture struct {
	*testing.T
	api     *fakekube.Server
	objects *fakekube.Store
	db      *store.DB
	sql     *pgtest.DB
	h       *handler
	server  *serve.Server
	clock   time.Time

	mu   sync.Mutex
	sent []event.Event
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: start}
	var err error
	if f.objects, err = fakekube.Open(""); err != nil {
		t.Fatal(err)
	}
	if f.api, err = fakekube.Serve(f.objects, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.api.Close(); f.objects.Close() })
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := f.api.WriteConfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	f.db, f.sql = database(t)
	f.serve(kubeconfig)
	return f
}

func database(t *testing.T) (*store.DB, *pgtest.DB) {
	t.Helper()
	url := pgtest.New(t)
	db, err := store.Open(t.Context(), "agent-launcher", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	return db, pgtest.Open(t, url)
}

// serve wires the function to the API that kubeconfig names, and to a sink.
func (f *fixture) serve(kubeconfig string) {
	f.Helper()
	cluster, err := kube.Open(kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := serve.ReadEvent(r)
		if err != nil {
			f.Error(err)
		}
		f.mu.Lock()
		f.sent = append(f.sent, e)
		f.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	f.Cleanup(sink.Close)
	platform, err := platformFrom(env{Image: "agent:1", GatewayURL: "http://gateway", LLMURL: "http://llm/v1"})
	if err != nil {
		f.Fatal(err)
	}
	f.h = &handler{db: f.db, cluster: cluster, platform: platform, key: []byte("0123456789abcdef0123456789abcdef")}
	f.db.SetClock(func() time.Time { return f.clock })
	f.server = serve.New("agent-launcher", sink.URL)
	f.h.routes(f.server)
}

// deliver posts an event as the Broker does, and returns the status.
func (f *fixture) deliver(id string, p events.Payload) int {
	f.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.sql.Log(events.Source("stage-router"), id, p.EventType(), data)
	return f.post(id, p, data)
}

// post sends an event that may be in the log or not.
func (f *fixture) post(id string, p events.Payload, data []byte) int {
	f.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "type": p.EventType(), "source": events.Source("stage-router"), "subject": p.EventSubject(),
		"datacontenttype": "application/json", "data": json.RawMessage(data),
	})
	if err != nil {
		f.Fatal(err)
	}
	r := httptest.NewRequestWithContext(f.Context(), http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/cloudevents+json")
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	if w.Code == http.StatusAccepted && w.Body.Len() > 0 {
		f.Errorf("the answer to the Broker has a body: %s", w.Body)
	}
	return w.Code
}

// emitted returns the payloads of what was sent since the last call, by type.
func (f *fixture) emitted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, e := range f.sent {
		all = append(all, e.Type()[len(events.Prefix):]+" "+string(e.Data()))
	}
	f.sent = nil
	slices.Sort(all)
	return all
}

// audit returns action and reason of each line.
func (f *fixture) audit() []string {
	f.Helper()
	return f.sql.Lines(`SELECT action || ' ' || reason FROM audit ORDER BY 1`)
}

func ref(run string) events.RunRef {
	return events.RunRef{RunID: run, Project: "acme", Repository: "Acme/Shop", Issue: 12}
}

func request(run string, attempt int) events.AgentRequested {
	return events.AgentRequested{
		RunRef: ref(run), Namespace: namespace, Stage: "dev", Role: "dev", Engine: "codex", CPU: "2", Memory: "4Gi", Attempt: attempt,
		Deadline: start.Add(time.Hour), ExpiresAt: start.Add(24 * time.Hour),
	}
}

// read returns an object of the fake API, nil when there is none.
func read[T any](f *fixture, r *fakekube.Resource, namespace, name string) *T {
	f.Helper()
	u, err := f.objects.Get(r, namespace, name)
	if err != nil {
		return nil
	}
	o := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, o); err != nil {
		f.Fatal(err)
	}
	return o
}

func (f *fixture) job() *batchv1.Job {
	return read[batchv1.Job](f, fakekube.Jobs, namespace, agentpod.JobName)
}

func (f *fixture) namespace() *corev1.Namespace {
	return read[corev1.Namespace](f, fakekube.Namespaces, "", namespace)
}

// over puts run A into the database, as one that ends now.
func (f *fixture) over() {
	f.Helper()
	f.sql.Do(`
		WITH p AS (INSERT INTO projects (id, name) VALUES ('acme', 'acme')),
		     w AS (INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 12, 'Acme/Shop'))
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, finished_at)
		VALUES ($1, 'acme/shop', 12, 'acme', 'dev', 'dev', 'cancelled', 'codex', 'm', 'ann', 'i', 'n', $2, $2)
	`, runA, f.clock)
}

// end gives the Job a status as the Job controller does.
func (f *fixture) end() {
	f.Helper()
	job := f.job()
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.objects.Update(fakekube.Jobs, &unstructured.Unstructured{Object: m}, true); err != nil {
		f.Fatal(err)
	}
}
