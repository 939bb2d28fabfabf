package stack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/job"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg"
	"codexk8s.dev/test/local/pod"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// begin starts a stack and returns the context in which the test's story is to end.
func begin(t *testing.T, o Options) (context.Context, *Stack) {
	t.Helper()
	s, err := Start(t.Context(), o) // builds first, which takes as long as the machine needs
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, errors.New("2 minutes are over"))
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if t.Failed() {
			s.WriteTails(t.Output(), 15)
		}
		s.Stop()
	})
	return ctx, s
}

// A database that is given gets the schema, keeps what happened through a second start, and is not this package's to
// start or stop.
func TestAGivenDatabase(t *testing.T) {
	server, err := pg.Start(t.Context(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.CreateDatabase(t.Context(), "given"); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: t.TempDir(), Outside: Outside{DatabaseURL: server.URL("given")}}
	ctx, s := begin(t, o)
	if s.Platform.Postgres != nil {
		t.Error("there is a second Postgres")
	}
	end, err := s.Play(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()

	ctx, s = begin(t, o)
	if err := s.GitHub.AddLabel(Repository, Issue, "run:dev:revise", Owner); err != nil {
		t.Fatal(err)
	}
	if _, err := s.story().awaitRun(ctx, len(end.Runs)+1); err != nil {
		t.Errorf("the second start does not go on where the first ended: %v", err)
	}
}

// GitHub by a token and OpenAI by a key, as make run takes them from the environment: no fake of ours is started, and
// what the two servers are asked comes with the credentials given. The project's role is full-env, so its service
// stands beside the agent, the same one for both runs.
func TestGitHubAndOpenAIFromOutside(t *testing.T) {
	const secret, key = "0123456789abcdef0123456789abcdef", "sk-given"
	hub, err := fakegithub.New(fakegithub.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	for _, login := range []string{Owner, "machine"} {
		if _, err := hub.CreateUser(login); err != nil {
			t.Fatal(err)
		}
	}
	files := maps.Clone(demoFiles)
	files["services.yaml"] = "apiVersion: codexk8s.dev/v1\nservices:\n  - {name: prices, image: ghcr.io/acme/prices:1.4}\n"
	if err := hub.CreateRepository("acme/shop", files); err != nil {
		t.Fatal(err)
	}
	for login, permission := range map[string]string{Owner: "admin", "machine": "write"} {
		if err := hub.AddCollaborator("acme/shop", login, permission); err != nil {
			t.Fatal(err)
		}
	}
	issue, err := hub.CreateIssue("acme/shop", IssueTitle, issueBody, Owner)
	if err != nil {
		t.Fatal(err)
	}
	ai := model.New(model.Options{Keys: []string{key}})
	aiServer := httptest.NewServer(ai)
	t.Cleanup(aiServer.Close)
	projects := filepath.Join(t.TempDir(), "projects.yaml")
	err = os.WriteFile(projects, []byte("owners: [owner]\nprojects:\n  - {id: shop, repositories: [acme/shop], settings: {engine: builtin, modes: {dev: full-env}}}\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"GITHUB_TOKEN": "machine-token", "GITHUB_API_URL": hub.APIURL(), "GITHUB_WEBHOOK_SECRETS": secret, "PROJECTS_FILE": projects,
		"OPENAI_API_KEY": key, "OPENAI_BASE_URL": aiServer.URL + "/v1",
	} {
		t.Setenv(name, value)
	}
	outside, err := FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}

	ctx, s := begin(t, Options{Outside: outside})
	if s.GitHub != nil || s.Model != nil {
		t.Error("a fake was started beside what was given")
	}
	if _, err := hub.AddHook("acme/shop", fakegithub.HookOptions{URL: s.WebhookURL(), Secret: secret}); err != nil {
		t.Fatal(err)
	}
	end, err := Story{GitHub: hub, DatabaseURL: s.Platform.DatabaseURL(), Repository: "acme/shop", Issue: issue}.Play(ctx, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if end.Comments[0].User != "machine" {
		t.Errorf("the status comment is by %s, want the token's user", end.Comments[0].User)
	}
	services, _ := s.Platform.Kube.Store.List(kube.KnativeServices, "", labels.Everything())
	if len(services) != 1 || services[0].GetName() != "prices" || services[0].GetGeneration() != 1 || services[0].GetLabels()["codexk8s.dev/run"] != end.Runs[1].ID {
		t.Errorf("the project's services are %v, want prices of run %s in its first revision", services, end.Runs[1].ID)
	}
}

// Agents run in a cluster that KUBECONFIG names, here another miniature one with a node of its own. That its Jobs are
// heard of comes from the ApiServerSource, which watches that cluster.
func TestAgentsInAGivenCluster(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	store, err := kube.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	api, err := kube.Serve(store, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := api.WriteConfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	guard, err := child.NewGuard("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guard.Close)
	const image = "registry.test/agent-runner:1"
	node, err := job.Start(job.Options{Store: store, Dir: t.TempDir(), Guard: guard, Cluster: &pod.Cluster{
		Secret: store.Data, ConfigMap: store.ConfigMap, Binaries: map[string]string{image: filepath.Join(root, ".bin", "agent-runner")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Stop)

	gateway, llm := freePort(t), freePort(t)
	var mu sync.Mutex
	heard := map[string]bool{}
	ctx, s := begin(t, Options{
		Outside: Outside{
			Kubeconfig: kubeconfig, AgentImage: image, ListenAddress: "127.0.0.1", Engine: "builtin",
			Probe:      "off", // its pods are processes, too, in the machine's network
			GatewayURL: fmt.Sprintf("http://127.0.0.1:%d", gateway), LLMURL: fmt.Sprintf("http://127.0.0.1:%d/v1", llm),
		},
		OnDelivery: func(d broker.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if d.Trigger == "run-observer" && d.Err == nil && d.Event.Source() == api.URL() {
				heard[d.Event.Type()] = true
			}
		},
	})
	if _, err := s.Play(ctx, t.Logf); err != nil {
		t.Fatal(err)
	}
	if len(s.Notes) > 0 {
		t.Errorf("the start had something to say: %q", s.Notes)
	}
	if here, _ := s.Platform.Kube.Store.List(kube.Jobs, "", labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": "codexk8s"})); len(here) > 0 {
		t.Errorf("%d agents ran on this machine", len(here))
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"dev.knative.apiserver.resource.add", "dev.knative.apiserver.resource.update"} {
		if !heard[want] {
			t.Errorf("run-observer never heard %s", want)
		}
	}
	want := []string{"127.0.0.1/32"}
	if got := opened(store, gateway); !slices.Equal(got, want) {
		t.Errorf("port %d of agent-gateway is open to %v, want %v", gateway, got, want)
	}
}

// opened are the address ranges to which the agents' NetworkPolicies open a port.
func opened(store *kube.Store, port int) (ranges []string) {
	policies, _ := store.List(kube.NetworkPolicies, "", labels.Everything())
	for _, policy := range policies {
		rules, _, _ := unstructured.NestedSlice(policy.Object, "spec", "egress")
		for _, rule := range rules {
			ports, _, _ := unstructured.NestedSlice(rule.(map[string]any), "ports")
			if !slices.ContainsFunc(ports, func(p any) bool { return p.(map[string]any)["port"] == int64(port) }) {
				continue
			}
			peers, _, _ := unstructured.NestedSlice(rule.(map[string]any), "to")
			for _, peer := range peers {
				if cidr, ok, _ := unstructured.NestedString(peer.(map[string]any), "ipBlock", "cidr"); ok && !slices.Contains(ranges, cidr) {
					ranges = append(ranges, cidr)
				}
			}
		}
	}
	return ranges
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := child.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
