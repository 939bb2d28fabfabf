//go:build cluster

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/test/fakes/model"
	"github.com/jackc/pgx/v5/pgxpool"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// overlays are the shipped ones, besides which the test's own is deployed.
const overlays = "try try-volume full-env agent-sandbox"

// prepareNamespace does what config/README.md asks of an operator before make deploy: namespace, Secrets, projects.
// What a kept deployment has already stays.
func (w *world) prepareNamespace(ctx context.Context) error {
	if _, err := w.kubectl(ctx, "apply", "-f", filepath.Join(w.root, "config", "100-namespace.yaml")); err != nil {
		return err
	}
	before, err := get[corev1.Secret](ctx, w, "v1/secrets", namespace, "codexk8s-github")
	if err != nil {
		return err
	}
	if w.secret = string(before.Data["webhook-secrets"]); w.secret == "" {
		w.secret = random(16)
	}
	secrets := map[string]map[string]string{
		"codexk8s-openai": {"api-key": model.DefaultKey},
		"codexk8s-chat":   w.chatSecret(),
		"codexk8s-github": {
			"webhook-secrets": w.secret,
			"app-id":          strconv.FormatInt(w.github.AppID(), 10), "app-private-key": string(w.github.AppPrivateKey()),
		},
	}
	var all []string
	for name, values := range secrets {
		all = append(all, toYAML(corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, StringData: values,
		}))
	}
	projects := toYAML(map[string]any{"owners": []string{owner}, "projects": w.projects()})
	all = append(all, toYAML(corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: "codexk8s-projects", Namespace: namespace}, Data: map[string]string{"projects.yaml": projects},
	}))
	_, err = w.kubectlWith(ctx, strings.Join(all, "\n---\n"), "apply", "-f", "-")
	return errors.Join(err, w.prepareVolume(ctx), w.prepareNodes(ctx), w.prepareKnative(ctx))
}

// roomFor is how many CPUs a cluster needs for Knative, the functions and a few agents as they ask for them.
const roomFor = 4

// prepareKnative lets Knative ask for less on a small cluster: there its own requests leave no room for an agent and
// the functions beside it, and pods wait for each other.
func (w *world) prepareKnative(ctx context.Context) error {
	nodes, err := list[corev1.Node](ctx, w, "v1/nodes", "", "")
	if err != nil {
		return err
	}
	cpus := int64(0)
	for _, n := range nodes {
		cpus += n.Status.Allocatable.Cpu().Value()
	}
	if cpus >= roomFor {
		return nil
	}
	for _, in := range []string{"knative-serving", "knative-eventing"} {
		if _, err := w.kubectl(ctx, "-n", in, "set", "resources", "deployment", "--all", "--requests=cpu=10m"); err != nil {
			return err
		}
		if _, err := w.kubectl(ctx, "-n", in, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=3m"); err != nil {
			return err
		}
	}
	return nil
}

// prepareNodes lets nodes whose kubelet doesn't count disk space say that they have some: an agent's pod asks for it,
// and would wait for ever. Every kubelet counts by default, that of a small test cluster may not.
func (w *world) prepareNodes(ctx context.Context) error {
	nodes, err := list[corev1.Node](ctx, w, "v1/nodes", "", "")
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if !n.Status.Capacity.StorageEphemeral().IsZero() {
			continue
		}
		const disk = `{"status":{"capacity":{"ephemeral-storage":"50Gi"},"allocatable":{"ephemeral-storage":"50Gi"}}}`
		if _, err := w.kubectl(ctx, "patch", "node", n.Name, "--subresource=status", "--type=merge", "-p", disk); err != nil {
			return err
		}
	}
	return nil
}

