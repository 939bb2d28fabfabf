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
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakekube "codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

const runID = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"

var (
	namespace = "codexk8s-run-7f1c8f5e3b57"
	ref       = events.RunRef{RunID: runID, Project: "acme", Repository: "Acme/Shop", Issue: 12}
)

// A fixture is a Kubernetes API over HTTP, a database, and the function.
type fixture struct {
	*testing.T
	api     *fakekube.Server
	objects *fakekube.Store
	db      *store.DB
	sql     *pgtest.DB
	h       *handler
	server  *serve.Server

	mu   sync.Mutex
	sent []event.Event
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t}
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
	cluster, err := kube.Open(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.New(t)
	if f.db, err = store.Open(t.Context(), "run-observer", url); err != nil {
		t.Fatal(err)
	}
	f.sql = pgtest.Open(t, url)
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := serve.ReadEvent(r)
		if err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		f.sent = append(f.sent, e)
		f.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	f.server = serve.New("run-observer", sink.URL)
	f.h = &handler{db: f.db, cluster: cluster, life: t.Context()}
	f.h.routes(f.server)
	f.put(fakekube.Namespaces, &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: namespace},
	}, nil)
	return f
}

// put stores an object with its status, in place of one that is there.
func (f *fixture) put(r *fakekube.Resource, o runtime.Object, into any) {
	f.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		f.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: m}
	stored, err := f.objects.Create(r, u.DeepCopy())
	if err != nil {
		f.Fatal(err)
	}
	if status, ok := m["status"]; ok && r.Status {
		stored.Object["status"] = status
		if stored, err = f.objects.Update(r, stored, true); err != nil {
			f.Fatal(err)
		}
	}
	if into != nil {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, into); err != nil {
			f.Fatal(err)
		}
	}
}

// job creates the run's Job with those conditions and returns it as stored.
func (f *fixture) job(conditions ...batchv1.JobCondition) *batchv1.Job {
	f.Helper()
	p := agentpod.DefaultPlatform()
	p.Image, p.GatewayURL, p.LLMURL = "agent:1", "http://gateway", "http://llm/v1"
	o, err := agentpod.Build(events.AgentRequested{RunRef: ref, Namespace: namespace, Stage: "dev", Role: "dev", CPU: "2", Memory: "4Gi", Deadline: time.Now().Add(time.Hour)}, p, "t", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	made := o.Job.Value.(*batchv1.Job)
	made.Status.Conditions = conditions
	stored := new(batchv1.Job)
	f.put(fakekube.Jobs, made, stored)
	return stored
}

// remove takes the Job away.
func (f *fixture) remove() {
	f.Helper()
	if _, err := f.objects.Delete(fakekube.Jobs, namespace, "agent", metav1.DeleteOptions{}); err != nil {
		f.Fatal(err)
	}
}

// pod creates a pod of the Job, or with another owner one of a former Job.
func (f *fixture) pod(name string, owner types.UID, status corev1.PodStatus) {
	f.Helper()
	f.put(fakekube.Pods, &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace,
			Labels:          map[string]string{agentpod.LabelRun: runID},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "agent", UID: owner}}},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "agent:1"}}},
		Status: status,
	}, nil)
}

func terminated(code int32, reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message},
	}}}}
}

func condition(kind batchv1.JobConditionType, reason string) batchv1.JobCondition {
	return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: reason}
}

// said records what Kubernetes says of the object, and returns it.
func (f *fixture) said(kind string, of types.UID, severity, reason, message string) *corev1.Event {
	f.Helper()
	stored := new(corev1.Event)
	f.put(fakekube.Events, &corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Name: "agent.17f3", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: "agent", UID: of},
		Type:           severity, Reason: reason, Message: message,
	}, stored)
	return stored
}

// deliver posts an event in structured mode and returns the status of the answer.
func (f *fixture) deliver(id, eventType string, data any) int {
	f.Helper()
	if events.IsOurs(eventType) {
		logged, err := json.Marshal(data)
		if err != nil {
			f.Fatal(err)
		}
		f.sql.Log("https://kubernetes", id, eventType, logged)
	}
	return f.post(id, eventType, data)
}

