package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/runtoken"
	fakekube "codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	startedA  = `agent.started {"runId":"` + runA + `","project":"acme","repository":"Acme/Shop","issue":12,"namespace":"codexk8s-run-7f1c8f5e3b57","job":"agent"}`
	startedA2 = `agent.started {"runId":"` + runA + `","project":"acme","repository":"Acme/Shop","issue":12,"namespace":"codexk8s-run-7f1c8f5e3b57","job":"agent","attempt":1}`
	startedB  = `agent.started {"runId":"` + runB + `","project":"acme","repository":"Acme/Shop","issue":12,"namespace":"codexk8s-run-7f1c8f5e3b57","job":"agent"}`
	removedA  = `environment.removed {"runId":"` + runA + `","project":"acme","repository":"Acme/Shop","issue":12,"namespace":"codexk8s-run-7f1c8f5e3b57"}`
)

// expect compares the answer and what was sent.
func (f *fixture) expect(what string, status, want int, emitted ...string) {
	f.Helper()
	if status != want {
		f.Errorf("%s: answered %d, want %d", what, status, want)
	}
	if diff := cmp.Diff(emitted, f.emitted()); diff != "" {
		f.Errorf("%s: emitted (-want +got):\n%s", what, diff)
	}
}

func TestRoutesAreTheCatalog(t *testing.T) {
	f := setup(t)
	want := slices.Sorted(slices.Values(events.Catalog["agent-launcher"]))
	if diff := cmp.Diff(want, f.server.Types()); diff != "" {
		t.Errorf("routes (-catalog +routes):\n%s", diff)
	}
}

func TestLaunch(t *testing.T) {
	f := setup(t)
	f.expect("launch", f.deliver("1", request(runA, 0)), 202, startedA)
	ns := namespace
	if job := f.job(); job == nil || !agentpod.BelongsTo(job, runA) {
		t.Fatalf("the Job is %+v", job)
	}
	secret, ok := f.objects.Data(ns, agentpod.SecretName)
	if !ok {
		t.Fatal("there is no Secret with the run token")
	}
	got, err := runtoken.Verify(f.h.key, string(secret[agentpod.TokenKey]), start)
	if err != nil {
		t.Fatal(err)
	}
	// The token outlives the deadline by the pod's grace period.
	want := runtoken.Claims{RunID: runA, Namespace: ns, ServiceAccount: "agent", Expires: start.Add(time.Hour + time.Minute)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run token (-want +got):\n%s", diff)
	}
	o, err := agentpod.Build(request(runA, 0), f.h.platform, "token", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range o.Support {
		there, err := kube.Get[metav1.PartialObjectMetadata](t.Context(), f.h.cluster, object.Resource, ns, object.Value.GetName())
		if err != nil || there == nil {
			t.Errorf("%s %s: %v, %v", object.Resource.Resource, object.Value.GetName(), there, err)
		}
	}
}

func TestRedeliveryIsHarmless(t *testing.T) {
	f := setup(t)
	f.expect("first", f.deliver("1", request(runA, 0)), 202, startedA)
	uid := f.job().UID
	// Nobody has recorded agent.started, so the redelivery says it once more.
	f.expect("second", f.deliver("1", request(runA, 0)), 202, startedA)
	// The function died after the act and before the record.
	f.expect("another event for the same Job", f.deliver("2", request(runA, 0)), 202, startedA)
	if got := f.job().UID; got != uid {
		t.Errorf("the Job was replaced: %s, then %s", uid, got)
	}
}

func TestManyInstancesAtOnce(t *testing.T) {
	f := setup(t)
	var wg sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		wg.Go(func() { statuses[i] = f.deliver("1", request(runA, 0)) })
	}
	wg.Wait()
	for _, s := range statuses {
		if s != http.StatusAccepted {
			t.Errorf("answered %v", statuses)
			break
		}
	}
	if diff := cmp.Diff([]string{startedA}, slices.Compact(f.emitted())); diff != "" {
		t.Errorf("emitted (-want +got):\n%s", diff)
	}
}