// prepareVolume makes a volume for Postgres on a cluster that has no storage class: a folder of this machine, which
// then has to be the node.
func (w *world) prepareVolume(ctx context.Context) error {
	classes, err := w.kubectl(ctx, "get", "storageclass", "-o", "name")
	if err != nil || classes != "" {
		return err
	}
	dir := w.volumeDir()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // the umask took what the container's user needs
		return err
	}
	volume := map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": volumeName},
		"spec": map[string]any{
			"capacity": map[string]string{"storage": "20Gi"}, "accessModes": []string{"ReadWriteOnce"},
			"persistentVolumeReclaimPolicy": "Retain", "hostPath": map[string]string{"path": dir},
			"claimRef": map[string]string{"namespace": namespace, "name": "data-postgres-0"},
		},
	}
	_, err = w.kubectlWith(ctx, toYAML(volume), "apply", "-f", "-")
	return err
}

const volumeName = "codexk8s-test-postgres"

func (w *world) volumeDir() string { return filepath.Join(w.state, "postgres") }

// removeLeftovers takes away what an earlier start left that was interrupted: its volume leads to a folder that is gone
// or not ours, and can't be changed. A deployment that this start goes on with (KEEP) has our folder, and stays.
func (w *world) removeLeftovers(ctx context.Context) error {
	volume, err := get[corev1.PersistentVolume](ctx, w, "v1/persistentvolumes", "", volumeName)
	if err != nil {
		return err
	}
	if host := volume.Spec.HostPath; volume.Name == "" || host != nil && host.Path == w.volumeDir() {
		return nil
	}
	return w.undeploy()
}

// deploy is make deploy with one component more, which says where the world outside is.
func (w *world) deploy(ctx context.Context) error {
	component, err := w.component()
	if err != nil {
		return err
	}
	dir := filepath.Join(w.state, "overlay")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "Kustomization"), []byte(component), 0o644); err != nil {
		return err
	}
	w.overlay = dir
	return w.run(ctx, "make", "deploy", "OVERLAY="+overlays+" "+w.overlay)
}

