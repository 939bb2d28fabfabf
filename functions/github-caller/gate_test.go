package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

const issueBranch = "codexk8s/issue-1"

// gate asks for files in those places.
func (f *fixture) gate(in []string, files ...string) events.GitHubLookupRequested {
	p := f.lookup(repo, "", "")
	p.Files, p.In = files, in
	return p
}

// Before a run begins: which files are there, on the issue's branch or on the base branch.
func TestFilesAreLookedFor(t *testing.T) {
	f := setup(t)
	many := map[string]string{"docs/work/1/brief.md": "# Brief\n\nSearch.\n", "docs/work/1/empty.md": ""}
	for n := range listedAtMost {
		many[fmt.Sprintf("many/a%04d.md", n)] = "x"
	}
	many["many/z.md"] = "last"
	must(t, f.push(issueBranch, many))
	url, both := f.instance(), []string{issueBranch, "main"}
	for _, c := range []struct {
		name  string
		in    []string
		files []string
		want  []string
	}{
		{"there, in the root, nowhere, empty, a folder", both, []string{"docs/work/1/brief.md", "README.md", "docs/work/1/prd.md", "docs/work/1/empty.md", "docs/work"},
			[]string{issueBranch + " 17", issueBranch + " 3", "- 0", issueBranch + " 0", "- 0"}},
		{"most in the second place", []string{"main", issueBranch}, []string{"README.md", "docs/work/1/brief.md"}, []string{issueBranch + " 3", issueBranch + " 17"}},
		{"as many in the first place", []string{"main", issueBranch}, []string{"README.md"}, []string{"main 3"}},
		{"no branch yet", []string{"codexk8s/issue-9", "main"}, []string{"README.md", "docs/work/1/brief.md"}, []string{"main 3", "- 0"}},
		{"a commit", []string{f.sha}, []string{"README.md"}, []string{f.sha + " 3"}},
		{"more than GitHub lists", both, []string{"many/z.md", "many/a0001.md", "many/none.md"}, []string{issueBranch + " 4", issueBranch + " 1", "- 0"}},
	} {
		f.want(url, c.name, f.gate(c.in, c.files...), 202)
		all := f.answers()
		var got []string
		for i, file := range all[len(all)-1].Files {
			if in := file.In; in == "" {
				file.In = "-"
			}
			got = append(got, fmt.Sprint(file.In, " ", file.Size))
			if from := all[len(all)-1].From; file.In != "-" && file.In != from {
				t.Errorf("%s: from %q", c.name, from)
			}
			if file.Path != c.files[i] || (file.SHA == "") != (file.In == "-") || file.Faults != nil {
				t.Errorf("%s: %+v", c.name, file)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	want := "github.looked_up acme/api#1  README.md at main: "
	if got := f.audit()[3]; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, ", 3 bytes; docs/work/1/brief.md: there is none") {
		t.Errorf("audit %q", got)
	}
}

// All artefacts of a stage are one folder's, so they cost one call for each place.
func TestFilesOfOneFolderCostOneCall(t *testing.T) {
	f := setup(t)
	must(t, f.push(issueBranch, map[string]string{"docs/work/1/brief.md": "x"}))
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: ".md"})) // no file is asked for
	f.want(f.instance(), "e-1", f.gate([]string{issueBranch, "main"}, "docs/work/1/brief.md", "docs/work/1/prd.md", "docs/work/1/nfr.md"), 202)
}

