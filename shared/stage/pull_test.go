package stage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhoseABranchIs(t *testing.T) {
	p := Default()
	p.Stages = append(p.Stages, Stage{Name: "qa-2"})
	for branch, want := range map[string]struct {
		issue int
		stage string
	}{
		"codexk8s/issue-12": {12, "dev"}, "codexk8s/issue-12-prd": {12, "prd"}, "codexk8s/issue-12-doc-audit": {12, "doc-audit"},
		"codexk8s/issue-12-prd-2": {12, "prd"}, "codexk8s/issue-12-doc-audit-13": {12, "doc-audit"}, "codexk8s/issue-12-qa-2": {12, "qa-2"},
		"codexk8s/issue-12-gone": {12, "gone"}, "codexk8s/issue-12-gone-x": {12, "gone-x"}, "codexk8s/issue-1234567890": {0, "dev"}, "main": {0, "dev"},
		"x/codexk8s/issue-12": {0, "dev"}, "codexk8s/issue-12-": {0, "dev"},
	} {
		if issue, stage := issueOfBranch(branch), p.OwnerOf(branch); issue != want.issue || stage != want.stage {
			t.Errorf("%s is stage %s of issue %d", branch, stage, issue)
		}
	}
}

// A run goes on with its stage's open pull request. Otherwise it takes a branch of its own, which is no other's: that
// of an earlier release, say, or of what no longer counts.
func TestWhereARunWorks(t *testing.T) {
	const code, prd, dev = "codexk8s/issue-1", "codexk8s/issue-1-prd", "codexk8s/issue-1-dev"
	for _, c := range []struct {
		name, stage string
		pulls       []Pull
		want        string
	}{
		{"documents", "prd", nil, prd},
		{"code", "dev", nil, code},
		{"goes on", "prd", []Pull{{Number: 7, Stage: "prd", Branch: code}}, code},
		{"its own is closed", "prd", []Pull{{Number: 7, Stage: "prd", Branch: code, Closed: true}}, prd},
		{"another stage of the release before has it", "dev", []Pull{{Number: 7, Stage: "prd", Branch: code}}, dev},
		{"which is merged", "dev", []Pull{{Number: 7, Stage: "prd", Branch: code, Closed: true, Merged: true}}, code},
		{"superseded", "prd", []Pull{{Number: 7, Stage: "prd", Branch: prd, Superseded: true}}, prd + "-2"},
		{"and closed", "prd", []Pull{{Number: 7, Stage: "prd", Branch: prd, Superseded: true, Closed: true}, {Number: 8, Stage: "prd", Branch: prd + "-2", Superseded: true}}, prd + "-3"},
		{"code superseded", "dev", []Pull{{Number: 7, Stage: "dev", Branch: code, Superseded: true}}, dev},
	} {
		d := decision{p: Default(), item: Item{Issue: 1, Pulls: c.pulls}}
		if got := d.branchFor(c.stage); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A pull request is turned to where the one went that it stands upon, and no further; also from one to the next.
func TestWhereAPullRequestIsTurned(t *testing.T) {
	first := Pull{Number: 1, Branch: "a", Base: "main", Closed: true}
	second := Pull{Number: 2, Branch: "b", Base: "a", Closed: true}
	open := Pull{Number: 3, Branch: "c", Base: "b"}
	for _, c := range []struct {
		pulls []Pull
		want  string
	}{
		{[]Pull{first, second, open}, "main"},
		{[]Pull{{Number: 1, Branch: "a", Base: "main"}, second, open}, "a"},
		{[]Pull{first, {Number: 2, Branch: "b", Base: "a"}, open}, ""},
		{[]Pull{{Number: 1, Branch: "a", Base: "b", Closed: true}, second, open}, "main"}, // in a circle
	} {
		item := Item{BaseBranch: "main", Pulls: c.pulls}
		if got := item.turned(c.pulls[2]); got != c.want {
			t.Errorf("%+v: turned to %q, want %q", c.pulls, got, c.want)
		}
	}
}

// News of one pull request changes no other.
func TestPullRequestsAreApart(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	item := Item{Repository: "acme/demo", Issue: 1, Process: Default(), Pulls: []Pull{{Number: 2, Stage: "prd", Branch: "codexk8s/issue-1-prd", Labels: []string{"x"}}}}
	in := PullRequestChanged{Action: "opened", Sender: Person{Login: "carol"}, Pull: PullRequest{Number: 3, Branch: "codexk8s/issue-1-qa", State: "open", Base: "main", UpdatedAt: at}}
	next, _, err := Decide(item, in, at)
	want := []Pull{item.Pulls[0], {Number: 3, Stage: "qa", Branch: "codexk8s/issue-1-qa", Base: "main", UpdatedAt: at}}
	if diff := cmp.Diff(want, next.Pulls); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
