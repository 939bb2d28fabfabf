package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/kube"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// deliveries are what the broker delivered, as "<type> <trigger> <code>".
type deliveries struct {
	mu   sync.Mutex
	list []string
}

func (d *deliveries) add(x broker.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, fmt.Sprintf("%s %s %d", x.Event.Type(), x.Trigger, x.Code))
}

func (d *deliveries) has(line string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.list, line)
}

func start(t *testing.T, change func(*Options)) (*Platform, *deliveries) {
	t.Helper()
	d := &deliveries{}
	o := Options{
		ManifestDirs: []string{"testdata/config", "testdata/eventing"},
		Env:          map[string]map[string]string{"echo": {"FROM_OUTSIDE": "yes"}},
		Secrets:      map[string]map[string]string{"run": {"RUN_TOKEN": "t"}},
		PingEvery:    -1,
		OnDelivery:   d.add,
	}
	if change != nil {
		change(&o)
	}
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, d
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s %v", url, resp.Status, body, err)
	}
	return string(body)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never happened: %s", what)
}

func send(t *testing.T, url, eventType string) {
	t.Helper()
	body := fmt.Sprintf(`{"specversion":"1.0","type":%q,"source":"/test","id":"1"}`, eventType)
	resp, err := http.Post(url, "application/cloudevents+json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("the broker answered %s", resp.Status)
	}
}

