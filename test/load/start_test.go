package load

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/manifest"
	"codexk8s.dev/test/local/pod"
)

// BenchmarkStart starts each function from zero, built as ko builds it and with the environment of its manifest, and
// asks it until it is ready. No function dials anything before that. It reports
//
//	p50-ms, p99-ms  from exec to the first 200 of the readiness probe
//	rss-MB          resident memory by then, the largest seen
//	own-MB          that of it which is not the program's file: the kernel can drop and share the rest
//	binary-MB       size of the program
func BenchmarkStart(b *testing.B) {
	services, err := functions()
	if err != nil {
		b.Fatal(err)
	}
	var images []string
	for _, s := range services {
		images = append(images, s.Spec.Template.Spec.Containers[0].Image)
	}
	all, err := binaries(images...)
	if err != nil {
		b.Fatal(err)
	}
	cluster := standIn(b, services, all)
	for _, s := range services {
		b.Run(s.Name, func(b *testing.B) { benchmarkStart(b, cluster, s) })
	}
}

func benchmarkStart(b *testing.B, cluster *pod.Cluster, service *servingv1.Service) {
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(noCluster), 0o600); err != nil {
		b.Fatal(err)
	}
	extra := map[string]string{"KUBECONFIG": kubeconfig, "K_SINK": "http://127.0.0.1:1/", "CALLBACK_URL": "https://callback.example.com"}
	var took []time.Duration
	var rss, own float64
	startOnce(b, cluster, service, extra) // the program's file is in memory from then on
	for b.Loop() {
		d, m := startOnce(b, cluster, service, extra)
		took, rss, own = append(took, d), max(rss, m.resident), max(own, m.own)
	}
	file, err := os.Stat(cluster.Binaries[service.Spec.Template.Spec.Containers[0].Image])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // with the killing, which says nothing
	b.ReportMetric(quantile(took, 0.50), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	b.ReportMetric(rss, "rss-MB")
	b.ReportMetric(own, "own-MB")
	b.ReportMetric(float64(file.Size())/1e6, "binary-MB")
}

// startOnce returns the time to readiness and the memory at that moment.
func startOnce(b *testing.B, cluster *pod.Cluster, service *servingv1.Service, extra map[string]string) (time.Duration, memory) {
	b.Helper()
	spec := &service.Spec.Template.Spec
	port, err := child.FreePort()
	if err != nil {
		b.Fatal(err)
	}
	cmd, err := cluster.Command(b.TempDir(), pod.Identity{Namespace: service.Namespace, Name: service.Name}, &spec.PodSpec, &spec.Containers[0], extra)
	if err != nil {
		b.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(cmd.Env, "PORT="+strconv.Itoa(port))
	url := fmt.Sprintf("http://127.0.0.1:%d%s", port, spec.Containers[0].ReadinessProbe.HTTPGet.Path)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for time.Since(begin) < 10*time.Second {
		resp, err := client.Get(url)
		if err == nil {
			took := time.Since(begin)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return took, memoryOf(b, cmd.Process.Pid)
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b.Fatalf("%s did not become ready:\n%s", service.Name, said.String())
	return 0, memory{}
}

// memory is in MB: what is resident of a process, and what of that is not its program's file.
type memory struct{ resident, own float64 }

// memoryOf reads Linux's /proc; elsewhere it is nothing.
func memoryOf(b *testing.B, pid int) (m memory) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		return m
	}
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		of := map[string]*float64{"VmRSS": &m.resident, "RssAnon": &m.own}[name]
		if of == nil {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
		if err != nil {
			b.Fatal(err)
		}
		*of = kb * 1024 / 1e6
	}
	return m
}

// standIn is a cluster in which every key that the Services need is there: in ConfigMaps those of the manifests, in
// Secrets some text of sufficient length. Of the credentials for GitHub they get the token.
func standIn(b *testing.B, services []*servingv1.Service, programs map[string]string) *pod.Cluster {
	b.Helper()
	set, err := manifest.Load(filepath.Join(root, "config"))
	if err != nil {
		b.Fatal(err)
	}
	configMaps := map[string]map[string]string{}
	for _, c := range set.ConfigMaps {
		configMaps[c.Name] = c.Data
	}
	secrets := map[string]map[string][]byte{}
	needed := func(ref *corev1.SecretKeySelector) {
		if ref == nil || strings.HasPrefix(ref.Key, "app-") {
			return
		}
		if secrets[ref.Name] == nil {
			secrets[ref.Name] = map[string][]byte{}
		}
		text := strings.Repeat("s", 64)
		switch ref.Key {
		case "url":
			text = "postgres://nobody:nothing@127.0.0.1:1/none"
		case "approvers":
			text = "desk https://desk.example.com"
		}
		secrets[ref.Name][ref.Key] = []byte(text)
	}
	for _, s := range services {
		for _, e := range s.Spec.Template.Spec.Containers[0].Env {
			if e.ValueFrom != nil {
				needed(e.ValueFrom.SecretKeyRef)
			}
		}
	}
	return &pod.Cluster{
		Secret:    func(_, name string) (map[string][]byte, bool) { data, ok := secrets[name]; return data, ok },
		ConfigMap: func(_, name string) (map[string]string, bool) { data, ok := configMaps[name]; return data, ok },
		Binaries:  programs, Addresses: map[string]string{},
	}
}

const noCluster = `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {token: none}}]
contexts: [{name: none, context: {cluster: none, user: nobody}}]
current-context: none
`
