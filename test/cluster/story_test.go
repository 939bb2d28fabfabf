//go:build cluster

package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/local/stack"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestALabelBecomesAPullRequestFromZeroPods plays the whole story twice: with every function at zero, then warm.
func TestALabelBecomesAPullRequestFromZeroPods(t *testing.T) {
	for _, name := range []string{"zero", "warm"} {
		t.Run(name, func(t *testing.T) {
			issue := it.newIssue(t, it.repo(name), stack.IssueTitle, "Add `greetings/french.txt` beside the English one.")
			if name == "zero" {
				it.atZero(t)
			}
			story := stack.Story{GitHub: it.github, DatabaseURL: it.dbURL, Repository: it.repo(name), Issue: issue}
			line := it.timeline(t, story.Repository)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*labelTime, fmt.Errorf("%s are over", 3*labelTime))
			defer cancel()
			end, err := story.Play(ctx, func(format string, args ...any) { line.add(time.Now(), "● "+fmt.Sprintf(format, args...)) })
			line.readDatabase(t, story.Repository, issue)
			t.Logf("timeline from the label, %s:\n%s", name, line)
			if err != nil {
				it.tell(t)
				t.Fatal(err)
			}
			checkEnd(t, end)
			if name == "warm" {
				it.atZero(t)
			}
		})
	}
}

// checkEnd holds what the story promises beyond what Play has checked.
func checkEnd(t *testing.T, end stack.End) {
	t.Helper()
	type run struct {
		Stage, State, Engine string
		Revise, SameThread   bool
	}
	var runs []run
	for _, r := range end.Runs {
		runs = append(runs, run{r.Stage, r.State, r.Engine, r.Revise, r.ThreadID != "" && r.ThreadID == end.Runs[0].ThreadID})
	}
	want := []run{{"dev", "succeeded", "codex", false, true}, {"dev", "succeeded", "codex", true, true}}
	if diff := cmp.Diff(want, runs); diff != "" {
		t.Errorf("the runs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("Bonjour, le monde !\nSalut les amis !\n", end.Greeting); diff != "" {
		t.Errorf("the new file (-want +got):\n%s", diff)
	}
	for _, label := range append(end.Issue.Labels, end.Pull.Labels...) {
		if strings.HasPrefix(label, "run:") {
			t.Errorf("the trigger label %s was left behind", label)
		}
	}
	if len(end.Comments) != 1 || end.Comments[0].User != "codexk8s[bot]" {
		t.Errorf("the comments are %+v, want the App's one status comment", end.Comments)
	}
}

// newIssue opens an issue and waits until its webhook is delivered, so that only what follows wakes the platform.
func (w *world) newIssue(t *testing.T, repo, title, body string) int {
	t.Helper()
	n, err := w.github.CreateIssue(repo, title, body, owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.github.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// timeline watches a repository's runs: what Kubernetes does, when it does it.
func (w *world) timeline(t *testing.T, repo string) *timeline {
	l := &timeline{start: time.Now()}
	seen := func(what string) func(time.Time, string, *unstructured.Unstructured) {
		return func(at time.Time, change string, o *unstructured.Unstructured) {
			if o.GetAnnotations()["codexk8s.dev/repository"] == repo {
				l.once(at, fmt.Sprintf("kubernetes: %s %s", what, stateOf(change, o)))
			}
		}
	}
	w.watch(t, "v1/namespaces", ours, seen("namespace"))
	w.watch(t, "batch/v1/jobs", ours, seen("job"))
	w.watch(t, "v1/pods", ours, seen("agent's pod"))
	first := map[string]bool{}
	w.watch(t, "v1/pods", "serving.knative.dev/service", func(at time.Time, change string, o *unstructured.Unstructured) {
		if strings.HasSuffix(stateOf(change, o), " is ready") && !first[o.GetName()] {
			first[o.GetName()] = true
			l.add(at, "kubernetes: function "+o.GetLabels()["serving.knative.dev/service"]+" is up")
		}
	})
	return l
}

// stateOf says what a person would say of the object.
func stateOf(change string, o *unstructured.Unstructured) string {
	uid := string(o.GetUID())[:8]
	condition := func(kind string) bool {
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == kind && c["status"] == "True" {
				return true
			}
		}
		return false
	}
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	switch {
	case change == "DELETED":
		return uid + " is gone"
	case o.GetKind() != "Pod" && condition("Complete"):
		return uid + " is complete"
	case o.GetKind() != "Pod" && condition("Failed"):
		return uid + " has failed"
	case o.GetKind() != "Pod":
		return uid + " exists"
	case condition("Ready"):
		return uid + " is ready"
	case phase == "Pending" && condition("Initialized") && condition("PodScheduled"):
		return uid + " is scheduled and initialized"
	case phase == "Pending" && condition("PodScheduled"):
		return uid + " is scheduled"
	}
	return uid + " is " + strings.ToLower(phase)
}
