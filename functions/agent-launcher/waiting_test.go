package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/tool"
	fakekube "codexk8s.dev/test/local/kube"
)

// A run that waits for people keeps its namespace for as long as it waits, whatever timers an earlier run of the issue
// has left; its own end removes it.
func TestARunThatWaitsKeepsItsNamespace(t *testing.T) {
	f := setup(t)
	f.waits()
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at, finished_at)
		VALUES ($1, 'acme/shop', 12, 'acme', 'dev', 'dev', 'succeeded', 'codex', 'm', 'ann', 'j', 'n', $2, $2)
	`, runB, start.Add(-time.Hour))
	f.expect("start", f.deliver("1", request(runA, 0)), http.StatusAccepted, startedA)
	f.end()
	f.clock = start.Add(50 * 24 * time.Hour)
	f.expect("the earlier run's timer", f.deliver("2", events.EnvironmentExpired{RunRef: ref(runB), Namespace: namespace}), http.StatusAccepted)
	f.expect("its own, set by a run that was stopped and restored", f.deliver("3", events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}), http.StatusAccepted)
	if n := f.namespace(); n == nil || n.DeletionTimestamp != nil {
		t.Fatal("the namespace of a run that waits is removed")
	}
	f.sql.Do(`UPDATE runs SET state = 'queued', waiting_for = '', attempt = 1 WHERE id = $1`, runA)
	f.expect("while it waits for a place", f.deliver("4", events.EnvironmentExpired{RunRef: ref(runB), Namespace: namespace}), http.StatusAccepted)
	f.sql.Do(`UPDATE runs SET state = 'cancelled', finished_at = now() WHERE id = $1`, runA)
	f.expect("after its end", f.deliver("5", events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}), http.StatusAccepted, removedA)
	want := []string{"agent.started ", "environment.kept active_run", "environment.kept active_run", "environment.kept active_run", "environment.removed "}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

// A namespace that is gone when the answer comes is made again, with all that was in it: the network policies, the
// account, the services, and the Secrets that tools have made, of new values.
func TestANamespaceThatIsGoneIsMadeAgain(t *testing.T) {
	f := setup(t)
	f.waits()
	f.expect("start", f.deliver("1", fullEnv(runA, 0)), http.StatusAccepted, startedA)
	f.end()
	f.deliver("2", approved(tool.SecretSync, `{"name":"session-key","rotate":false}`))
	f.told()
	f.sql.Do(`UPDATE runs SET calls = '[{"id":"2","tool":"secret_sync","arguments":{"name":"session-key","rotate":false},"text":"Made.","at":"2026-11-23T10:00:00Z"}]'`)
	before, objects := string(f.secret("session-key").Data[tool.SecretKey]), f.inNamespace()
	if _, err := f.objects.Delete(fakekube.Namespaces, "", namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); f.namespace() != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	f.expect("the next Job", f.deliver("3", fullEnv(runA, 1)), http.StatusAccepted, startedA2)
	if diff := cmp.Diff(objects, f.inNamespace()); diff != "" {
		t.Errorf("objects (-before +after):\n%s", diff)
	}
	after := f.secret("session-key")
	if after == nil || len(after.Data[tool.SecretKey]) != 43 || string(after.Data[tool.SecretKey]) == before {
		t.Errorf("the Secret is %v", after)
	}
	// Of a namespace that is there nothing changes.
	f.end()
	f.deliver("4", fullEnv(runA, 2))
	if again := f.secret("session-key"); string(again.Data[tool.SecretKey]) != string(after.Data[tool.SecretKey]) {
		t.Error("the next Job changed the Secret's value")
	}
}

// inNamespace names all objects of the run's namespace, by kind.
func (f *fixture) inNamespace() map[string][]string {
	f.Helper()
	all := map[string][]string{}
	o, err := agentpod.Build(fullEnv(runA, 0), f.h.platform, "token", start)
	if err != nil {
		f.Fatal(err)
	}
	for _, object := range append(slices.Concat(o.Support, o.Services), o.Job) {
		there, err := kube.Get[metav1.PartialObjectMetadata](f.Context(), f.h.cluster, object.Resource, namespace, object.Value.GetName())
		if err != nil {
			f.Fatal(err)
		}
		if there != nil {
			all[object.Resource.Resource] = append(all[object.Resource.Resource], there.Name)
		}
	}
	return all
}

// The Job of a run that waits is stopped if it does not end by itself. Its next Job starts when the former one is gone;
// a stop that comes after that is not meant for it.
func TestTheJobOfARunThatWaitsIsStopped(t *testing.T) {
	f := setup(t)
	f.waits()
	stop := events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace, Reason: "run_waits"}
	f.expect("start", f.deliver("1", request(runA, 0)), http.StatusAccepted, startedA)
	job, err := f.objects.Get(fakekube.Jobs, namespace, agentpod.JobName)
	if err != nil {
		t.Fatal(err)
	}
	job.SetFinalizers([]string{"example.com/saving"}) // its pod saves the session
	if _, err := f.objects.Update(fakekube.Jobs, job, false); err != nil {
		t.Fatal(err)
	}
	f.expect("it does not end by itself", f.deliver("2", stop), http.StatusAccepted)
	if job := f.job(); job == nil || job.DeletionTimestamp == nil || job.Annotations[agentpod.AnnotationStopped] != "run_waits" {
		t.Fatalf("the Job is %+v", job)
	}
	f.expect("the answer, while it saves", f.deliver("3", request(runA, 1)), http.StatusServiceUnavailable)
	job, err = f.objects.Get(fakekube.Jobs, namespace, agentpod.JobName)
	if err != nil {
		t.Fatal(err)
	}
	job.SetFinalizers(nil)
	if _, err := f.objects.Update(fakekube.Jobs, job, false); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); f.job() != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	f.expect("when it is gone", f.deliver("3", request(runA, 1)), http.StatusAccepted, startedA2)
	f.expect("the stop once more", f.deliver("4", stop), http.StatusAccepted)
	if job := f.job(); job == nil || job.DeletionTimestamp != nil || agentpod.Attempt(job) != 1 {
		t.Errorf("the next Job is %+v", job)
	}
	want := []string{"agent.not_stopped superseded", "agent.started ", "agent.started ", "agent.stopped run_waits"}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}
