package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	fakegithub "codexk8s.dev/test/fakes/github"
)

// reviewing opens a pull request of the issue's branch and asks for a review of it.
func (f *fixture) reviewing(findings ...string) events.GitHubReviewRequested {
	f.t.Helper()
	must(f.t, f.push(issueBranch, map[string]string{"search.go": "package api\n\nfunc Search() {}\n", "README.md": "api\nIt searches.\n"}))
	pull, err := f.github.OpenPullRequest(repo, "Search", "", issueBranch, "main", "ann")
	must(f.t, err)
	branches, err := f.github.Branches(repo)
	must(f.t, err)
	return events.GitHubReviewRequested{
		RunRef:      events.RunRef{RunID: "0b5c8d3e-1111-4222-8333-944445555666", Project: "demo", Repository: repo, Issue: f.issue},
		PullRequest: pull, Branch: issueBranch, Head: branches[issueBranch], Role: "reviewer", Model: "gpt-5.4",
		Text: "Fit to be merged.\n\n## Findings\n- " + strings.Join(findings, "\n- "),
	}
}

// reviewed are the answers, oldest first.
func (f *fixture) reviewed() (all []events.GitHubReviewed) {
	f.t.Helper()
	for _, line := range f.emitted() {
		var a events.GitHubReviewed
		must(f.t, json.Unmarshal([]byte(strings.TrimPrefix(line, a.EventType()+" ")), &a))
		all = append(all, a)
	}
	return all
}

// left is what GitHub shows of the reviews: state and text, and each remark with its place.
func (f *fixture) left(pull int) (all []string) {
	for _, v := range f.github.Reviews(repo, pull) {
		body, _, _ := strings.Cut(v.Body, "\n\n<sub>")
		all = append(all, v.User+" "+v.State+": "+body)
	}
	for _, w := range f.github.Writes() {
		if strings.Contains(w, ": comment "+repo) {
			all = append(all, w)
		}
	}
	return all
}

// One review, whatever happens on the way: the event comes twice, the process dies after GitHub has it, the run's agent
// reports once more.
func TestAReviewIsLeftOnce(t *testing.T) {
	f := setup(t)
	p, url := f.reviewing("`search.go:3` **major**: it finds nothing", "`search.go:30` **minor**: too long", "`main.go:1` **minor**: nobody calls it"), f.instance()
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: fmt.Sprintf("/pulls/%d/reviews", p.PullRequest), Method: "POST"}))
	f.want(url, "e-1", p, 500)
	for _, id := range []string{"e-1", "e-1", "e-2"} {
		f.want(url, id, p, 202)
	}
	if diff := cmp.Diff([]string{
		"codexk8s[bot] COMMENTED: Fit to be merged.\n\n**Not on a line of the diff:**\n\n- `search.go:30` **minor**: too long\n- `main.go:1` **minor**: nobody calls it",
		`codexk8s[bot]: comment acme/api#2 search.go:3 "**major**: it finds nothing"`,
	}, f.left(p.PullRequest)); diff != "" {
		t.Errorf("on GitHub (-want +got):\n%s", diff)
	}
	for _, got := range f.reviewed() {
		want := events.GitHubReviewed{RunRef: p.RunRef, PullRequest: p.PullRequest, Head: p.Head, ReviewID: got.ReviewID, URL: got.URL, OnLines: 1, InSummary: 2}
		if diff := cmp.Diff(want, got); diff != "" || got.ReviewID == 0 || !strings.Contains(got.URL, "#pullrequestreview-") {
			t.Errorf("answered (-want +got):\n%s", diff)
		}
	}
	// Another run's is another review.
	p.RunID = "0b5c8d3e-1111-4222-8333-944445555667"
	f.want(url, "e-3", p, 202)
	if n := len(f.github.Reviews(repo, p.PullRequest)); n != 2 {
		t.Errorf("%d reviews", n)
	}
}

// What somebody else has written is not ours, whatever mark it bears.
func TestACopiedMarkIsNoReview(t *testing.T) {
	f := setup(t)
	p := f.reviewing("`search.go:3` x")
	_, err := f.github.Review(repo, p.PullRequest, "COMMENT", "x\n\n<!-- codexk8s:review "+p.RunID+" -->", nil, "ann")
	must(t, err)
	f.want(f.instance(), "e-1", p, 202)
	if n := len(f.github.Reviews(repo, p.PullRequest)); n != 2 {
		t.Errorf("%d reviews", n)
	}
}

// Where comments can't be placed, the findings are in the summary: the head has moved on, or GitHub sees it otherwise.
func TestFindingsThatGitHubDoesNotPlace(t *testing.T) {
	f := setup(t)
	p, url := f.reviewing("`search.go:3` x"), f.instance()
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "refusal", Status: 422, Message: "Unprocessable Entity", Errors: []any{"Line could not be resolved"}, Path: "/reviews", Method: "POST"}))
	f.want(url, "refused", p, 202)
	old := p
	old.RunID, old.Head = "0b5c8d3e-1111-4222-8333-944445555667", f.sha
	f.want(url, "moved on", old, 202)
	for _, got := range f.reviewed() {
		if got.Reason != "" || got.OnLines != 0 || got.InSummary != 1 {
			t.Errorf("answered %+v", got)
		}
	}
	if diff := cmp.Diff([]string{
		"codexk8s[bot] COMMENTED: Fit to be merged.\n\n**Not on a line of the diff:**\n\n- `search.go:3` x",
		"codexk8s[bot] COMMENTED: Fit to be merged.\n\n**Not on a line of the diff:**\n\n- `search.go:3` x",
	}, f.left(p.PullRequest)); diff != "" {
		t.Errorf("on GitHub (-want +got):\n%s", diff)
	}
}

// A refusal is an answer; what may work later is tried again.
func TestAReviewThatCannotBeLeft(t *testing.T) {
	f := setup(t)
	p, url := f.reviewing("`search.go:3` x"), f.instance()
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: "/files"}))
	f.want(url, "later", p, 500)
	gone, theirs := p, p
	gone.PullRequest, theirs.Branch = 77, "codexk8s/issue-9"
	f.want(url, "gone", gone, 202)
	f.want(url, "theirs", theirs, 202)
	var got []string
	for _, a := range f.reviewed() {
		got = append(got, a.Reason)
	}
	if diff := cmp.Diff([]string{"github_gone", "not_our_pull_request"}, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if n := len(f.github.Reviews(repo, p.PullRequest)); n != 0 {
		t.Errorf("%d reviews", n)
	}
	for _, edit := range []func(*events.GitHubReviewRequested){
		func(p *events.GitHubReviewRequested) { p.PullRequest = 0 },
		func(p *events.GitHubReviewRequested) { p.Head = "" },
		func(p *events.GitHubReviewRequested) { p.Branch = "" },
		func(p *events.GitHubReviewRequested) { p.Repository = "acme" },
	} {
		bad := p
		edit(&bad)
		f.want(url, fmt.Sprintf("bad %+v", bad)[:200], bad, 400)
	}
}
