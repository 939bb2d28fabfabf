package pod

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func cluster() *Cluster {
	return &Cluster{
		Secret: func(namespace, name string) (map[string][]byte, bool) {
			data, ok := map[string]map[string][]byte{"codexk8s/run": {"RUN_TOKEN": []byte("secret")}}[namespace+"/"+name]
			return data, ok
		},
		ConfigMap: func(namespace, name string) (map[string]string, bool) {
			data, ok := map[string]map[string]string{"codexk8s/settings": {"COLOUR": "blue", "process.yaml": "stages"}}[namespace+"/"+name]
			return data, ok
		},
		Binaries:  map[string]string{"ko://codexk8s.dev/functions/agent-runner": "/bin/agent-runner"},
		Addresses: map[string]string{"agent-gateway.codexk8s": "127.0.0.1:4001"},
	}
}

const agent = `
volumes:
  - name: work
    emptyDir: {}
  - name: settings
    configMap: {name: settings, items: [{key: process.yaml, path: process.yaml}]}
containers:
  - name: agent
    image: ko://codexk8s.dev/functions/agent-runner
    args: ["--run", "$(RUN_ID)", "/scratch/in"]
    envFrom:
      - configMapRef: {name: settings}
        prefix: SET_
      - secretRef: {name: absent, optional: true}
    env:
      - {name: RUN_ID, value: r-1}
      - name: RUN_TOKEN
        valueFrom: {secretKeyRef: {name: run, key: RUN_TOKEN}}
      - name: NOTHING
        valueFrom: {secretKeyRef: {name: run, key: nothing, optional: true}}
      - name: NAMESPACE
        valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
      - {name: AGENT_GATEWAY_URL, value: "https://agent-gateway.codexk8s.svc.cluster.local:8443/v1"}
      - {name: TARGET, value: "agent-gateway.codexk8s.svc:80"}
      - {name: OTHER, value: "http://grafana.monitoring.svc.cluster.local"}
      - {name: NOTE, value: "$(RUN_ID) costs $$5, $(UNKNOWN)"}
      - {name: HOME, value: /scratch/home}
      - {name: PROCESS, value: /etc/codexk8s/process.yaml}
    volumeMounts:
      - {name: work, mountPath: /scratch}
      - {name: settings, mountPath: /etc/codexk8s}
`

func spec(t *testing.T, document string) *corev1.PodSpec {
	t.Helper()
	var s corev1.PodSpec
	if err := yaml.UnmarshalStrict([]byte(document), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestCommandIsTheContainerOnThisMachine(t *testing.T) {
	dir := t.TempDir()
	s := spec(t, agent)
	cmd, err := cluster().Command(dir, Identity{Namespace: "codexk8s", Name: "agent-x"}, s, &s.Containers[0], map[string]string{"PORT": "1"})
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(dir, "volumes", "work")
	if diff := cmp.Diff([]string{"/bin/agent-runner", "--run", "r-1", work + "/in"}, cmd.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	env := slices.DeleteFunc(cmd.Env, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(Inherited, name)
	})
	want := []string{
		"AGENT_GATEWAY_URL=http://127.0.0.1:4001/v1",
		"HOME=" + work + "/home",
		"NAMESPACE=codexk8s",
		"NOTE=r-1 costs $5, $(UNKNOWN)",
		"OTHER=http://grafana.monitoring.svc.cluster.local",
		"PORT=1",
		"PROCESS=" + filepath.Join(dir, "volumes", "settings", "process.yaml"),
		"RUN_ID=r-1",
		"RUN_TOKEN=secret",
		"SET_COLOUR=blue",
		"SET_process.yaml=stages",
		"TARGET=127.0.0.1:4001",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	content, err := os.ReadFile(filepath.Join(dir, "volumes", "settings", "process.yaml"))
	if err != nil || string(content) != "stages" {
		t.Errorf("the mounted file holds %q, %v", content, err)
	}
}

func TestCommandSaysWhatIsMissing(t *testing.T) {
	for _, test := range []struct {
		name, document, want string
		missing              bool
	}{
		{"secret", `{containers: [{name: a, image: "ko://codexk8s.dev/functions/agent-runner", env: [{name: A, valueFrom: {secretKeyRef: {name: none, key: k}}}]}]}`,
			"container a: env A: secret none in namespace codexk8s: not found", true},
		{"key", `{containers: [{name: a, image: "ko://codexk8s.dev/functions/agent-runner", env: [{name: A, valueFrom: {secretKeyRef: {name: run, key: k}}}]}]}`,
			"container a: env A: key k of secret run in namespace codexk8s: not found", true},
		{"image", `{containers: [{name: a, image: "nginx"}]}`,
			`container a: there is no program for image "nginx"; images here are ko://<import path> of a built one`, false},
		{"volume", `{containers: [{name: a, image: "ko://codexk8s.dev/functions/agent-runner", volumeMounts: [{name: v, mountPath: /v}]}]}`,
			"container a: mount /v: the pod has no volume v", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spec(t, test.document)
			_, err := cluster().Command(t.TempDir(), Identity{Namespace: "codexk8s"}, s, &s.Containers[0], nil)
			if err == nil || err.Error() != test.want || errors.Is(err, ErrMissing) != test.missing {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}
