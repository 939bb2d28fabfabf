//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/test/cluster/agentsandbox"
	"codexk8s.dev/test/local/stack"
)

// installSandboxes does what config/README.md asks of an operator before OVERLAY=agent-sandbox: its definition and its
// controller, built from their module. On a cluster that has Sandboxes nothing is done.
func (w *world) installSandboxes(ctx context.Context) error {
	there, err := w.kubectl(ctx, "get", "crd", "sandboxes.agents.x-k8s.io", "--ignore-not-found", "-o", "name")
	if err != nil || there != "" {
		return err
	}
	dir, err := agentsandbox.Fetch(ctx)
	if err != nil {
		return err
	}
	if _, err := w.kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(dir, agentsandbox.Definition), "-f", filepath.Join(dir, agentsandbox.Rights)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ko", append([]string{"apply", "-f", agentsandbox.Controller}, strings.Fields(os.Getenv("KO_FLAGS"))...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ko apply: %w: %s", err, out)
	}
	w.stop = append(w.stop, func() { w.removeSandboxes(dir) })
	_, err = w.kubectl(ctx, "-n", "agent-sandbox-system", "wait", "--for=condition=Available", "deployment", "--all", "--timeout=3m")
	return err
}

func (w *world) removeSandboxes(dir string) {
	if os.Getenv("KEEP") != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, file := range []string{agentsandbox.Controller, agentsandbox.Definition, agentsandbox.Rights} {
		if _, err := w.kubectl(ctx, "delete", "--ignore-not-found", "-f", filepath.Join(dir, file)); err != nil {
			fmt.Fprintln(os.Stderr, "removing agent-sandbox:", err)
		}
	}
}

// TestAnAgentWorksInASandboxInPlaceOfAJob plays the whole story in a project that wants Sandboxes, and then one in
// which somebody deletes the Sandbox: the platform hears of that at once, not by a check.
func TestAnAgentWorksInASandboxInPlaceOfAJob(t *testing.T) {
	repo := it.repo("sandbox")
	issue := it.newIssue(t, repo, stack.IssueTitle, "Add `greetings/french.txt` beside the English one.")
	story := stack.Story{GitHub: it.github, DatabaseURL: it.dbURL, Repository: repo, Issue: issue}
	line := it.timeline(t, repo)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 3*labelTime, fmt.Errorf("%s are over", 3*labelTime))
	defer cancel()
	end, err := story.Play(ctx, func(format string, args ...any) { line.add(time.Now(), "● "+fmt.Sprintf(format, args...)) })
	line.readDatabase(t, repo, issue)
	t.Logf("timeline from the label, in a Sandbox:\n%s", line)
	if err != nil {
		it.tell(t)
		t.Fatal(err)
	}
	checkEnd(t, end)
	var in string
	if err := it.db.QueryRow(t.Context(), `SELECT DISTINCT namespace FROM runs WHERE repository = $1`, repo).Scan(&in); err != nil {
		t.Fatal(err)
	}
	if jobs := mustList[batchv1.Job](t, it, "batch/v1/jobs", in, ""); len(jobs) > 0 {
		t.Errorf("there are %d Jobs besides", len(jobs))
	}
	sandboxes := it.api.Resource(gvr.Sandboxes("v1beta1"))
	if all, err := sandboxes.Namespace(in).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	} else if len(all.Items) != 1 {
		t.Errorf("there are %d Sandboxes, want that of the last run", len(all.Items))
	}

	issue = it.newIssue(t, repo, stack.IssueTitle+" too", "")
	it.label(t, repo, issue)
	pod := it.agentStays(t, repo)
	if err := sandboxes.Namespace(pod.Namespace).Delete(t.Context(), agentpod.JobName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	it.finished(t, repo, issue, "failed", "job_deleted")
}