func TestNextAttemptAndRevise(t *testing.T) {
	f := setup(t)
	f.expect("run A", f.deliver("1", request(runA, 0)), 202, startedA)
	first := f.job().UID
	f.end()
	f.expect("run A, next Job", f.deliver("3", request(runA, 1)), 202, startedA2)
	second := f.job().UID
	if first == second || agentpod.Attempt(f.job()) != 1 {
		t.Errorf("the Job of attempt 0 (%s) was not replaced: %s, attempt %d", first, second, agentpod.Attempt(f.job()))
	}
	f.expect("run A, first request again", f.deliver("4", request(runA, 0)), 202)
	f.end()
	revise := request(runB, 0)
	revise.ExpiresAt = start.Add(48 * time.Hour)
	f.expect("revise in the same namespace", f.deliver("5", revise), 202, startedB)
	if ns := f.namespace(); !agentpod.BelongsTo(ns, runB) || ns.Annotations[agentpod.AnnotationExpiresAt] != "2026-11-25T10:00:00Z" {
		t.Errorf("the namespace was not handed over: %v %v", ns.Labels, ns.Annotations)
	}
	token, _ := f.objects.Data(namespace, agentpod.SecretName)
	if claims, err := runtoken.Verify(f.h.key, string(token[agentpod.TokenKey]), start); err != nil || claims.RunID != runB {
		t.Errorf("the Secret still has the token of %s (%v)", claims.RunID, err)
	}
	want := []string{"agent.not_started superseded", "agent.started ", "agent.started ", "agent.started "}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestForeignNamespaceIsLeftAlone(t *testing.T) {
	f := setup(t)
	if _, err := f.objects.Create(fakekube.Namespaces, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	}}); err != nil {
		t.Fatal(err)
	}
	status := f.deliver("1", request(runA, 0))
	if got := f.emitted(); status != 202 || len(got) != 1 || !strings.Contains(got[0], `"reason":"namespace_taken"`) {
		t.Errorf("answered %d, emitted %v", status, got)
	}
	if f.job() != nil {
		t.Error("a Job was put into a namespace that isn't ours")
	}
	f.clock = start.Add(100 * time.Hour)
	f.expect("expiry", f.deliver("2", events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}), 202)
	if f.namespace() == nil || f.namespace().DeletionTimestamp != nil {
		t.Error("a namespace that isn't ours was deleted")
	}
}

func TestStopBeforeStart(t *testing.T) {
	f := setup(t)
	f.expect("stop", f.deliver("1", events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace, Reason: "aborted"}), 202)
	f.over()
	f.expect("start", f.deliver("2", request(runA, 0)), 202)
	if f.job() != nil {
		t.Error("a Job was made for a run that is over")
	}
	want := []string{"agent.not_started run_is_over", "agent.not_stopped job_gone"}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestStop(t *testing.T) {
	f := setup(t)
	stop := events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace, Reason: "aborted"}
	f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
	other := stop
	other.RunRef = ref(runB)
	f.expect("stop of another run", f.deliver("2", other), 202)
	if f.job() == nil {
		t.Fatal("the stop of another run deleted the Job")
	}
	var last *unstructured.Unstructured
	changes, unwatch := f.objects.Watch()
	defer unwatch()
	f.expect("stop", f.deliver("3", stop), 202)
	deadline := time.After(10 * time.Second)
	for last == nil {
		select {
		case c := <-changes:
			if c.Object.GetKind() == "Job" && c.Type == watch.Deleted {
				last = c.Object
			}
		case <-deadline:
			t.Fatal("the Job is still there")
		}
	}
	if last.GetAnnotations()[agentpod.AnnotationStopped] != "aborted" {
		t.Errorf("the Job does not say that we stopped it: %v", last)
	}
	f.expect("stop again", f.deliver("4", stop), 202)
	want := []string{"agent.not_stopped job_gone", "agent.not_stopped job_gone", "agent.started ", "agent.stopped aborted"}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestExpiry(t *testing.T) {
	f := setup(t)
	expired := events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}
	f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
	f.expect("too early", f.deliver("2", expired), 202)
	f.clock = start.Add(24 * time.Hour)
	f.expect("with a Job at work", f.deliver("3", expired), 202)
	again := pgtest.Column[time.Time](f.sql, `
		SELECT not_before FROM events WHERE type = $1 AND function = 'agent-launcher' ORDER BY stored_at
	`, expired.EventType())
	if diff := cmp.Diff([]time.Time{start.Add(24 * time.Hour), f.clock.Add(time.Hour)}, again); diff != "" {
		t.Errorf("the expiry is asked for again (-want +got):\n%s", diff)
	}
	f.end()
	f.expect("in time", f.deliver("4", expired), 202, removedA)
	deadline := time.Now().Add(10 * time.Second)
	for f.namespace() != nil && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if f.namespace() != nil {
		t.Error("the namespace is still there")
	}
	f.expect("once more", f.deliver("5", expired), 202, removedA)
	want := []string{"agent.started ", "environment.kept active_run", "environment.kept not_expired", "environment.removed ", "environment.removed "}
	if diff := cmp.Diff(want, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestRequestThatCanNotBeMet(t *testing.T) {
	f := setup(t)
	late := request(runA, 0)
	late.Deadline = start.Add(-time.Second)
	f.deliver("1", late)
	if got := f.emitted(); len(got) != 1 || !strings.Contains(got[0], `"reason":"deadline_exceeded"`) {
		t.Errorf("emitted %v", got)
	}
	bad := request("no-uuid", 0)
	f.expect("bad run id", f.deliver("2", bad), 400)
}

func TestOutage(t *testing.T) {
	f := setup(t)
	f.api.SetOutage(true)
	for id, p := range map[string]events.Payload{
		"1": request(runA, 0),
		"2": events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace},
		"3": events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace},
	} {
		if status := f.deliver(id, p); status < 500 {
			t.Errorf("%s without Kubernetes: answered %d, want to be asked again", p.EventType(), status)
		}
	}
	f.api.SetOutage(false)
	f.expect("afterwards", f.deliver("1", request(runA, 0)), 202, startedA)
}

