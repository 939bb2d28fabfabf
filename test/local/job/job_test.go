package job

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pod"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const image = "codexk8s.dev/test/local/testdata/echo"

var binaries map[string]string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "job-test-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if binaries, err = build.Images(context.Background(), ".", dir, []string{image}, false); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// node is a store with a controller.
type node struct {
	*testing.T
	store      *kube.Store
	controller *Controller
	dir        string
	log        *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, file string) *node {
	t.Helper()
	store, err := kube.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{T: t, store: store, dir: t.TempDir(), log: &lockedBuffer{}}
	if _, err := store.Get(kube.Namespaces, "", "run"); err != nil {
		n.add(kube.Namespaces, "", `{apiVersion: v1, kind: Namespace, metadata: {name: run}}`)
	}
	n.controller, err = Start(Options{
		Store: store, Dir: n.dir, RetryDelay: 20 * time.Millisecond, Log: n.log,
		Cluster: &pod.Cluster{Secret: store.Data, ConfigMap: store.ConfigMap, Binaries: binaries},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.controller.Stop(); store.Close() })
	return n
}

func (n *node) add(r *kube.Resource, namespace, document string) {
	n.Helper()
	raw, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		n.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(raw); err != nil {
		n.Fatal(err)
	}
	o.SetNamespace(namespace)
	if _, err := n.store.Create(r, o); err != nil {
		n.Fatal(err)
	}
}

