//go:build cluster

package cluster

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestAJobFollowsItsLabelQuickly measures 100 issues one after the other, with the functions warm: from the label to
// the moment when a watch reports the Job. Each run is aborted then; what its agent does is another test's.
func TestAJobFollowsItsLabelQuickly(t *testing.T) {
	const issues, warmUp = 100, 3
	var repos []string // one of them has no storm
	for n := range 5 {
		repos = append(repos, it.repo(fmt.Sprintf("latency-%d", n)))
	}
	jobs := make(chan int, issues)
	var labelled time.Time
	took := make(chan time.Duration, issues)
	it.watch(t, "batch/v1/jobs", ours, func(at time.Time, change string, o *unstructured.Unstructured) {
		if change == "ADDED" && slices.Contains(repos, o.GetAnnotations()["codexk8s.dev/repository"]) {
			took <- at.Sub(labelled)
			jobs <- 1
		}
	})
	var all []time.Duration
	for n := range issues + warmUp {
		repo := repos[n%len(repos)]
		issue := it.newIssue(t, repo, fmt.Sprintf("Wish %d", n), "")
		it.settled(t)
		if n == issues/2 {
			t.Logf("at work, one run at a time:\n%s", it.memory(t))
		}
		labelled = time.Now()
		it.label(t, repo, issue)
		select {
		case <-jobs:
		case <-time.After(time.Minute):
			it.tell(t)
			t.Fatalf("issue %d has no Job after a minute", issue)
		}
		if d := <-took; n >= warmUp {
			all = append(all, d)
		}
		if err := it.github.AddLabel(repo, issue, "run:abort", owner); err != nil {
			t.Fatal(err)
		}
		it.finished(t, repo, issue, "cancelled", "aborted")
	}
	slices.Sort(all)
	at := func(p int) time.Duration { return all[(len(all)-1)*p/100].Round(time.Millisecond) }
	t.Logf("label → Job over %d issues: p50 %s, p90 %s, p99 %s, max %s", len(all), at(50), at(90), at(99), at(100))
	if at(50) > 5*time.Second {
		t.Errorf("half of the Jobs took longer than %s", at(50))
	}
}

// TestAnIdlePlatformHoldsNoFunction measures what stays when nobody works, and what one story took.
func TestAnIdlePlatformHoldsNoFunction(t *testing.T) {
	it.atZero(t)
	t.Logf("idle:\n%s", it.memory(t))
	for _, line := range it.images(t) {
		t.Log(line)
	}
}

// memory is the working set of the platform's pods and of each namespace, as the kubelets count it; those of a small
// test cluster may not count, and say 0.
func (w *world) memory(t *testing.T) string {
	t.Helper()
	pods, spaces := map[string]float64{}, map[string]float64{}
	for _, n := range mustList[corev1.Node](t, w, "v1/nodes", "", "") {
		metrics, err := w.kubectl(t.Context(), "get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/metrics/resource")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range podMemory.FindAllStringSubmatch(metrics, -1) {
			bytes, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				t.Fatal(err)
			}
			spaces[m[1]] += bytes
			if m[1] == namespace {
				pods[m[2]] += bytes
			}
		}
	}
	var b strings.Builder
	for _, all := range []map[string]float64{pods, spaces} {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&b, "%8.1f MB  %s\n", all[name]/1e6, name)
		}
	}
	return b.String()
}

var podMemory = regexp.MustCompile(`pod_memory_working_set_bytes\{namespace="([^"]*)",pod="([^"]*)"\} (\S+)`)

// images lists the platform's images with their compressed sizes, as the nodes have pulled them.
func (w *world) images(t *testing.T) []string {
	t.Helper()
	sizes := map[string]int64{}
	for _, n := range mustList[corev1.Node](t, w, "v1/nodes", "", "") {
		for _, i := range n.Status.Images {
			for _, function := range []string{"webhook-adapter", "stage-router", "agent-launcher", "run-observer", "agent-gateway", "llm-caller",
				"github-caller", "timekeeper", "migrate", "agent-runner", "postgres"} {
				if strings.Contains(i.Names[0], "/"+function) {
					sizes[function] = max(sizes[function], i.SizeBytes)
				}
			}
		}
	}
	var lines []string
	for name, size := range sizes {
		lines = append(lines, fmt.Sprintf("image %-16s %6.1f MB", name, float64(size)/1e6))
	}
	slices.Sort(lines)
	return lines
}
