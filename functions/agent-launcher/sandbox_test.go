package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	fakekube "codexk8s.dev/test/local/kube"
)

func inSandbox(run string, attempt int) events.AgentRequested {
	r := request(run, attempt)
	r.Sandbox = agentpod.AgentSandbox
	return r
}

// withSandboxes is a platform where agent-sandbox is set up; nobody makes pods.
func withSandboxes(t *testing.T) *fixture {
	t.Helper()
	f := setup(t)
	f.h.platform.SandboxVersion = "v1beta1"
	return f
}

func (f *fixture) sandbox() *agentpod.Sandbox {
	return read[agentpod.Sandbox](f, fakekube.Sandboxes, namespace, agentpod.JobName)
}

// finish has the Sandbox say that its pod has ended, as its controller does.
func (f *fixture) finish() {
	f.Helper()
	s := f.sandbox()
	s.Status.Conditions = []metav1.Condition{{Type: "Finished", Status: metav1.ConditionTrue, Reason: "PodSucceeded"}}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.objects.Update(fakekube.Sandboxes, &unstructured.Unstructured{Object: m}, true); err != nil {
		f.Fatal(err)
	}
}

// again delivers an event until what stood in its way is gone.
func (f *fixture) again(id string, p events.Payload) int {
	f.Helper()
	status := 503
	for end := time.Now().Add(10 * time.Second); status == 503 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		status = f.deliver(id, p)
	}
	return status
}

func TestSandboxInPlaceOfTheJob(t *testing.T) {
	f := withSandboxes(t)
	f.expect("launch", f.deliver("1", inSandbox(runA, 0)), 202, startedA)
	f.expect("again", f.deliver("1", inSandbox(runA, 0)), 202, startedA)
	o, err := agentpod.Build(inSandbox(runA, 0), f.h.platform, "token", start)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o.Job.Value.(*agentpod.Sandbox).Spec, f.sandbox().Spec); diff != "" || f.job() != nil {
		t.Errorf("there is a Job: %v; the Sandbox (-want +got):\n%s", f.job() != nil, diff)
	}
	f.clock = start.Add(25 * time.Hour)
	expires := events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}
	f.expect("its namespace expires while it works", f.deliver("2", expires), 202)
	f.finish()
	f.expect("and when it has ended", f.deliver("3", expires), 202, removedA)
	if diff := cmp.Diff([]string{"agent.started ", "environment.kept active_run", "environment.removed "}, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestSandboxIsStopped(t *testing.T) {
	f := withSandboxes(t)
	f.expect("launch", f.deliver("1", inSandbox(runA, 0)), 202, startedA)
	stop := events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace, Reason: "aborted"}
	other := stop
	other.RunID = runB
	f.expect("another run's stop", f.deliver("2", other), 202)
	changes, unwatch := f.objects.Watch()
	defer unwatch()
	f.expect("stop", f.deliver("3", stop), 202)
	for deadline := time.After(10 * time.Second); ; {
		select {
		case c := <-changes:
			if c.Object.GetKind() != agentpod.SandboxKind || c.Object.GetAnnotations()[agentpod.AnnotationStopped] == "" {
				continue
			}
			if got := c.Object.GetAnnotations()[agentpod.AnnotationStopped]; got != "aborted" {
				t.Errorf("marked as stopped for %q", got)
			}
		case <-deadline:
			t.Fatal("the Sandbox was not marked as stopped by us")
		}
		break
	}
	f.expect("stop again", f.again("4", stop), 202)
	if f.sandbox() != nil {
		t.Error("the Sandbox is still there")
	}
	if diff := cmp.Diff([]string{"agent.not_stopped job_gone", "agent.not_stopped job_gone", "agent.started ", "agent.stopped aborted"}, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

// The next Job of a run and the next run of an issue find the Sandbox of the one before, or, where the project's
// setting has changed, its Job.
func TestFormerSandboxMakesWay(t *testing.T) {
	for name, c := range map[string]struct {
		first, next events.AgentRequested
		ended       bool
		says        string
	}{
		"it has ended":               {inSandbox(runA, 0), inSandbox(runA, 1), true, startedA2},
		"it still runs":              {inSandbox(runA, 0), inSandbox(runB, 0), false, startedB},
		"the next is a Job":          {inSandbox(runA, 0), request(runB, 0), false, startedB},
		"it is a Job":                {request(runA, 0), inSandbox(runB, 0), false, startedB},
		"an old request comes again": {inSandbox(runA, 1), inSandbox(runA, 0), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := withSandboxes(t)
			if got := f.deliver("1", c.first); got != 202 {
				t.Fatalf("first: answered %d", got)
			}
			f.emitted()
			if c.ended {
				f.finish()
			}
			var want []string
			if c.says != "" {
				want = []string{c.says}
				if got := f.deliver("2", c.next); got != 503 {
					t.Errorf("beside the former: answered %d", got)
				}
			}
			f.expect("next", f.again("2", c.next), 202, want...)
			if c.says == "" {
				return
			}
			job, sandbox := f.job(), f.sandbox()
			if c.next.Sandbox == "" {
				if sandbox != nil || job == nil || !agentpod.BelongsTo(job, c.next.RunID) {
					t.Errorf("Sandbox %v, Job %v", sandbox, job)
				}
			} else if job != nil || sandbox == nil || !agentpod.BelongsTo(sandbox, c.next.RunID) || agentpod.Attempt(sandbox) != c.next.Attempt {
				t.Errorf("Job %v, Sandbox %v", job, sandbox)
			}
		})
	}
}

func TestSandboxRefused(t *testing.T) {
	for name, c := range map[string]struct{ version, says string }{
		"the overlay is not deployed": {"", "which are not set up here"},
		"the cluster has none":        {"v1alpha1", "the server could not find the requested resource"}, // the miniature knows v1beta1
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.h.platform.SandboxVersion = c.version
			status := f.deliver("1", inSandbox(runA, 0))
			said := strings.Join(f.emitted(), "\n")
			if status != 202 || !strings.HasPrefix(said, "agent.failed ") {
				t.Fatalf("answered %d, emitted %s", status, said)
			}
			for _, want := range []string{`"reason":"kubernetes_refused"`, c.says, "OVERLAY=agent-sandbox", "sandboxes.agents.x-k8s.io"} {
				if !strings.Contains(said, want) {
					t.Errorf("it doesn't say %s: %s", want, said)
				}
			}
		})
	}
}

func TestSandboxWithoutRights(t *testing.T) {
	f := setup(t)
	f.plain()
	f.h.platform.SandboxVersion = "v1beta1"
	status := f.deliver("1", inSandbox(runA, 0))
	if said := strings.Join(f.emitted(), "\n"); status != 202 || !strings.Contains(said, `"reason":"kubernetes_refused"`) ||
		!strings.Contains(said, "OVERLAY=agent-sandbox") {
		t.Errorf("answered %d, emitted %s", status, said)
	}
}