// run makes a Job named agent of the echo program with the arguments and more fields of its spec.
func (n *node) run(args, spec string) {
	n.Helper()
	n.add(kube.Jobs, "run", fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: agent}
spec:
  %s
  template:
    metadata: {labels: {codexk8s.dev/run: r1}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      volumes: [{name: work, emptyDir: {}}]
      containers:
        - name: agent
          image: ko://%s
          args: %s
          env:
            - {name: HOME, value: /work}
            - name: RUN_TOKEN
              valueFrom: {secretKeyRef: {name: run, key: RUN_TOKEN, optional: true}}
          volumeMounts: [{name: work, mountPath: /work}]`, spec, image, args))
}

func (n *node) job() *batchv1.Job {
	n.Helper()
	o, err := n.store.Get(kube.Jobs, "run", "agent")
	if err != nil {
		n.Fatal(err)
	}
	var job batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &job); err != nil {
		n.Fatal(err)
	}
	return &job
}

func (n *node) pods() []corev1.Pod {
	n.Helper()
	list, _ := n.store.List(kube.Pods, "run", labels.Everything())
	var pods []corev1.Pod
	for _, o := range list {
		var p corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
			n.Fatal(err)
		}
		pods = append(pods, p)
	}
	return pods
}

func (n *node) eventually(what string, is func() bool) {
	n.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	state, _ := json.Marshal(n.pods())
	n.Fatalf("it never happened: %s; pods: %s", what, state)
}

// summary is a finished Job in one line.
func (n *node) summary() string {
	n.Helper()
	n.eventually("the job is finished", func() bool { return finished(n.job()) })
	s := n.job().Status
	text := fmt.Sprintf("active %d succeeded %d failed %d", s.Active, s.Succeeded, s.Failed)
	for _, c := range s.Conditions {
		text += fmt.Sprintf(" %s=%s", c.Type, c.Reason)
	}
	return text
}

func TestHowJobsEnd(t *testing.T) {
	const failOn42 = `podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: agent, operator: In, values: [42]}}]}`
	for _, test := range []struct{ name, args, spec, want string }{
		{"success", `[exit, "0"]`, `{}`, "active 0 succeeded 1 failed 0 SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached"},
		{"no retry left", `[exit, "1"]`, `backoffLimit: 2`, "active 0 succeeded 0 failed 3 FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded"},
		{"no retry wanted", `[exit, "42"]`, "backoffLimit: 2\n  " + failOn42, "active 0 succeeded 0 failed 1 FailureTarget=PodFailurePolicy Failed=PodFailurePolicy"},
		{"another code is retried", `[exit, "1"]`, "backoffLimit: 1\n  " + failOn42, "active 0 succeeded 0 failed 2 FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded"},
		{"too long", `[sleep, 1h]`, `activeDeadlineSeconds: 1`, "active 0 succeeded 0 failed 1 FailureTarget=DeadlineExceeded Failed=DeadlineExceeded"},
		{"too long and stubborn", `[stubborn]`, `activeDeadlineSeconds: 1`, "active 0 succeeded 0 failed 1 FailureTarget=DeadlineExceeded Failed=DeadlineExceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, "")
			if test.spec == "{}" {
				test.spec = "completions: 1"
			}
			n.run(test.args, test.spec)
			if diff := cmp.Diff(test.want, n.summary()); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
			if n.controller.Running() != 0 {
				t.Error("a process is still running")
			}
		})
	}
}

func TestThePodTellsWhatHappened(t *testing.T) {
	n := start(t, "")
	n.run(`[exit, "7"]`, "backoffLimit: 0")
	n.summary()
	pods := n.pods()
	if len(pods) != 1 {
		t.Fatalf("%d pods", len(pods))
	}
	p := pods[0]
	state := p.Status.ContainerStatuses[0].State.Terminated
	got := fmt.Sprintf("%s %s %d %s %s %s", p.Status.Phase, p.Status.ContainerStatuses[0].Name, state.ExitCode, state.Reason, p.Labels["job-name"], p.Labels["codexk8s.dev/run"])
	if diff := cmp.Diff("Failed agent 7 Error agent r1", got); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

func TestAPodWaitsForItsSecretAndGetsIt(t *testing.T) {
	n := start(t, "")
	n.add(kube.Jobs, "run", fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: agent}, spec: {template: {spec: {restartPolicy: Never,
  containers: [{name: agent, image: "ko://%s", args: [env], env: [{name: RUN_TOKEN, valueFrom: {secretKeyRef: {name: run, key: RUN_TOKEN}}}]}]}}}}`, image))
	n.eventually("the pod says what it waits for", func() bool {
		pods := n.pods()
		return len(pods) == 1 && len(pods[0].Status.ContainerStatuses) == 1 && pods[0].Status.ContainerStatuses[0].State.Waiting != nil &&
			pods[0].Status.ContainerStatuses[0].State.Waiting.Reason == "CreateContainerConfigError"
	})
	n.add(kube.Secrets, "run", `{apiVersion: v1, kind: Secret, metadata: {name: run}, stringData: {RUN_TOKEN: secret-token}}`)
	n.summary()
	log, err := n.controller.Logs("run", n.pods()[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(log); err != nil || !strings.Contains(text.String(), "\nRUN_TOKEN=secret-token\n") {
		t.Errorf("the log holds %q, %v", text.String(), err)
	}
	if shared := n.log.String(); !strings.Contains(shared, "run/"+n.pods()[0].Name+" | RUN_TOKEN=") {
		t.Errorf("the shared log holds %q", shared)
	}
}

func (n *node) remove(policy metav1.DeletionPropagation) {
	n.Helper()
	if _, err := n.store.Delete(kube.Jobs, "run", "agent", metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		n.Fatal(err)
	}
}

func (n *node) awaitRunning() {
	n.eventually("it runs", func() bool { return n.controller.Running() == 1 })
}

func TestDeletingTheJobEndsTheProcess(t *testing.T) {
	n := start(t, "")
	n.run(`[stubborn]`, "backoffLimit: 2")
	n.awaitRunning()
	dir := n.controller.podDir("run", n.pods()[0].Name)
	n.remove(metav1.DeletePropagationBackground)
	n.eventually("the process and its pod are gone", func() bool { return n.controller.Running() == 0 && len(n.pods()) == 0 })
	n.eventually("its directory is gone", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
	n.run(`[exit, "0"]`, "backoffLimit: 2") // the name is free
	n.summary()
}

func TestAnOrphanedPodGoesOnRunning(t *testing.T) {
	n := start(t, "")
	n.run(`[sleep, 1h]`, "backoffLimit: 2")
	n.awaitRunning()
	n.remove(metav1.DeletePropagationOrphan)
	time.Sleep(200 * time.Millisecond)
	if n.controller.Running() != 1 {
		t.Error("the orphan was ended")
	}
	if _, err := n.store.Delete(kube.Namespaces, "", "run", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.eventually("the namespace is gone with it", func() bool {
		_, err := n.store.Get(kube.Namespaces, "", "run")
		return err != nil && n.controller.Running() == 0
	})
}

func TestAKilledOrDeletedPodIsReplaced(t *testing.T) {
	n := start(t, "")
	n.run(`[sleep, 1h]`, "backoffLimit: 5")
	n.awaitRunning()
	first, second := n.pods()[0].Name, ""
	if killed := n.controller.Kill("run"); killed != 1 {
		t.Errorf("%d processes were killed", killed)
	}
	n.eventually("a second pod runs", func() bool {
		for _, p := range n.pods() {
			if p.Name != first && p.Status.Phase == corev1.PodRunning {
				second = p.Name
			}
		}
		return second != ""
	})
	if _, err := n.store.Delete(kube.Pods, "run", second, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.eventually("a third pod runs", func() bool { return n.job().Status.Failed == 2 && n.controller.Running() == 1 })
}

func TestTTL(t *testing.T) {
	n := start(t, "")
	n.run(`[exit, "0"]`, "ttlSecondsAfterFinished: 1")
	n.summary()
	n.eventually("job and pod are gone", func() bool {
		_, err := n.store.Get(kube.Jobs, "run", "agent")
		return err != nil && len(n.pods()) == 0
	})
}

func TestAnActiveJobIsTakenUpAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kube.json")
	first := start(t, file)
	first.run(`[sleep, 1h]`, "backoffLimit: 2")
	first.awaitRunning()
	pid := 0
	first.controller.mu.Lock()
	for _, p := range first.controller.pods {
		pid = p.child.Pid()
	}
	first.controller.mu.Unlock()
	first.controller.Stop()
	first.store.Close()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("the process is there after Stop: %v", err)
	}
	second := start(t, file)
	second.awaitRunning()
	if failed := second.job().Status.Failed; failed != 0 {
		t.Errorf("%d failures are counted", failed)
	}
}
