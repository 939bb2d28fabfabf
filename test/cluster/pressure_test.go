//go:build cluster && pressure

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentThatANodeUnderPressureEvictsGoesOn has the agent's own pod take the node's memory until the kubelet evicts
// it. The node has to be one whose kubelet evicts that early: evictionHard's memory.available, in bytes, at most a
// gigabyte below what is free, and localStorageCapacityIsolation, without which it counts nothing. The test waits for
// that, as building the images takes memory too. make test-cluster PRESSURE=1 runs it alone.
func TestAnAgentThatANodeUnderPressureEvictsGoesOn(t *testing.T) {
	repo := it.repo("pressure")
	issue := it.newIssue(t, repo, stack.IssueTitle, "")
	it.label(t, repo, issue)
	pod := it.agentStays(t, repo)
	const most = 1500 << 20 // of the 2 GiB that the agent may use; it asks for half of them
	until(t, 2*time.Minute, func(ctx context.Context) (string, error) {
		lacking, err := it.untilEviction(ctx, pod.Spec.NodeName)
		if lacking > most-300<<20 {
			return fmt.Sprintf("a kubelet on node %s that evicts before %d MB more are used", pod.Spec.NodeName, lacking>>20), err
		}
		return "", err
	})
	hog := exec.CommandContext(t.Context(), "kubectl", "-n", pod.Namespace, "exec", pod.Name, "-c", "agent", "--",
		"bash", "-c", fmt.Sprintf("head -c %d /dev/zero | tail | sleep 300", most)) // tail keeps what may be the last line, and nobody reads it
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
func (w *world) untilEviction(ctx context.Context, node string) (int64, error) {
	read := func(path string, into any) error {
		out, err := w.kubectl(ctx, "get", "--raw", "/api/v1/nodes/"+node+"/proxy/"+path)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(out), into)
	}
	var config struct {
		KubeletConfig struct {
			EvictionHard map[string]string `json:"evictionHard"`
		} `json:"kubeletconfig"`
	}
	var stats struct {
		Node struct {
			Memory struct {
				AvailableBytes int64 `json:"availableBytes"`
			} `json:"memory"`
		} `json:"node"`
	}
	if err := errors.Join(read("configz", &config), read("stats/summary", &stats)); err != nil {
		return 0, err
	}
	threshold, err := quantity.ParseQuantity(config.KubeletConfig.EvictionHard["memory.available"])
	return stats.Node.Memory.AvailableBytes - threshold.Value(), err
}
