//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/local/stack"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
)

// TestAnAgentReachesItsGatewaysAndGitAndNothingElse tries from inside the pod of an agent at work. That what is allowed
// answers shows that the means of trying work.
func TestAnAgentReachesItsGatewaysAndGitAndNothingElse(t *testing.T) {
	repo := it.repo("probed")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentStays(t, repo)
	service := func(name, in string) string { return name + "." + in + ".svc.cluster.local" }
	allowed := []string{service("agent-gateway", namespace) + " 80", service("llm-caller", namespace) + " 80", it.hostIP + " " + fmt.Sprint(githubPort)}
	forbidden := []string{
		"kubernetes.default.svc 443", "169.254.169.254 80", "1.1.1.1 443", "1.1.1.1 53",
		service("postgres", namespace) + " 5432", service("broker-ingress", "knative-eventing") + " 80",
		service("autoscaler", "knative-serving") + " 8080", service("activator-service", "knative-serving") + " 80",
		it.hostIP + " " + fmt.Sprint(modelPort), // listens, and is OpenAI: only llm-caller may
	}
	functions, err := it.functionPods(t.Context(), "")
	if err != nil || len(functions) == 0 {
		t.Fatalf("there are %d pods of functions to try: %v", len(functions), err)
	}
	for _, p := range functions {
		forbidden = append(forbidden, p.Status.PodIP+" 8012", p.Status.PodIP+" 8080")
	}
	for _, n := range mustList[corev1.Node](t, it, "v1/nodes", "", "") {
		forbidden = append(forbidden, n.Status.Addresses[0].Address+" 10250", n.Status.Addresses[0].Address+" 6443")
	}
	if got := it.connects(t, pod, append(slices.Clone(allowed), forbidden...)); !slices.Equal(got, allowed) {
		t.Errorf("reached (-want +got):\n%s", cmp.Diff(allowed, got))
	}
	if found := it.inside(t, pod, "ls /var/run/secrets/kubernetes.io 2>/dev/null; env | grep -iE 'postgres|openai|github|secret|password' || true"); found != "" {
		t.Errorf("the pod holds %q", found)
	}
	it.mayOnlyReadItsNamespace(t, pod.Namespace)
	it.forgesNothing(t, pod)
}

// connects returns those of the addresses ("host port") to which a connection comes about.
func (w *world) connects(t *testing.T, pod corev1.Pod, addresses []string) []string {
	t.Helper()
	script := strings.Builder{}
	for n, address := range addresses {
		fmt.Fprintf(&script, "(set -- %s; timeout 4 bash -c \"exec 3<>/dev/tcp/$1/$2\" 2>/dev/null && echo %d) &\n", address, n)
	}
	out := w.inside(t, pod, script.String()+"wait")
	var reached []string
	for n, address := range addresses {
		if slices.Contains(strings.Fields(out), fmt.Sprint(n)) {
			reached = append(reached, address)
		}
	}
	return reached
}

