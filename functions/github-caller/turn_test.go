package main

import (
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
)

// A pull request is turned to another branch once. What can't be turned stays, and the rest is done all the same.
func TestAPullRequestIsTurned(t *testing.T) {
	f := setup(t)
	must(t, f.push("codexk8s/issue-1-prd", map[string]string{"prd.md": "x"}))
	must(t, f.push(issueBranch, map[string]string{"main.go": "package main\n"}))
	pull, err := f.github.OpenPullRequest(repo, "Work", "", issueBranch, "codexk8s/issue-1-prd", "ann")
	must(t, err)
	url := f.instance()
	turn := func(id, base string, version int64) {
		t.Helper()
		f.want(url, id, f.change(func(p *events.GitHubChangeRequested) { p.PullRequest, p.PullBase, p.Version = pull, base, version }), 202)
	}
	base := func(want string) {
		t.Helper()
		is, err := f.github.Issue(repo, pull)
		must(t, err)
		if is.Pull.Base != want {
			t.Errorf("it goes into %s, want %s", is.Pull.Base, want)
		}
	}
	turn("e-1", "main", 3)
	base("main")
	turn("e-2", "codexk8s/issue-1-prd", 2) // of an older version
	base("main")
	turn("e-3", "not-there", 4)
	base("main")
	turns := slices.DeleteFunc(f.github.Writes(), func(w string) bool { return !strings.Contains(w, "base of") })
	if len(turns) != 1 {
		t.Errorf("turned by %q", turns)
	}
}