// After a run has reported: what is at its head, whether it is written, and what else the pull request changes.
func TestWhatARunHasLeftIsRead(t *testing.T) {
	f := setup(t)
	long := strings.Repeat("TODO\n", events.MaxContent/5+1)
	must(t, f.push(issueBranch, map[string]string{
		"docs/prd.md": "# PRD\n\nSearch finds.\n", "docs/nfr.md": "# NFR\n\n## Load\n\nTBD\n", "docs/empty.md": "\n", "docs/long.md": long, "main.go": "package main\n", "README.md": "changed",
	}))
	branches, err := f.github.Branches(repo)
	must(t, err)
	pull, err := f.github.OpenPullRequest(repo, "PRD", "", issueBranch, "main", "ann")
	must(t, err)
	p := f.lookup(repo, "", "")
	p.Head, p.PullRequest, p.Branch, p.Write = branches[issueBranch], pull, issueBranch, []string{"docs/**"}
	p.Files = []string{"docs/prd.md", "docs/nfr.md", "docs/empty.md", "docs/long.md", "docs/user_stories.md"}
	f.want(f.instance(), "e-1", p, 202)
	answer := f.answers()[0]
	var got []string
	for _, file := range answer.Files {
		got = append(got, fmt.Sprint(file.Path, " ", file.In == p.Head, " ", file.Faults))
	}
	if diff := cmp.Diff([]string{
		"docs/prd.md true []", "docs/nfr.md true [line 5: TBD]", "docs/empty.md true [it is empty]", "docs/long.md true []", "docs/user_stories.md false []",
	}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	p.Branch = "codexk8s/issue-2"
	f.want(f.instance(), "e-2", p, 202)
	if a := f.answers()[1]; a.Reason != "not_our_pull_request" || a.Message != "Pull request #2 is not of branch codexk8s/issue-2 of this repository." {
		t.Errorf("of another's pull request: %+v", a)
	}
	if diff := cmp.Diff([]string{"README.md", "main.go"}, answer.Outside); diff != "" || answer.Head != p.Head {
		t.Errorf("outside of the write scope (-want +got):\n%s", diff)
	}
}

// What can't be known is an answer, too; what may be known later is asked for again.
func TestFilesThatCannotBeLookedFor(t *testing.T) {
	f := setup(t)
	url := f.instance()
	f.want(url, "gone", f.gate([]string{"a", "b"}, "docs/prd.md"), 202)
	head := f.gate(nil, "docs/prd.md")
	head.Head = strings.Repeat("1", 40)
	f.want(url, "no such commit", head, 202)
	for _, a := range f.answers() {
		if a.Reason != "github_gone" || len(a.Files) != 1 || a.Files[0].In != "" || !strings.HasPrefix(a.Message, "docs/prd.md of acme/api can't be read: github answered 404 No commit found") {
			t.Errorf("answered %+v", a)
		}
	}
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: "/contents"}))
	f.want(url, "later", f.gate([]string{"main"}, "README.md"), 500)
	f.want(url, "later", f.gate([]string{"main"}, "README.md"), 202)
	services := f.gate([]string{"main"}, "README.md")
	services.Path = "services.yaml"
	f.want(url, "both", services, 202)
	all := f.answers()
	if got := all[len(all)-1]; !got.Found || got.Files[0].In != "main" {
		t.Errorf("answered %+v", got)
	}
	badScope := f.gate([]string{"main"}, "a.md")
	badScope.Write = []string{""}
	for i, bad := range []events.GitHubLookupRequested{
		f.gate(nil, "a.md"), f.gate([]string{"main"}, "../a"), f.gate([]string{"main"}, make([]string, events.MaxFiles+1)...), badScope,
	} {
		f.want(url, fmt.Sprint("bad ", i), bad, 400)
	}
}

// What the pull request began upon is merged as one new commit, so GitHub lists its files too. They are no change.
func TestWhatTheBaseHasByNowIsNoChange(t *testing.T) {
	f := setup(t)
	must(t, f.push(issueBranch, map[string]string{"main.go": "package main\n", "cost.go": "package cost\n", "docs/tests.md": "# Tests\n\nAll.\n"}))
	must(t, f.push("release", map[string]string{"main.go": "package main\n", "cost.go": "package price\n"}))
	branches, err := f.github.Branches(repo)
	must(t, err)
	pull, err := f.github.OpenPullRequest(repo, "Tests", "", issueBranch, "release", "ann")
	must(t, err)
	p := f.lookup(repo, "", "")
	p.Head, p.PullRequest, p.Branch, p.Write, p.Files = branches[issueBranch], pull, issueBranch, []string{"docs/**"}, []string{"docs/tests.md"}
	f.want(f.instance(), "e-1", p, 202)
	if diff := cmp.Diff([]string{"cost.go"}, f.answers()[0].Outside); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