// TestForgedEvents: anybody who reaches the function's address can post, an agent's pod among them. Nothing is done for
// an event that the platform has not logged: Kubernetes isn't even asked.
func TestForgedEvents(t *testing.T) {
	f := setup(t)
	f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
	f.clock = start.Add(100 * time.Hour)
	for _, p := range []events.Payload{
		request(runB, 0),
		events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace},
		events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace},
	} {
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		f.expect("forged "+p.EventType(), f.post("new", p, data), 422)
	}
	if job := f.job(); job == nil || job.DeletionTimestamp != nil || !agentpod.BelongsTo(job, runA) {
		t.Errorf("the Job is %+v", job)
	}
	if ns := f.namespace(); ns == nil || ns.DeletionTimestamp != nil {
		t.Error("the namespace is gone")
	}
}

// TestRefusals: what the API server says, and what becomes of it.
func TestRefusals(t *testing.T) {
	status := func(code int, reason, message, more string) string {
		return `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"` + message + `","reason":"` + reason + `","code":` + strconv.Itoa(code) + more + `}`
	}
	for name, test := range map[string]struct {
		code   int
		body   string
		status int
		reason string
	}{
		"quota":                    {403, status(403, "Forbidden", "jobs.batch is forbidden: exceeded quota: jobs, used: 5", ""), 202, "quota_exceeded"},
		"no right":                 {403, status(403, "Forbidden", "namespaces is forbidden: User cannot create resource", ""), 202, "kubernetes_refused"},
		"invalid":                  {422, status(422, "Invalid", "spec.x: Invalid value", ""), 202, "kubernetes_refused"},
		"namespace on its way out": {403, status(403, "Forbidden", "being terminated", `,"details":{"causes":[{"reason":"NamespaceTerminating"}]}`), 500, ""},
		"busy":                     {429, status(429, "TooManyRequests", "too many", `,"details":{"retryAfterSeconds":7}`), 503, ""},
		"broken":                   {500, status(500, "InternalError", "etcd", ""), 500, ""},
		"token being renewed":      {401, status(401, "Unauthorized", "Unauthorized", ""), 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.code)
				_, _ = w.Write([]byte(test.body))
			}))
			defer api.Close()
			kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
			config := "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x}}], clusters: [{name: x, cluster: {server: '" + api.URL + "'}}]}"
			if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &fixture{T: t, clock: start}
			f.db, f.sql = database(t)
			f.serve(kubeconfig)
			if got := f.deliver("1", request(runA, 0)); got != test.status {
				t.Errorf("answered %d, want %d", got, test.status)
			}
			emitted := f.emitted()
			if test.reason == "" && len(emitted) > 0 || test.reason != "" && (len(emitted) != 1 || !strings.Contains(emitted[0], `"reason":"`+test.reason+`"`)) {
				t.Errorf("emitted %v, want reason %q", emitted, test.reason)
			}
		})
	}
}
