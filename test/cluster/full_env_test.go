//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// servicesFile is the repositories' services.yaml, which only full-env runs read: two services, of which one calls the
// other. %s is their image.
const servicesFile = `apiVersion: codexk8s.dev/v1
services:
  - {name: prices, image: "%[1]s", args: [prices], cpu: 100m, memory: 64Mi}
  - {name: shop, image: "%[1]s", args: [shop, $(SERVICE_PRICES_URL)], cpu: 100m, memory: 64Mi}
`

// buildService builds and pushes the image of the project's services.
func (w *world) buildService(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "ko", append([]string{"build", "./test/cluster/service"}, strings.Fields(os.Getenv("KO_FLAGS"))...)...)
	cmd.Dir, cmd.Stderr = w.root, &strings.Builder{}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ko build: %w: %s", err, cmd.Stderr)
	}
	w.service = strings.TrimSpace(string(out))
	return nil
}

// TestAFullEnvRunHasItsProjectsServicesBesideItsAgent follows two services of a project from the label to the end of
// their namespace: called by the agent and by each other, at zero pods while nobody calls, woken by the revise's agent.
func TestAFullEnvRunHasItsProjectsServicesBesideItsAgent(t *testing.T) {
	repo := it.repo("full-env")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentStays(t, repo)
	in := pod.Namespace
	if diff := cmp.Diff(map[string]string{"$SERVICE_PRICES_URL": "prices", "$SERVICE_SHOP_URL": "shop and prices"}, it.greetings(t, pod)); diff != "" {
		t.Errorf("what the services answer the agent (-want +got):\n%s", diff)
	}
	it.servicesReachEachOtherOnly(t, pod)
	first := it.services(t, in)
	it.model.Behave(model.Behaviour{})
	it.finished(t, repo, issue, "succeeded", "")

	asleep := time.Now()
	until(t, 3*time.Minute, func(ctx context.Context) (string, error) {
		pods, err := list[corev1.Pod](ctx, it, "v1/pods", in, serving.ServiceLabelKey)
		if len(pods) > 0 {
			return fmt.Sprintf("%d pods of services to go", len(pods)), err
		}
		return "", err
	})
	t.Logf("services at zero pods %s after the run's end", time.Since(asleep).Round(time.Second))
	pull := it.github.PullRequests(repo)[0].Number
	if _, err := it.github.Review(repo, pull, "REQUEST_CHANGES", stack.ReviewBody, nil, owner); err != nil {
		t.Fatal(err)
	}
	it.runs(t, repo, 2)
	if diff := cmp.Diff("shop and prices", it.greetings(t, it.agentStays(t, repo))["$SERVICE_SHOP_URL"]); diff != "" {
		t.Errorf("what the services answer the revise's agent (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(first, it.services(t, in)); diff != "" {
		t.Errorf("services of the revise (-first run's +its own):\n%s", diff)
	}
	it.model.Behave(model.Behaviour{})
	it.finished(t, repo, issue, "succeeded", "")
	it.settled(t)
	if pulls, comments := len(it.github.PullRequests(repo)), len(it.github.Comments(repo, issue)); pulls != 1 || comments != 1 {
		t.Errorf("there are %d pull requests and %d comments, want one of each", pulls, comments)
	}

	it.expireNow(t, repo, in)
	until(t, 3*time.Minute, func(ctx context.Context) (string, error) {
		ns, err := get[corev1.Namespace](ctx, it, "v1/namespaces", "", in)
		if ns.Name != "" {
			return "namespace " + in + " to go", err
		}
		return "", err
	})
	if left := it.services(t, in); len(left) > 0 {
		t.Errorf("services %v have outlived their namespace", left)
	}
}

// agentStays waits for the repository's agent like agentRuns, and lets models answer so slowly that it stays.
func (w *world) agentStays(t *testing.T, repo string) corev1.Pod {
	t.Helper()
	pod := w.agentRuns(t, repo)
	w.model.Behave(model.Behaviour{Mode: model.Slow, Delay: 5 * time.Second})
	return pod
}

// runs waits until the repository has had that many.
func (w *world) runs(t *testing.T, repo string, want int) {
	t.Helper()
	until(t, time.Minute, func(ctx context.Context) (string, error) {
		var n int
		err := w.db.QueryRow(ctx, `SELECT count(*) FROM runs WHERE repository = $1`, repo).Scan(&n)
		if n < want {
			return fmt.Sprintf("run %d", want), err
		}
		return "", err
	})
}

// getFrom has the agent fetch a path of the service that a variable of its environment names.
func (w *world) getFrom(t *testing.T, pod corev1.Pod, variable, path string) string {
	t.Helper()
	return w.inside(t, pod, fmt.Sprintf(`host=${%s#http://}; exec 3<>"/dev/tcp/$host/80"
		printf 'GET %s HTTP/1.1\r\nHost: %%s\r\nConnection: close\r\n\r\n' "$host" >&3; timeout 60 cat <&3 | sed '1,/^\r$/d'`, variable, path))
}

// greetings are the services' answers to the agent, by variable.
func (w *world) greetings(t *testing.T, pod corev1.Pod) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"SERVICE_PRICES_URL", "SERVICE_SHOP_URL"} {
		all["$"+name] = w.getFrom(t, pod, name, "/")
	}
	return all
}

// servicesReachEachOtherOnly has a service try what is forbidden to the agent, and what is allowed to the agent alone.
func (w *world) servicesReachEachOtherOnly(t *testing.T, pod corev1.Pod) {
	t.Helper()
	shop := "shop." + pod.Namespace + ".svc.cluster.local:80"
	want, got := map[string]bool{shop: true}, map[string]bool{}
	for _, to := range []string{
		w.address(githubPort), w.address(modelPort), "1.1.1.1:443", "169.254.169.254:80", "kubernetes.default.svc:443",
		"postgres." + namespace + ".svc.cluster.local:5432", pod.Status.PodIP + ":22",
	} {
		want[to] = false
	}
	for to := range maps.Keys(want) {
		answer := w.getFrom(t, pod, "SERVICE_PRICES_URL", "/reach?to="+to)
		if got[to] = answer == "yes"; !got[to] && !strings.HasPrefix(answer, "no:") {
			t.Errorf("asked to reach %s, a service answers %q", to, answer)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what a service reaches (-want +got):\n%s", diff)
	}
}

// services are the namespace's Knative Services with what would change if they were made again or got another revision.
func (w *world) services(t *testing.T, in string) map[string]types.UID {
	t.Helper()
	all := map[string]types.UID{}
	for _, s := range mustList[servingv1.Service](t, w, "serving.knative.dev/v1/services", in, "") {
		all[s.Status.LatestCreatedRevisionName] = s.UID
	}
	return all
}

// expireNow lets the time of the repository's namespace pass.
func (w *world) expireNow(t *testing.T, repo, in string) {
	t.Helper()
	if _, err := w.kubectl(t.Context(), "annotate", "namespace", in, "--overwrite", "codexk8s.dev/expires-at=2020-01-01T00:00:00Z"); err != nil {
		t.Fatal(err)
	}
	_, err := w.db.Exec(t.Context(), `
		WITH due AS (
			UPDATE events SET not_before = now() WHERE type = 'dev.codexk8s.environment.expired' AND correlation LIKE $1 || '#%'
			RETURNING source, id
		)
		UPDATE pending p SET due_at = now() FROM due WHERE (p.source, p.id) = (due.source, due.id)
	`, repo)
	if err != nil {
		t.Fatal(err)
	}
}