func client(t *testing.T, p *Platform) dynamic.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func create(t *testing.T, c dynamic.Interface, r *kube.Resource, namespace, document string) {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
		t.Fatal(err)
	}
	resource := c.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Plural})
	var err error
	if namespace == "" {
		_, err = resource.Create(t.Context(), o, metav1.CreateOptions{})
	} else {
		_, err = resource.Namespace(namespace).Create(t.Context(), o, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// From manifests to events: the environment of the manifest, an event that starts a function from zero, which sends one
// that starts another, a tick, and a Job on the cluster whose changes come back as events.
func TestThePlatformPlaysItsManifests(t *testing.T) {
	p, d := start(t, nil)
	if running := p.Services(); len(running) != 0 {
		t.Errorf("at the start %v run", running)
	}
	echo := p.URL("echo")
	env := map[string]string{}
	for _, name := range []string{"FROM_OUTSIDE", "GREETING", "K_SERVICE", "K_REVISION", "K_SINK", "DATABASE_URL", "KUBECONFIG", "PEER_URL"} {
		env[name] = get(t, echo+"/env?name="+name)
	}
	want := map[string]string{
		"FROM_OUTSIDE": "yes", "GREETING": "hello", "K_SERVICE": "echo", "K_REVISION": "echo-00001", "K_SINK": p.Broker().URL(),
		"DATABASE_URL": p.DatabaseURL(), "KUBECONFIG": filepath.Join(p.Dir(), "services", "echo", "kubeconfig"), "PEER_URL": p.URL("sleeper") + "/hello",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if sink := get(t, p.URL("sleeper")+"/env?name=K_SINK"); sink != "" {
		t.Errorf("a service that no binding selects has K_SINK %s", sink)
	}
	if config := get(t, p.URL("sleeper")+"/env?name=KUBECONFIG"); config != "" {
		t.Errorf("a service whose account mounts no token has KUBECONFIG %s", config)
	}
	if greeting, err := os.ReadFile(get(t, echo+"/env?name=GREETING_FILE")); err != nil || string(greeting) != "hello from a file" {
		t.Errorf("the mounted file holds %q, %v", greeting, err)
	}
	if answer := get(t, echo+"/peer"); !strings.HasPrefix(answer, "HTTP/1.1 ") {
		t.Errorf("the peer answered %s", answer)
	}

	send(t, p.Broker().URL(), "dev.codexk8s.test.asked")
	eventually(t, "the answer is delivered", func() bool { return d.has("dev.codexk8s.test.answered sleeper 202") })
	if err := p.Tick(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "the tick is delivered", func() bool { return d.has("dev.knative.sources.ping echo 202") })

	// A namespace of a run is not the source's own, so its Job is made where the source looks.
	c := client(t, p)
	create(t, c, kube.Jobs, "codexk8s", `{apiVersion: batch/v1, kind: Job, metadata: {name: agent, labels: {app.kubernetes.io/managed-by: codexk8s}},
  spec: {template: {spec: {restartPolicy: Never, containers: [{name: agent, image: "ko://codexk8s.dev/test/local/testdata/echo", args: [exit, "0"],
    env: [{name: RUN_TOKEN, valueFrom: {secretKeyRef: {name: run, key: RUN_TOKEN}}}]}]}}}}`)
	eventually(t, "the job's changes are delivered", func() bool { return d.has("dev.knative.apiserver.resource.update echo 202") })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Broker().Idle(ctx); err != nil {
		t.Error(err)
	}
	if received := get(t, echo+"/received"); !strings.Contains(received, "/ dev.knative.apiserver.resource.update /apis/batch/v1/namespaces/codexk8s/jobs/agent\n") {
		t.Errorf("echo received\n%s", received)
	}
}

func TestChaos(t *testing.T) {
	p, d := start(t, nil)
	first := get(t, p.URL("echo")+"/wait?for=0s")
	if killed, err := p.Kill("echo"); !killed || err != nil {
		t.Errorf("killed %t, %v", killed, err)
	}
	second := get(t, p.URL("echo")+"/wait?for=0s")
	if err := p.Restart("echo"); err != nil {
		t.Error(err)
	}
	third := get(t, p.URL("echo")+"/wait?for=0s")
	if first == second || second == third {
		t.Errorf("processes %s, %s, %s", first, second, third)
	}
	p.Broker().Pause()
	send(t, p.Broker().URL(), "dev.codexk8s.test.asked")
	if lost := p.Broker().Forget(); lost != 1 {
		t.Errorf("%d deliveries lost", lost)
	}
	p.Broker().Resume()
	send(t, p.Broker().URL(), "dev.codexk8s.test.answered")
	eventually(t, "what came later is delivered", func() bool { return d.has("dev.codexk8s.test.answered sleeper 202") })
	if d.has("dev.codexk8s.test.asked echo 202") {
		t.Error("what was forgotten was delivered")
	}
}

func TestStopLeavesNothingAndTheStateStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var logs bytes.Buffer
	p, _ := start(t, func(o *Options) { o.StateDir, o.Logs = dir, &logs })
	if _, err := Start(t.Context(), Options{ManifestDirs: []string{"testdata/config"}, StateDir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another platform") {
		t.Errorf("a second platform on the directory: %v", err)
	}
	var pid int
	if _, err := fmt.Sscan(get(t, p.URL("echo")+"/wait?for=0s"), &pid); err != nil {
		t.Fatal(err)
	}
	c := client(t, p)
	create(t, c, kube.Namespaces, "", `{apiVersion: v1, kind: Namespace, metadata: {name: kept}}`)
	p.Stop()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("echo is there after Stop: %v", err)
	}
	if !strings.Contains(logs.String(), "echo | listening\n") {
		t.Errorf("the log holds %q", logs.String())
	}
	if processes := below(t, dir); processes != "" {
		t.Errorf("processes are left:\n%s", processes)
	}
	again, _ := start(t, func(o *Options) { o.StateDir = dir })
	defer again.Stop()
	if _, err := again.Kube.Store.Get(kube.Namespaces, "", "kept"); err != nil {
		t.Errorf("after a new start: %v", err)
	}
	if was := p.URL("echo"); again.URL("echo") != was {
		t.Errorf("a Job of before asks %s, and the service listens at %s", was, again.URL("echo"))
	}
}

// below lists the processes whose command line names the directory.
func below(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func TestAFailedMigrationIsShownAndNothingRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := Start(t.Context(), Options{
		ManifestDirs: []string{"testdata/config"}, StateDir: dir, JobRetryDelay: time.Hour, // not waited for: the first failure counts
		Database: Database{URL: "postgres://127.0.0.1:1/none", Secret: "another"}, Secrets: map[string]map[string]string{"database": {"DATABASE_URL": ""}},
	})
	if err == nil || !strings.Contains(err.Error(), "job migrate failed:\nthere is no database") {
		t.Errorf("got %v", err)
	}
	if processes := below(t, dir); processes != "" {
		t.Errorf("processes are left:\n%s", processes)
	}
}

func TestWrongReferencesAreErrors(t *testing.T) {
	_, err := Start(t.Context(), Options{ManifestDirs: []string{"testdata/eventing"}, Database: Database{URL: "postgres://127.0.0.1:1/none"}})
	if err == nil || !strings.Contains(err.Error(), "there is no Service echo (serving.knative.dev/v1) in namespace codexk8s among the manifests") {
		t.Errorf("got %v", err)
	}
}
