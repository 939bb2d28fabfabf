package store_test

import (
	"cmp"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"codexk8s.dev/shared/stage"
)

// Each branch's pull request is kept, and found by its number. That of the release before is of the stage that reported
// it; of the one that changes code if none has.
func TestPullRequestsAreKept(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.sql.Do(`UPDATE work_items SET pull_request = 7, pull_request_url = 'u', head_sha = 'abc', pull = '{"labels": ["l"]}' WHERE issue = 12`)
	db := w.as("stage-router")
	old := stage.Pull{Branch: "codexk8s/issue-12", Stage: "dev", Number: 7, URL: "u", HeadSHA: "abc", Labels: []string{"l"}}
	prd := stage.Pull{Branch: "codexk8s/issue-12-prd", Stage: "prd", Number: 9, HeadSHA: "def", Base: "codexk8s/issue-12", Superseded: true}
	want := []stage.Pull{old}
	save := func(pulls ...stage.Pull) {
		t.Helper()
		w.load(db, func(i stage.Item) stage.Item {
			if diff := gocmp.Diff(want, i.Pulls, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			i.Pulls = pulls
			return i
		})
		want = pulls
	}
	save(old, prd)
	prd.Closed, old.HeadSHA = true, "123"
	save(old, prd)
	w.sql.Do(`INSERT INTO artefacts (repository, issue, stage, name, value, run_id, made_at) VALUES ('acme/shop', 12, 'intake', 'pull_request', '7', $1, now())`, runA)
	want[0].Stage = "intake"
	save(want...)
	for pull, issue := range map[int]int{7: 12, 9: 12, 8: 0} {
		home, err := db.Home(t.Context(), stage.Subject{Repository: "Acme/Shop", Pull: pull})
		if err != nil || home.Issue != issue {
			t.Errorf("#%d is of issue %d, want %d: %v", pull, home.Issue, issue, err)
		}
	}
}

// An agent works on its run's branch, with the pull request that this has.
func TestARunsBranch(t *testing.T) {
	w := newWorld(t)
	w.run(runA, "running", 12)
	w.sql.Do(`UPDATE work_items SET pull_request = 7, base_branch = 'main' WHERE issue = 12`)
	w.sql.Do(`INSERT INTO pull_requests (repository, issue, branch, stage, number, pull) VALUES ('acme/shop', 12, 'codexk8s/issue-12-prd', 'prd', 9, '{"labels": ["l"]}')`)
	db := w.as("agent-gateway")
	for _, c := range []struct {
		branch, base string
		pull, labels int
		into         string
	}{
		{"", "", 7, 0, "main"}, {"codexk8s/issue-12", "release", 7, 0, "release"},
		{"codexk8s/issue-12-prd", "codexk8s/issue-12", 9, 1, "codexk8s/issue-12"}, {"codexk8s/issue-12-qa", "", 0, 0, "main"},
	} {
		w.sql.Do(`UPDATE runs SET granted = jsonb_strip_nulls(jsonb_build_object('branch', nullif($1, ''))), base = $2`, c.branch, c.base)
		r, err := db.AgentRun(t.Context(), runA)
		if err != nil || r.Branch != cmp.Or(c.branch, "codexk8s/issue-12") || r.PullRequest != c.pull || len(r.PullLabels) != c.labels || r.BaseBranch != c.into {
			t.Errorf("%q: branch %s into %s, pull request %d with %v, %v", c.branch, r.Branch, r.BaseBranch, r.PullRequest, r.PullLabels, err)
		}
	}
}
