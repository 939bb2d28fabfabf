//go:build cluster && pressure

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentThatANodeUnderPressureEvictsGoesOn has the agent's own pod take the node's memory until the kubelet evicts
// it. The node has to be one whose kubelet evicts that early: evictionHard's memory.available at most a gigabyte below
// what is free. make test-cluster PRESSURE=1 runs it alone.
func TestAnAgentThatANodeUnderPressureEvictsGoesOn(t *testing.T) {
	repo := it.repo("pressure")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentStays(t, repo)
	const most = 1500 << 20 // of the 2 GiB that the agent may use; it asks for half of them
	if lacking := it.untilEviction(t, pod.Spec.NodeName); lacking > most-300<<20 {
		t.Fatalf("node %s evicts only when %d MB more are used: give it a kubelet with another evictionHard", pod.Spec.NodeName, lacking>>20)
	}
	hog := exec.CommandContext(t.Context(), "kubectl", "-n", pod.Namespace, "exec", pod.Name, "-c", "agent", "--",
		"bash", "-c", fmt.Sprintf("head -c %d /dev/zero | tail", most)) // tail keeps what may be the last line
	begun := time.Now()
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hog.Wait() })
	until(t, 2*time.Minute, func(ctx context.Context) (string, error) {
		p, err := get[corev1.Pod](ctx, it, "v1/pods", pod.Namespace, pod.Name)
		if p.Status.Reason != "Evicted" {
			return fmt.Sprintf("the kubelet to evict the agent, its pod is %s %s %s", p.Status.Phase, p.Status.Reason, p.Status.Message), err
		}
		t.Logf("evicted %s after the memory was taken: %s", time.Since(begun).Round(time.Second), p.Status.Message)
		return "", nil
	})
	it.model.Behave(model.Behaviour{})
	it.finished(t, repo, issue, "succeeded", "")
	it.settled(t)
	it.once(t, repo, issue)
}

// untilEviction is how many bytes more have to be used until the node's kubelet evicts.
func (w *world) untilEviction(t *testing.T, node string) int64 {
	t.Helper()
	read := func(path string, into any) {
		out, err := w.kubectl(t.Context(), "get", "--raw", "/api/v1/nodes/"+node+"/proxy/"+path)
		if err == nil {
			err = json.Unmarshal([]byte(out), into)
		}
		if err != nil {
			t.Fatalf("%s of node %s: %v", path, node, err)
		}
	}
	var config struct {
		KubeletConfig struct {
			EvictionHard map[string]string `json:"evictionHard"`
		} `json:"kubeletconfig"`
	}
	read("configz", &config)
	var stats struct {
		Node struct {
			Memory struct {
				AvailableBytes int64 `json:"availableBytes"`
			} `json:"memory"`
		} `json:"node"`
	}
	read("stats/summary", &stats)
	threshold, err := quantity.ParseQuantity(config.KubeletConfig.EvictionHard["memory.available"])
	if err != nil || strings.HasSuffix(config.KubeletConfig.EvictionHard["memory.available"], "%") {
		t.Fatalf("node %s evicts by %v, want memory.available in bytes", node, config.KubeletConfig.EvictionHard)
	}
	return stats.Node.Memory.AvailableBytes - threshold.Value()
}
