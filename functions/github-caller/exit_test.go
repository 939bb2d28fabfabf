package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// delivered pushes a branch with a pull request, and is the lookup of what its run has left; a stage without files has
// none to be looked for.
func (f *fixture) delivered(branch string, files map[string]string) events.GitHubLookupRequested {
	f.t.Helper()
	must(f.t, f.push(branch, files))
	branches, err := f.github.Branches(repo)
	must(f.t, err)
	p := f.lookup(repo, "", "")
	p.PullRequest, err = f.github.OpenPullRequest(repo, "Work", "", branch, "main", "ann")
	must(f.t, err)
	p.Head, p.Branch, p.Base = branches[branch], branch, f.sha
	return p
}

func (f *fixture) newest() events.GitHubLookedUp {
	f.t.Helper()
	all := f.answers()
	if len(all) == 0 {
		f.t.Fatal("no answer")
	}
	return all[len(all)-1]
}

// What is required, by the branch's protection or by a ruleset, and how it stands.
func TestRequiredChecksAreRead(t *testing.T) {
	f := setup(t)
	p, url := f.delivered(issueBranch, map[string]string{"a.go": "package a\n"}), f.instance()
	for _, c := range []struct {
		name string
		does func() error
		want []events.Check
	}{
		{"none is required", func() error { return f.github.Check(repo, p.Head, "lint", "failure", "") }, nil},
		{"by protection, and ours is not waited for", func() error { return f.github.RequireChecks(repo, "main", "build", "codexk8s/dev") },
			[]events.Check{{Name: "build", State: events.CheckPending}}},
		{"by a ruleset too", func() error { return f.github.RuleChecks(repo, "main", "lint", "build") },
			[]events.Check{{Name: "build", State: events.CheckPending}, {Name: "lint", State: events.CheckFailed, Said: "failure"}}},
		{"at work", func() error { return f.github.Check(repo, p.Head, "build", "", "") },
			[]events.Check{{Name: "build", State: events.CheckPending, Said: "in_progress"}, {Name: "lint", State: events.CheckFailed, Said: "failure"}}},
		{"at an end", func() error { return f.github.Check(repo, p.Head, "build", "timed_out", "It took too long") },
			[]events.Check{{Name: "build", State: events.CheckFailed, Said: "timed_out: It took too long"}, {Name: "lint", State: events.CheckFailed, Said: "failure"}}},
		{"well", func() error {
			must(t, f.github.Check(repo, p.Head, "lint", "skipped", ""))
			return f.github.Check(repo, p.Head, "build", "success", "")
		}, []events.Check{{Name: "build", State: events.CheckPassed, Said: "success"}, {Name: "lint", State: events.CheckPassed, Said: "skipped"}}},
		{"nothing more is", func() error {
			must(t, f.github.RuleChecks(repo, "main"))
			return f.github.RequireChecks(repo, "main")
		}, nil},
	} {
		must(t, c.does())
		f.want(url, c.name, p, 202)
		a := f.newest()
		if diff := cmp.Diff(c.want, a.Checks); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if a.Tip != p.Head || a.Apart || a.Reason != "" {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

// A commit status is a check as well. Where the App may not read check runs, only statuses are waited for.
func TestStatusesAreChecks(t *testing.T) {
	f := setup(t)
	p, url := f.delivered(issueBranch, map[string]string{"a.go": "package a\n"}), f.instance()
	must(t, f.github.RequireChecks(repo, "main", "ci"))
	for state, want := range map[string]events.CheckState{"pending": events.CheckPending, "error": events.CheckFailed, "success": events.CheckPassed} {
		f.want(url, "status "+state, f.change(func(c *events.GitHubChangeRequested) {
			c.Status = &events.CommitStatus{SHA: p.Head, State: state, Context: "ci", Description: "It is so"}
		}), 202)
		f.want(url, "look "+state, p, 202)
		if diff := cmp.Diff([]events.Check{{Name: "ci", State: want, Said: "It is so"}}, f.newest().Checks); diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
	}
	must(t, f.github.RequireChecks(repo, "main", "other"))
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "refusal", Path: "/check-runs"}))
	f.want(url, "hidden", p, 202)
	if a := f.newest(); a.Checks != nil || a.Reason != "" {
		t.Errorf("nobody can say how it stands: %+v", a)
	}
}

// Where the commit stands: at the head of its branch, and upon the commit on which the run was based.
func TestWhereTheCommitStands(t *testing.T) {
	f := setup(t)
	p, url := f.delivered(issueBranch, map[string]string{"a.go": "package a\n"}), f.instance()
	other := f.delivered("codexk8s/issue-1-prd", map[string]string{"b.go": "package b\n"})
	p.Base = other.Head
	f.want(url, "beside", p, 202)
	if a := f.newest(); !a.Apart || a.Tip != p.Head {
		t.Errorf("a commit beside its base: %+v", a)
	}
	p.Base = f.sha
	p.Head = f.sha
	if status, after, _ := f.send(url, "fresh", p); status != 503 || after > 3 {
		t.Errorf("GitHub may not know the push yet: %d, Retry-After %d", status, after)
	}
	f.age = 2 * time.Minute
	f.want(url, "old", p, 202)
	if a := f.newest(); a.Tip == f.sha || a.Tip == "" || a.Apart {
		t.Errorf("somebody has pushed since: %+v", a)
	}
}
