//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	batchv1 "k8s.io/api/batch/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/local/stack"
)

// TestAGoodRunLooksGoodFromItsFirstChange prints what Kubernetes' source tells of a run that goes well, all of which
// run-observer gets, and holds what it takes for granted: the Job's controller says in one change that it has begun and
// that there is a pod. Else every good start would look like one whose pod was refused.
func TestAGoodRunLooksGoodFromItsFirstChange(t *testing.T) {
	repo := it.repo("good")
	heard := it.hears(t, repo)
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	begun := time.Now()
	it.label(t, repo, issue)
	it.finished(t, repo, issue, "succeeded", "")
	until(t, time.Minute, func(context.Context) (string, error) {
		if all := heard(); len(all) == 0 || !agentpod.JobSucceeded(&all[len(all)-1].job) {
			return "the news that the Job is complete", nil
		}
		return "", nil
	})
	all := heard()
	t.Logf("%d deliveries of one good run:", len(all))
	for _, d := range all {
		t.Logf("%8.3fs after the label: %s", d.at.Sub(begun).Seconds(), d)
		if s := d.job.Status; s.StartTime != nil && s.Active == 0 && s.Succeeded == 0 && !agentpod.JobSucceeded(&d.job) && s.UncountedTerminatedPods == nil {
			t.Errorf("the Job looks as if its pod was refused: %+v", s)
		}
	}
}

// A delivery is an event of Kubernetes' source about a Job.
type delivery struct {
	at   time.Time
	kind string
	job  batchv1.Job
}

func (d delivery) String() string {
	s, ready := d.job.Status, int32(-1)
	if s.Ready != nil {
		ready = *s.Ready
	}
	var conditions []string
	for _, c := range s.Conditions {
		conditions = append(conditions, string(c.Type))
	}
	return fmt.Sprintf("%s, version %s: started %t, active %d, ready %d, succeeded %d, %s", strings.TrimPrefix(d.kind, "dev.knative.apiserver.resource."),
		d.job.ResourceVersion, s.StartTime != nil, s.Active, ready, s.Succeeded, strings.Join(conditions, " "))
}

// hears lets the Broker tell this process too what it tells run-observer of the repository's Jobs.
func (w *world) hears(t *testing.T, repo string) (all func() []delivery) {
	t.Helper()
	var mu sync.Mutex
	var seen []delivery
	listener, err := net.Listen("tcp", net.JoinHostPort(w.hostIP, "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusAccepted)
		e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
		d := delivery{at: time.Now()}
		if err != nil || e.DataAs(&d.job) != nil || d.job.Annotations["codexk8s.dev/repository"] != repo {
			return
		}
		d.kind = e.Type()
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, d)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	var filters []any
	for _, kind := range []string{events.TypeResourceAdded, events.TypeResourceUpdated, events.TypeResourceDeleted} {
		filters = append(filters, map[string]any{"exact": map[string]any{"type": kind}})
	}
	trigger := toYAML(map[string]any{
		"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": map[string]any{"name": "test-hears", "namespace": namespace},
		"spec": map[string]any{"broker": "default", "filters": []any{map[string]any{"any": filters}},
			"subscriber": map[string]any{"uri": "http://" + listener.Addr().String()}},
	})
	if _, err := w.kubectlWith(t.Context(), trigger, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.kubectl(context.WithoutCancel(t.Context()), "-n", namespace, "delete", "trigger", "test-hears"); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.kubectl(t.Context(), "-n", namespace, "wait", "--for=condition=Ready", "trigger/test-hears", "--timeout=1m"); err != nil {
		t.Fatal(err)
	}
	return func() []delivery {
		mu.Lock()
		defer mu.Unlock()
		return append([]delivery(nil), seen...)
	}
}
