package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	fakekube "codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

// An issue has one active run, and its namespace one Job: what is left of the run before is told to go, and the next
// starts when it has gone.
func TestFormerJobStillRuns(t *testing.T) {
	for name, next := range map[string]events.AgentRequested{"the run's next Job": request(runA, 1), "a revise": request(runB, 0)} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.expect("first", f.deliver("1", request(runA, 0)), 202, startedA)
			first := f.job().UID
			changes, unwatch := f.objects.Watch()
			defer unwatch()
			f.expect("too early", f.deliver("2", next), 503)
			stopped := ""
			for deadline := time.After(10 * time.Second); stopped == ""; {
				select {
				case c := <-changes:
					if c.Object.GetUID() == first && c.Type == watch.Deleted {
						stopped = c.Object.GetAnnotations()[agentpod.AnnotationStopped]
					}
				case <-deadline:
					t.Fatal("the former Job is still there, or was not marked as stopped by us")
				}
			}
			if got := f.deliver("2", next); got != 202 {
				t.Errorf("afterwards: answered %d", got)
			}
			if job := f.job(); job == nil || job.UID == first || !agentpod.BelongsTo(job, next.RunID) || stopped != "superseded" {
				t.Errorf("stopped for %q, the Job is now %+v", stopped, job)
			}
		})
	}
}

// The lease that a revise renews is not ended by the timer of the run before.
func TestRenewedLease(t *testing.T) {
	f := setup(t)
	f.expect("run A", f.deliver("1", request(runA, 0)), 202, startedA)
	f.end()
	f.clock = start.Add(23 * time.Hour)
	revise := request(runB, 0)
	revise.Deadline, revise.ExpiresAt = f.clock.Add(time.Hour), f.clock.Add(25*time.Hour)
	f.expect("a revise, in the last hour", f.deliver("2", revise), 202, startedB)
	f.end()
	f.clock = start.Add(25 * time.Hour)
	f.expect("the timer of run A", f.deliver("3", events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}), 202)
	if n := f.namespace(); n == nil || n.DeletionTimestamp != nil {
		t.Fatal("the timer of run A removed the namespace of run B")
	}
	var later int
	if err := f.sql.QueryRow(t.Context(), `SELECT count(*) FROM events WHERE type = $1 AND function = 'agent-launcher'`,
		events.EnvironmentExpired{}.EventType()).Scan(&later); err != nil || later != 0 {
		t.Errorf("run A asks %d times more (%v)", later, err)
	}
	f.clock = start.Add(48 * time.Hour)
	f.expect("the timer of run B", f.deliver("4", events.EnvironmentExpired{RunRef: ref(runB), Namespace: namespace}), 202,
		strings.ReplaceAll(removedA, runA, runB))
}

// What the account of the run before was let do in the namespace is not the next one's.
func TestTheRightsAreThoseOfTheRunsRole(t *testing.T) {
	f := setup(t)
	reads, none := request(runA, 0), request(runB, 0)
	reads.Kubernetes = events.KubernetesRead
	f.expect("a role that reads", f.deliver("1", reads), 202, startedA)
	if diff := cmp.Diff(agentpod.AgentRules(events.KubernetesRead), read[rbacv1.Role](f, fakekube.Roles, namespace, agentpod.JobName).Rules); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	f.end()
	f.expect("one that does not", f.deliver("2", none), 202, startedB)
	if rules := read[rbacv1.Role](f, fakekube.Roles, namespace, agentpod.JobName).Rules; len(rules) != 0 {
		t.Errorf("it may do what the run before might: %v", rules)
	}
}

// Of a run that is over, only its Job's end may be missing when its namespace expires: that is soon, and asked for
// soon.
func TestExpiryBeforeTheJobsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		over time.Duration // since when the run is, as the namespace expires
		ends bool          // the Job does, by itself
	}{
		"the agent leaves":        {time.Second, true},
		"a sidecar keeps its pod": {11 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
			f.clock = start.Add(25*time.Hour - test.over)
			f.over()
			f.clock = start.Add(25 * time.Hour)
			expired := events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}
			f.expect("the Job has not ended", f.deliver("2", expired), 503)
			if job := f.job(); test.ends {
				if job == nil || job.DeletionTimestamp != nil {
					t.Fatalf("the Job was not let end: %+v", job)
				}
				f.end()
			}
			if got := f.again("2", expired); got != 202 {
				t.Errorf("afterwards: answered %d", got)
			}
			if diff := cmp.Diff([]string{removedA}, f.emitted()); diff != "" {
				t.Errorf("emitted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"agent.started ", "environment.removed "}, f.audit()); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
		})
	}
}