// post sends an event that may be in the log or not.
func (f *fixture) post(id, eventType string, data any) int {
	f.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "type": eventType, "source": "https://kubernetes", "datacontenttype": "application/json", "data": data,
	})
	if err != nil {
		f.Fatal(err)
	}
	r := httptest.NewRequestWithContext(f.Context(), http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/cloudevents+json")
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return w.Code
}

// expect compares the answer, and what was sent since the last call.
func (f *fixture) expect(what string, status, want int, emitted ...events.Payload) {
	f.Helper()
	if status != want {
		f.Errorf("%s: answered %d, want %d", what, status, want)
	}
	var wanted, got []string
	for _, p := range emitted {
		data, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		wanted = append(wanted, p.EventType()+" "+string(data))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.sent {
		got = append(got, e.Type()+" "+string(e.Data()))
	}
	f.sent = nil
	slices.Sort(wanted) // they are sent side by side
	slices.Sort(got)
	if diff := cmp.Diff(wanted, got); diff != "" {
		f.Errorf("%s: emitted (-want +got):\n%s", what, diff)
	}
}

// run puts the run into the database.
func (f *fixture) run(state string) {
	f.Helper()
	f.sql.Do(`
		INSERT INTO projects (id, name) VALUES ('acme', 'acme');
		INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 12, 'Acme/Shop');
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, waiting_for, finished_at)
		VALUES ('` + runID + `', 'acme/shop', 12, 'acme', 'dev', 'dev', '` + state + `', 'codex', 'm', 'ann', 'i', '` + namespace + `', now(), 'approval',
		        CASE WHEN '` + state + `' = 'succeeded' THEN now() END);
	`)
}

func (f *fixture) state(state string) {
	f.Helper()
	f.sql.Do(`UPDATE runs SET state = $1, waiting_for = 'approval', finished_at = CASE WHEN $1 IN ('succeeded', 'cancelled') THEN now() END`, state)
}

// stored counts the outcomes in the log of events.
func (f *fixture) stored() int {
	f.Helper()
	return pgtest.One[int](f.sql, `SELECT count(*) FROM events WHERE function = 'run-observer'`)
}

func failed(reason, message string) events.AgentFailed {
	return events.AgentFailed{RunRef: ref, Namespace: namespace, Reason: reason, Message: message}
}

var (
	finished = events.AgentFinished{RunRef: ref, Namespace: namespace}
	deleted  = failed("job_deleted", "The agent's Job in namespace "+namespace+" was deleted while it was at work. Set the label again to run anew.")
	oom      = failed("oom_killed", "The agent used more memory than it may and was killed. Give the role more memory, or let it run fewer things at once.")
)

func TestRoutesAreTheCatalog(t *testing.T) {
	s := serve.New("run-observer", "")
	(&handler{}).routes(s)
	want := slices.Sorted(slices.Values(events.Catalog["run-observer"]))
	if diff := cmp.Diff(want, s.Types()); diff != "" {
		t.Errorf("routes (-catalog +routes):\n%s", diff)
	}
}

func TestJobAtWork(t *testing.T) {
	f := setup(t)
	job := f.job()
	job.Status.Failed = 1
	f.expect("added", f.deliver("1", events.TypeResourceAdded, job), 202)
	f.expect("updated", f.deliver("2", events.TypeResourceUpdated, job), 202)
	f.expect("checked", f.deliver("3", events.RunCheck{}.EventType(), events.RunCheck{RunRef: ref, Namespace: namespace}), 202)
}

func TestOneOutcomeIsOneEvent(t *testing.T) {
	f := setup(t)
	f.run("running")
	job := f.job(condition(batchv1.JobComplete, "CompletionsReached"))
	f.expect("updated", f.deliver("1", events.TypeResourceUpdated, job), 202, finished)
	f.deliver("2", events.TypeResourceUpdated, job)
	f.deliver("3", events.TypeResourceAdded, job) // the source started anew
	f.deliver("4", events.RunCheck{}.EventType(), events.RunCheck{RunRef: ref, Namespace: namespace})
	if n := f.stored(); n != 1 {
		t.Errorf("%d events for one outcome", n)
	}
	f.mu.Lock()
	f.sent = nil
	f.mu.Unlock()
	f.remove()
	f.state("succeeded")
	f.expect("deleted when it had ended", f.deliver("5", events.TypeResourceDeleted, job), 202)
}

// The database was restored from a backup that is older than the run.
func TestTheNamespaceOfARunThatNobodyKnowsExpires(t *testing.T) {
	f := setup(t)
	job := f.job(condition(batchv1.JobFailed, "PodFailurePolicy"))
	f.expect("ended", f.deliver("1", events.TypeResourceUpdated, job), 202, events.EnvironmentExpired{RunRef: ref, Namespace: namespace})
	f.deliver("2", events.TypeResourceAdded, job)
	if n := f.stored(); n != 1 {
		t.Errorf("%d events for one Job", n)
	}
}

func TestFailureIsExplainedByThePod(t *testing.T) {
	f := setup(t)
	f.run("running")
	job := f.job(condition(batchv1.JobFailed, "BackoffLimitExceeded"))
	f.pod("agent-former", "another-job", terminated(1, "Error", "not this one"))
	f.pod("agent-last", job.UID, terminated(137, "OOMKilled", ""))
	f.expect("failed", f.deliver("1", events.TypeResourceUpdated, job), 202, oom)
}

func TestDeletion(t *testing.T) {
	f := setup(t)
	job := f.job()
	f.run("starting")
	f.expect("that didn't happen", f.deliver("1", events.TypeResourceDeleted, job), 202)
	f.remove()
	stopped := job.DeepCopy()
	stopped.Annotations[agentpod.AnnotationStopped] = "aborted"
	f.expect("by us", f.deliver("2", events.TypeResourceDeleted, stopped), 202)
	f.expect("before its creation was told", f.deliver("3", events.TypeResourceDeleted, job), 503)
	f.state("running")
	f.expect("by somebody", f.deliver("3", events.TypeResourceDeleted, job), 202, deleted)
	f.state("waiting")
	f.expect("of a run that waits", f.deliver("4", events.TypeResourceDeleted, job), 202)
}

// Kubernetes' events are in no log of ours: anybody who reaches the function's address can post one. All that it
// achieves is that we look.
func TestForgedEvents(t *testing.T) {
	f := setup(t)
	f.run("running")
	job := f.job()
	ended := job.DeepCopy()
	ended.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobComplete, "CompletionsReached")}
	f.expect("a Job at work is said to be complete", f.post("1", events.TypeResourceUpdated, ended), 202)
	elsewhere := job.DeepCopy()
	elsewhere.Namespace = "codexk8s-run-000000000000"
	f.expect("the run is said to have had a Job elsewhere", f.post("2", events.TypeResourceDeleted, elsewhere), 202)
	former := job.DeepCopy()
	former.UID = "another"
	f.expect("another Job is said to be gone", f.post("3", events.TypeResourceDeleted, former), 202)
	check := events.RunCheck{RunRef: ref, Namespace: elsewhere.Namespace}
	f.expect("a check of another namespace", f.post("4", check.EventType(), check), 422)
	if n := f.stored(); n != 0 {
		t.Errorf("%d outcomes are in the log", n)
	}
	f.remove()
	other := f.job(condition(batchv1.JobComplete, "CompletionsReached"))
	other.Labels[agentpod.LabelRun] = "22222222-3b57-4c0e-9d6a-52b0c1f4a9e8"
	f.expect("a Job is said to be another run's", f.post("5", events.TypeResourceUpdated, other), 202, finished)
}

func TestBadInput(t *testing.T) {
	f := setup(t)
	f.expect("no Job", f.deliver("1", events.TypeResourceAdded, "x"), 400)
	f.expect("foreign Job", f.deliver("2", events.TypeResourceAdded, &batchv1.Job{}), 422)
	f.expect("no UUID", f.deliver("3", events.RunCheck{}.EventType(), events.RunCheck{}), 400)
	f.run("running")
	job := f.job(condition(batchv1.JobFailed, "BackoffLimitExceeded"))
	f.api.SetOutage(true)
	f.expect("no Kubernetes", f.deliver("4", events.TypeResourceUpdated, job), 500)
	f.api.SetOutage(false)
	f.pod("agent-last", job.UID, terminated(137, "OOMKilled", ""))
	f.expect("afterwards", f.deliver("4", events.TypeResourceUpdated, job), 202, oom)
}
