//go:build cluster && upgrade

package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/stack"
)

// TestARollbackAndAnUpgradeWithAgentsAtWorkLoseAndDoubleNothing deploys the release before this one over it while an
// agent is at work, and then this one again while another is: `make deploy` from the files of TEST_RELEASE (HEAD~1 if
// it is not set), and from this tree. make test-cluster UPGRADE=1 runs it alone. What a migration does to the release
// before is the matter of make test-upgrade: a rollback leaves the schema as it is.
func TestARollbackAndAnUpgradeWithAgentsAtWorkLoseAndDoubleNothing(t *testing.T) {
	before := it.releaseBefore(t)
	begun := time.Now()
	repo := it.repo("upgraded")
	deployments := []struct {
		name    string
		release *world
	}{{"the release before", before}, {"this release", it}}
	var issues []int
	for _, d := range deployments {
		issue := it.newIssue(t, repo, stack.IssueTitle+" "+d.name, "")
		issues = append(issues, issue)
		it.label(t, repo, issue)
		it.agentRuns(t, repo)
		it.model.Behave(model.Behaviour{Mode: model.Slow, Delay: 3 * time.Second}) // at work until the functions are replaced
		started := time.Now()
		if err := errors.Join(d.release.deploy(t.Context()), d.release.ready(t.Context())); err != nil {
			it.tell(t)
			t.Fatalf("deploying %s: %v", d.name, err)
		}
		var state string
		if err := it.db.QueryRow(t.Context(), `SELECT state FROM runs WHERE repository = $1 AND issue = $2`, repo, issue).Scan(&state); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s was deployed in %s; the run is %s", d.name, time.Since(started).Round(time.Second), state)
		it.model.Behave(model.Behaviour{})
		it.finished(t, repo, issue, "succeeded", "")
		// And one from its label to its end.
		whole := it.newIssue(t, repo, "A page by "+d.name, "")
		issues = append(issues, whole)
		it.label(t, repo, whole)
		it.finished(t, repo, whole, "succeeded", "")
	}
	it.settled(t)
	it.noDeadLetters(t, begun)
	if pulls := it.github.PullRequests(repo); len(pulls) != len(issues) {
		t.Errorf("there are %d pull requests for %d issues", len(pulls), len(issues))
	}
	for _, issue := range issues {
		if comments := it.github.Comments(repo, issue); len(comments) != 1 {
			t.Errorf("issue %d has %d comments, want one", issue, len(comments))
		}
	}
}

// releaseBefore is the same deployment from the files of another revision.
func (w *world) releaseBefore(t *testing.T) *world {
	t.Helper()
	revision := os.Getenv("TEST_RELEASE")
	if revision == "" {
		revision = "HEAD~1"
	}
	files := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "bash", "-c", `set -o pipefail; git archive --format=tar "$1" | tar -x -C "$2"`, "bash", revision, files)
	unpack.Dir = w.root
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("there are no files of %s here: %v: %s (in a shallow clone: git fetch --deepen=1, or set TEST_RELEASE)", revision, err, out)
	}
	// What was built once for a cluster and is no part of the repository.
	for _, name := range []string{"agent-base", "postgres"} {
		content, err := os.ReadFile(filepath.Join(w.root, ".bin", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Join(files, ".bin"), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(files, ".bin", name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	other := *w
	other.root, other.state = files, t.TempDir()
	return &other
}