// A Job that was told to stop and does not go, as on a node that is away, is told of while it lasts.
func TestAFormerAgentThatDoesNotGo(t *testing.T) {
	f := setup(t)
	f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
	job, err := f.objects.Get(fakekube.Jobs, namespace, agentpod.JobName)
	if err != nil {
		t.Fatal(err)
	}
	job.SetFinalizers([]string{"example.com/guard"})
	if _, err := f.objects.Update(fakekube.Jobs, job, false); err != nil {
		t.Fatal(err)
	}
	f.expect("stop", f.deliver("2", events.AgentStopRequested{RunRef: ref(runA), Namespace: namespace, Reason: "aborted"}), 202)
	f.expect("it may go yet", f.deliver("3", request(runB, 0)), 503)
	f.objects.SetAhead(f.h.platform.Grace + 15*time.Second)
	status := f.deliver("3", request(runB, 0))
	if got := f.emitted(); status != 503 || len(got) != 1 || !strings.HasPrefix(got[0], "agent.delayed ") || !strings.Contains(got[0], "example.com/guard") {
		t.Errorf("answered %d, emitted %v", status, got)
	}
}

// A namespace that hangs in its removal is waited for, and then named together with what holds it up.
func TestANamespaceThatHangs(t *testing.T) {
	f := setup(t)
	f.expect("start", f.deliver("1", request(runA, 0)), 202, startedA)
	f.end()
	ns, err := f.objects.Get(fakekube.Namespaces, "", namespace)
	if err != nil {
		t.Fatal(err)
	}
	ns.SetFinalizers([]string{"example.com/guard"})
	if _, err := f.objects.Update(fakekube.Namespaces, ns, false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.objects.Delete(fakekube.Namespaces, "", namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	const delayed = `agent.delayed {"runId":"` + runB + `",`
	for range 2 { // once for what it says, however often it is asked for
		status := f.deliver("2", request(runB, 0))
		if got := f.emitted(); status != 503 || len(got) != 1 || !strings.HasPrefix(got[0], delayed) || !strings.Contains(got[0], "example.com/guard") {
			t.Errorf("it may go yet: answered %d, emitted %v", status, got)
		}
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*) FROM events WHERE type = $1`, events.AgentDelayed{}.EventType()); n != 1 {
		t.Errorf("%d events tell why it does not start yet", n)
	}
	f.objects.SetAhead(4 * time.Minute)
	status := f.deliver("2", request(runB, 0))
	if got := f.emitted(); status != 202 || len(got) != 1 || !strings.Contains(got[0], `"reason":"namespace_stuck"`) || !strings.Contains(got[0], "example.com/guard") {
		t.Errorf("answered %d, emitted %v", status, got)
	}
	if diff := cmp.Diff([]string{"agent.failed namespace_stuck", "agent.started "}, f.audit()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

// A namespace that is found gets what it lacks, and what was changed in it is put right: a function may have died
// before it had made all, and somebody may have been at it while the run waited.
func TestANamespaceThatIsFoundIsMadeWhole(t *testing.T) {
	f := setup(t)
	f.expect("start", f.deliver("first", fullEnv(runA, 0)), 202, startedA)
	whole, open := f.inNamespace(), networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{}}}
	git := f.policy("egress-git").Spec
	for attempt, started := range []string{startedA, startedA2} {
		o, err := agentpod.Build(fullEnv(runA, attempt), f.h.platform, "token", start)
		if err != nil {
			t.Fatal(err)
		}
		for kept := range len(o.Support) + 1 {
			policy := f.policy("egress-git")
			policy.Spec = open
			if err := f.h.cluster.Update(t.Context(), gvr.NetworkPolicies, policy); err != nil {
				t.Fatal(err)
			}
			for _, object := range append([]agentpod.Object{{Resource: gvr.Jobs, Value: f.job()}}, o.Support[kept:]...) {
				f.delete(object)
			}
			what := fmt.Sprintf("attempt %d, of which %d objects are there", attempt, kept)
			f.expect(what, f.deliver(what, fullEnv(runA, attempt)), 202, started)
			if diff := cmp.Diff(whole, f.inNamespace()); diff != "" {
				t.Errorf("%s: objects (-want +got):\n%s", what, diff)
			}
			if diff := cmp.Diff(git, f.policy("egress-git").Spec); diff != "" {
				t.Errorf("%s: the way to Git (-want +got):\n%s", what, diff)
			}
		}
	}
}

func (f *fixture) policy(name string) *networkingv1.NetworkPolicy {
	return read[networkingv1.NetworkPolicy](f, fakekube.NetworkPolicies, namespace, name)
}

// delete takes an object of the run's namespace away.
func (f *fixture) delete(o agentpod.Object) {
	f.Helper()
	there, err := kube.Get[metav1.PartialObjectMetadata](f.Context(), f.h.cluster, o.Resource, namespace, o.Value.GetName())
	if err == nil && there != nil {
		err = f.h.cluster.Delete(f.Context(), o.Resource, there, metav1.DeletePropagationBackground)
	}
	if err != nil {
		f.Fatal(err)
	}
}