// inside runs a script of bash in the agent's container.
func (w *world) inside(t *testing.T, pod corev1.Pod, script string) string {
	t.Helper()
	out, err := w.kubectl(t.Context(), "-n", pod.Namespace, "exec", pod.Name, "-c", "agent", "--", "bash", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mayOnlyReadItsNamespace asks Kubernetes what the agent's account may do.
func (w *world) mayOnlyReadItsNamespace(t *testing.T, in string) {
	t.Helper()
	may := func(args ...string) bool {
		out, err := w.kubectl(t.Context(), append([]string{"--as=system:serviceaccount:" + in + ":agent", "auth", "can-i"}, args...)...)
		yes := strings.HasPrefix(out, "yes")
		if !yes && !strings.HasPrefix(out, "no") { // which is exit code 1
			t.Fatalf("kubectl auth can-i %s: %q, %v", strings.Join(args, " "), out, err)
		}
		return yes
	}
	for _, right := range []string{"list pods", "get pods/log"} {
		if !may(append(strings.Fields(right), "-n", in)...) {
			t.Errorf("the agent may not %s in its namespace", right)
		}
	}
	for _, right := range []string{"get secrets", "list secrets", "create pods", "create pods/exec", "create jobs", "delete networkpolicies", "create rolebindings", "update resourcequotas"} {
		if may(append(strings.Fields(right), "-n", in)...) {
			t.Errorf("the agent may %s in its namespace", right)
		}
	}
	for _, right := range []string{"list pods", "get secrets", "get configmaps"} {
		if may(append(strings.Fields(right), "-n", namespace)...) || may(append(strings.Fields(right), "-n", "default")...) {
			t.Errorf("the agent may %s in other namespaces", right)
		}
	}
	for _, right := range []string{"list namespaces", "list nodes", "list clusterroles"} {
		if may(strings.Fields(right)...) {
			t.Errorf("the agent may %s", right)
		}
	}
}

// forgesNothing sends an event from the pod to functions that only the Broker should call: one ingress serves all
// Services, so the network lets it through, and the function has to refuse it.
func (w *world) forgesNothing(t *testing.T, pod corev1.Pod) {
	t.Helper()
	for function, kind := range map[string]string{
		"stage-router": "dev.codexk8s.agent.reported", "agent-launcher": "dev.codexk8s.environment.expired", "github-caller": "dev.codexk8s.github.change.requested",
	} {
		id := uuid.NewString()
		body := fmt.Sprintf(`{"runId":%q,"repository":"acme/x","issue":1,"namespace":%q,"outcome":"succeeded"}`, pod.Labels["codexk8s.dev/run"], pod.Namespace)
		request := fmt.Sprintf("POST / HTTP/1.1\\r\\nHost: %s.%s.svc.cluster.local\\r\\nConnection: close\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n"+
			"Ce-Specversion: 1.0\\r\\nCe-Type: %s\\r\\nCe-Source: https://codexk8s.dev/agent-gateway\\r\\nCe-Id: %s\\r\\n\\r\\n%s", function, namespace, len(body), kind, id, body)
		script := fmt.Sprintf("exec 3<>/dev/tcp/%s.%s.svc.cluster.local/80; printf '%s' >&3; timeout 90 head -n 1 <&3", function, namespace, request)
		if got := strings.TrimSpace(w.inside(t, pod, script)); !strings.Contains(got, " 422 ") && !strings.Contains(got, " 403 ") {
			t.Errorf("a forged event %s is answered %q by %s, want a refusal", kind, got, function)
		}
		var n int
		if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM inbox WHERE id = $1`, id).Scan(&n); err != nil || n != 0 {
			t.Errorf("a forged event %s was handled %d times, %v", kind, n, err)
		}
	}
}

// TestARunsNamespaceGoesWhenItExpiresAndOneThatIsNotOursNever lets a run's time pass, and has the platform's own log
// ask for the removal of two namespaces that only look like a run's.
func TestARunsNamespaceGoesWhenItExpiresAndOneThatIsNotOursNever(t *testing.T) {
	ctx, repo := t.Context(), it.repo("expired")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	it.finished(t, repo, issue, "succeeded", "")
	it.settled(t)
	var run, own string
	if err := it.db.QueryRow(ctx, `SELECT id::text, namespace FROM runs WHERE repository = $1`, repo).Scan(&run, &own); err != nil {
		t.Fatal(err)
	}
	foreign := []string{"codexk8s-run-" + random(6), "somebody-" + random(6)}
	for _, name := range foreign {
		if _, err := it.kubectl(ctx, "create", "namespace", name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = it.kubectl(context.WithoutCancel(ctx), "delete", "namespace", name, "--wait=false")
		})
	}
	// The second has everything but the name.
	labels := []string{"label", "namespace", foreign[1], ours, "codexk8s.dev/run=" + run}
	expired := "codexk8s.dev/expires-at=2020-01-01T00:00:00Z"
	for _, args := range [][]string{labels, {"annotate", "namespace", foreign[1], expired}, {"annotate", "--overwrite", "namespace", own, expired}} {
		if _, err := it.kubectl(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	for n, name := range append(slices.Clone(foreign), own) {
		it.expire(t, run, name, n)
	}
	it.settled(t)
	until(t, 3*time.Minute, func(ctx context.Context) (string, error) {
		ns, err := get[corev1.Namespace](ctx, it, "v1/namespaces", "", own)
		if ns.Name != "" {
			return "namespace " + own + " to go", err
		}
		return "", err
	})
	for _, name := range foreign {
		if ns, err := get[corev1.Namespace](ctx, it, "v1/namespaces", "", name); err != nil || ns.Name == "" || ns.DeletionTimestamp != nil {
			t.Errorf("namespace %s, which is not ours, was deleted: %v", name, err)
		}
	}
	var kept int
	if err := it.db.QueryRow(ctx, `SELECT count(*) FROM audit WHERE action = 'environment.kept' AND reason = 'not_ours' AND run_id = $1`, run).Scan(&kept); err != nil || kept != 2 {
		t.Errorf("%d removals were refused in the audit, want 2 (%v)", kept, err)
	}
}

// expire makes the run's event that its namespace has expired due, the first and second time with another namespace.
func (w *world) expire(t *testing.T, run, ns string, n int) {
	t.Helper()
	id := uuid.NewString()
	_, err := w.db.Exec(t.Context(), `
		WITH made AS (
			INSERT INTO events (source, id, type, subject, time, extensions, content_type, data, correlation)
			SELECT source, $1, type, subject, time, extensions, content_type,
			       convert_to(jsonb_set(convert_from(data, 'UTF8')::jsonb, '{namespace}', to_jsonb($2::text))::text, 'UTF8'), correlation
			FROM events
			WHERE type = 'dev.codexk8s.environment.expired' AND convert_from(data, 'UTF8')::jsonb ->> 'runId' = $3
			ORDER BY stored_at LIMIT 1
			RETURNING source, id
		)
		INSERT INTO pending (function, source, id, due_at) SELECT 'agent-launcher', source, id, now() FROM made
	`, id, ns, run)
	if err != nil {
		t.Fatalf("expiring %s (%d): %v", ns, n, err)
	}
}