// component is the test's part of the kustomization: addresses, the ports that policies open for them, and a tick every
// minute, so that a test need not wait five for what timekeeper mends.
func (w *world) component() (string, error) {
	host, err := netip.ParseAddr(w.hostIP)
	if err != nil {
		return "", fmt.Errorf("TEST_HOST_IP: %w", err)
	}
	outside := netip.PrefixFrom(host, host.BitLen()).String()
	github, err := url.Parse(w.github.URL())
	if err != nil {
		return "", err
	}
	values := map[string]map[string]string{
		"llm-caller":     {"OPENAI_BASE_URL": "http://" + w.address(modelPort) + "/v1"},
		"agent-launcher": {"GIT_CIDRS": outside, "GIT_PORTS": github.Port()},
	}
	if peers := os.Getenv("TEST_GATEWAY_PEERS"); peers != "" {
		values["agent-launcher"]["GATEWAY_PEERS"] = peers
	}
	type patch struct {
		Target map[string]string `json:"target"`
		Patch  string            `json:"patch"`
	}
	replace := func(path string, value any) map[string]any {
		return map[string]any{"op": "replace", "path": path, "value": value}
	}
	patches := []patch{
		{map[string]string{"kind": "ConfigMap", "name": "codexk8s-settings"},
			toYAML([]any{
				replace("/data/github-api-url", strings.TrimSuffix(w.github.APIURL(), "/")),
				replace("/data/telegram-chat", telegramChat), replace("/data/slack-channel", slackChannel),
			})},
		{map[string]string{"kind": "PingSource", "name": "tick"}, toYAML([]any{replace("/spec/schedule", "* * * * *")})},
		{map[string]string{"kind": "NetworkPolicy", "name": "egress-https"}, toYAML([]any{map[string]any{
			"op": "add", "path": "/spec/egress/-", "value": map[string]any{"to": []any{map[string]any{"ipBlock": map[string]string{"cidr": outside}}}},
		}})},
	}
	for name, env := range values {
		changes, err := w.environment(name, env)
		if err != nil {
			return "", err
		}
		patches = append(patches, patch{map[string]string{"group": "serving.knative.dev", "kind": "Service", "name": name}, toYAML(changes)})
	}
	for _, name := range []string{"approval-notifier", "approval-callback"} {
		patches = append(patches, patch{map[string]string{"group": "serving.knative.dev", "kind": "Service", "name": name}, toYAML(w.toChats())})
	}
	return toYAML(map[string]any{"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "patches": patches}), nil
}

// environment is the JSON patch that gives a function's variables other values. It goes by index, so that of each
// variable is looked up in the manifest, and tested for when it is applied.
func (w *world) environment(function string, values map[string]string) (changes []any, err error) {
	data, err := os.ReadFile(filepath.Join(w.root, "config", "300-"+function+".yaml"))
	if err != nil {
		return nil, err
	}
	s := &servingv1.Service{}
	if err := yaml.Unmarshal(data, s); err != nil {
		return nil, err
	}
	for key, value := range values {
		i := slices.IndexFunc(s.Spec.Template.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == key })
		if i < 0 {
			return nil, fmt.Errorf("service %s has no variable %s", function, key)
		}
		path := fmt.Sprintf("/spec/template/spec/containers/0/env/%d", i)
		changes = append(changes,
			map[string]any{"op": "test", "path": path + "/name", "value": key},
			map[string]any{"op": "replace", "path": path, "value": map[string]string{"name": key, "value": value}})
	}
	return changes, nil
}

// ready waits until the schema is there and every function runs its newest revision, its sink included.
func (w *world) ready(ctx context.Context) error {
	err := wait(ctx, func() (string, error) {
		job, err := get[batchv1.Job](ctx, w, "batch/v1/jobs", namespace, "migrate")
		if err != nil || job.Status.Succeeded == 0 {
			return "the Job migrate", err
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	if err := w.servicesReady(ctx); err != nil {
		return err
	}
	_, err = w.kubectl(ctx, "-n", namespace, "wait", "--for=condition=Ready", "--all", "--timeout=3m",
		"broker,trigger,sinkbinding,apiserversource,pingsource")
	if err != nil {
		return err
	}
	return w.servicesReady(ctx) // the SinkBindings have made new revisions
}

func (w *world) servicesReady(ctx context.Context) error {
	return wait(ctx, func() (string, error) {
		services, err := list[servingv1.Service](ctx, w, "serving.knative.dev/v1/services", namespace, "")
		if err != nil || len(services) == 0 {
			return "Knative Services", err
		}
		for _, s := range services {
			if s.Generation != s.Status.ObservedGeneration || !s.IsReady() || s.Status.LatestCreatedRevisionName != s.Status.LatestReadyRevisionName {
				return fmt.Sprintf("service %s: %v", s.Name, s.Status.Conditions), nil
			}
		}
		return "", nil
	})
}

// openDatabase forwards a port to Postgres, again whenever the way breaks: its pod is restarted by tests.
func (w *world) openDatabase(ctx context.Context) error {
	secret, err := get[corev1.Secret](ctx, w, "v1/secrets", namespace, "codexk8s-database")
	if err != nil {
		return err
	}
	at, err := url.Parse(string(secret.Data["url"]))
	if err != nil {
		return err
	}
	const port = 18182
	forward, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for forward.Err() == nil {
			cmd := exec.CommandContext(forward, "kubectl", "-n", namespace, "port-forward", "pod/postgres-0", fmt.Sprintf("%d:5432", port))
			_ = cmd.Run() // ends with the pod
			time.Sleep(200 * time.Millisecond)
		}
	}()
	w.stop = append(w.stop, func() { stop(); <-done })
	at.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	w.dbURL = at.String()
	if w.db, err = pgxpool.New(ctx, w.dbURL); err != nil {
		return err
	}
	w.stop = append(w.stop, w.db.Close)
	return wait(ctx, func() (string, error) {
		return "", w.db.Ping(ctx)
	})
}

// undeploy takes everything away and says what is left.
func (w *world) undeploy() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	err := w.run(ctx, "make", "undeploy", "OVERLAY="+overlays+" "+w.overlay)
	_, volume := w.kubectl(ctx, "delete", "persistentvolume", volumeName, "--ignore-not-found")
	return errors.Join(err, volume)
}
