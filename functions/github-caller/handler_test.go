package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	fakegithub "codexk8s.dev/test/fakes/github"
)

func TestAfterARun(t *testing.T) {
	f := setup(t)
	pr := f.pullRequest()
	url := f.instance()
	must(t, f.github.AddLabel(repo, f.issue, "to be: escaped/twice?", "ann"))
	p := f.change(func(p *events.GitHubChangeRequested) {
		p.Off, p.On = []string{"run:dev", "to be: escaped/twice?", "never set"}, []string{"state:in-review"}
		p.PullRequest, p.PullOn = pr, []string{"state:in-review"}
		p.Comment, p.Version = "Ready for review.", 4
		p.Status = &events.CommitStatus{SHA: f.sha, State: "success", Context: "codexk8s/dev", Description: strings.Repeat("ä", 200)}
	})
	f.want(url, "e-1", p, 202)
	writes := len(f.github.Writes())
	f.want(url, "e-1", p, 202) // a redelivery
	f.want(url, "e-2", p, 202) // the same asked for again
	issue, err := f.github.Issue(repo, f.issue)
	must(t, err)
	pull, err := f.github.Issue(repo, pr)
	must(t, err)
	if diff := cmp.Diff([][]string{{"state:in-review"}, {"state:in-review"}}, [][]string{issue.Labels, pull.Labels}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"codexk8s[bot]: Ready for review."}, f.comments()); diff != "" {
		t.Error(diff)
	}
	statuses := f.github.Statuses(repo, f.sha)
	if len(statuses) != 1 || statuses[0].State != "success" || statuses[0].Context != "codexk8s/dev" ||
		statuses[0].Description != strings.Repeat("ä", 139)+"…" || statuses[0].TargetURL != "https://console.example/runs/"+p.RunID {
		t.Errorf("statuses %+v", statuses)
	}
	if more := f.github.Writes()[writes:]; len(more) != 0 {
		t.Errorf("repeating it wrote again: %q", more)
	}
	links := fmt.Sprintf("\n\n[The issue in the console](https://console.example/issues/%s/%d) · [its run](https://console.example/runs/%s)\n\n<!--", repo, f.issue, p.RunID)
	if body := f.github.Comments(repo, f.issue)[0].Body; !strings.Contains(body, links) {
		t.Errorf("the comment does not lead to the console:\n%s", body)
	}
	id := f.github.Comments(repo, f.issue)[0].ID
	changed := fmt.Sprintf(`dev.codexk8s.github.changed {"repository":"acme/api","issue":%d,"runId":%q,"commentId":%d}`, f.issue, p.RunID, id)
	if diff := cmp.Diff([]string{changed, changed}, f.emitted()); diff != "" {
		t.Error(diff)
	}
	item := events.WorkItem(repo, f.issue)
	labels := fmt.Sprintf("#%d -run:dev; #%d -to be: escaped/twice?; #%d +state:in-review; #%d +state:in-review", f.issue, f.issue, f.issue, pr)
	if diff := cmp.Diff([]string{
		fmt.Sprintf("github.changed %s  %s; status codexk8s/dev success; comment %d created at version 4", item, labels, id),
		fmt.Sprintf("github.changed %s  ", item),
	}, f.audit()); diff != "" {
		t.Error(diff)
	}
}

// pullRequest opens one from a branch that a person pushed.
func (f *fixture) pullRequest() int {
	f.t.Helper()
	must(f.t, f.push("codexk8s/issue-1", nil))
	n, err := f.github.OpenPullRequest(repo, "Search", "", "codexk8s/issue-1", "main", "ann")
	must(f.t, err)
	return n
}

func TestOlderVersionsNeverOverwriteNewerOnes(t *testing.T) {
	f := setup(t)
	url := f.instance()
	status := func(state string, version int64) events.GitHubChangeRequested {
		return f.change(func(p *events.GitHubChangeRequested) {
			comment(state, version)(p)
			p.Status = &events.CommitStatus{SHA: f.sha, State: state, Context: "codexk8s/dev"}
		})
	}
	f.want(url, "e-1", status("pending", 1), 202)
	f.want(url, "e-3", status("success", 3), 202)
	f.want(url, "e-2", status("failure", 2), 202) // overtaken
	if diff := cmp.Diff([]string{"codexk8s[bot]: success"}, f.comments()); diff != "" {
		t.Error(diff)
	}
	var states []string
	for _, s := range f.github.Statuses(repo, f.sha) {
		states = append(states, s.State)
	}
	if diff := cmp.Diff([]string{"pending", "success"}, states); diff != "" {
		t.Error(diff)
	}
}

// A change that was put off comes after a newer one: the labels stay as the newer one wants them.
func TestLabelsOfAnOlderVersionStayOff(t *testing.T) {
	f := setup(t)
	url := f.instance()
	change := func(version int64, add string, remove ...string) events.GitHubChangeRequested {
		return f.change(func(p *events.GitHubChangeRequested) {
			comment(add, version)(p)
			p.On, p.Off = []string{add}, remove
		})
	}
	f.want(url, "e-5", change(5, "state:approved", "state:in-review"), 202)
	f.want(url, "e-4", change(4, "state:in-review", "state:approved", "run:dev"), 202)
	issue, err := f.github.Issue(repo, f.issue)
	must(t, err)
	if !slices.Contains(issue.Labels, "state:approved") || slices.Contains(issue.Labels, "state:in-review") {
		t.Errorf("the issue has the labels %v", issue.Labels)
	}
	if diff := cmp.Diff([]string{"codexk8s[bot]: state:approved"}, f.comments()); diff != "" {
		t.Error(diff)
	}
}

func TestTwoInstancesInABurstMakeOneComment(t *testing.T) {
	f := setup(t)
	urls := []string{f.instance(), f.instance()}
	var wg sync.WaitGroup
	for version := range 12 {
		wg.Go(func() {
			p := f.change(comment(fmt.Sprint("version ", version+1), int64(version+1)))
			for range 20 {
				if status, _, said := f.send(urls[version%2], fmt.Sprint("e-", version), p); status == 202 {
					return
				} else if status != 503 {
					t.Errorf("answered %d %s", status, said)
				}
			}
			t.Errorf("version %d was never taken", version+1)
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{"codexk8s[bot]: version 12"}, f.comments()); diff != "" {
		t.Error(diff)
	}
}

// The process died between GitHub's creating the comment and our noting its id: the mark tells.
func TestACommentThatWasNotNotedIsFound(t *testing.T) {
	f := setup(t)
	// Anybody can copy the mark. Their comment must be left alone, even when it comes first.
	copied := "copy\n\n<!-- codexk8s:status " + events.WorkItem(repo, f.issue) + " -->"
	if _, err := f.github.Comment(repo, f.issue, copied, "ann"); err != nil {
		t.Fatal(err)
	}
	f.want(f.instance(), "e-1", f.change(comment("first", 1)), 202)
	f.sql.Do(`DELETE FROM github_comments`)
	f.want(f.instance(), "e-2", f.change(comment("second", 2)), 202)
	if diff := cmp.Diff([]string{"ann: copy", "codexk8s[bot]: second"}, f.comments()); diff != "" {
		t.Error(diff)
	}
}

func TestADeletedCommentIsCreatedAnew(t *testing.T) {
	f := setup(t)
	url := f.instance()
	f.want(url, "e-1", f.change(comment("first", 1)), 202)
	f.deleteComment(f.github.Comments(repo, f.issue)[0].ID)
	f.want(url, "e-2", f.change(comment("second", 2)), 202)
	f.want(url, "e-3", f.change(comment("third", 3)), 202)
	if diff := cmp.Diff([]string{"codexk8s[bot]: third"}, f.comments()); diff != "" {
		t.Error(diff)
	}
}

func (f *fixture) deleteComment(id int64) {
	f.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, fmt.Sprintf("%srepos/%s/issues/comments/%d", f.github.APIURL(), repo, id), nil)
	must(f.t, err)
	req.Header.Set("Authorization", "Bearer ann-token")
	resp, err := http.DefaultClient.Do(req)
	must(f.t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		f.t.Fatalf("deleting the comment: %s", resp.Status)
	}
}

func TestRateLimitsPauseEveryInstance(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault fakegithub.Fault
	}{
		{"primary", fakegithub.Fault{Kind: "primary", RetryAfter: 600}},
		{"secondary", fakegithub.Fault{Kind: "secondary", RetryAfter: 600}},
		{"secondary as 429", fakegithub.Fault{Kind: "secondary", RetryAfter: 600, Status: 429}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t)
			tt.fault.Path = "/labels"
			must(t, f.github.FailNext(tt.fault))
			p := f.change(func(p *events.GitHubChangeRequested) { p.On = []string{"bug"}; comment("x", 1)(p) })
			for i, url := range []string{f.instance(), f.instance()} {
				status, after, said := f.send(url, "e-1", p)
				if status != 503 || after < 590 || after > 601 {
					t.Errorf("instance %d: %d, Retry-After %d, %s", i, status, after, said)
				}
			}
			if got := f.comments(); len(got) != 0 {
				t.Errorf("went on during the limit: %q", got)
			}
			f.sql.Do(`UPDATE github_pauses SET until = now()`)
			f.want(f.instance(), "e-1", p, 202)
			if diff := cmp.Diff([]string{"codexk8s[bot]: x"}, f.comments()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnOutageIsTriedAgain(t *testing.T) {
	f := setup(t)
	url := f.instance()
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "outage", Path: "/comments"}))
	p := f.change(comment("x", 1))
	f.want(url, "e-1", p, 500)
	f.want(url, "e-1", p, 202)
	if diff := cmp.Diff([]string{"codexk8s[bot]: x"}, f.comments()); diff != "" {
		t.Error(diff)
	}
}

// TestWhatNobodyCanMendIsWrittenDownAndOver: no dead letter, and the rest is done.
func TestWhatNobodyCanMendIsWrittenDownAndOver(t *testing.T) {
	refused := func(method, path string, status int, message string, errors ...any) *fakegithub.Fault {
		return &fakegithub.Fault{Kind: "refusal", Method: method, Path: path, Status: status, Message: message, Errors: errors, Requests: -1}
	}
	const locked = "Unable to create comment because issue is locked."
	full := map[string]any{"resource": "Issue", "code": "custom", "message": "Issues cannot have more than 100 labels"}
	for _, tt := range []struct {
		name  string
		fault *fakegithub.Fault
		edit  func(*events.GitHubChangeRequested)
		want  int
		audit string // what the last line says
		told  bool   // the status comment is there
	}{
		{"no issue", nil, func(p *events.GitHubChangeRequested) { p.Issue = 999 }, 202, "github_gone", false},
		{"no repository", nil, func(p *events.GitHubChangeRequested) { p.Repository = "acme/gone" }, 202, "github_gone", false},
		{"no commit", nil, func(p *events.GitHubChangeRequested) {
			p.Status = &events.CommitStatus{SHA: strings.Repeat("0", 40), State: "success", Context: "codexk8s/dev"}
		}, 202, "github_gone", true},
		{"deleted", refused("", "/issues/", 410, "This issue was deleted"), nil, 202, "410 This issue was deleted (gone", false},
		{"locked", refused("POST", "/comments", 403, locked), nil, 202, "github_locked", false},
		{"full", refused("POST", "/labels", 422, "Validation Failed", full), nil, 202, "Validation Failed: Issues cannot have more than 100 labels", true},
		{"suspended", refused("", "", 403, "This installation has been suspended"), nil, 202, "github_suspended", false},
		{"archived", refused("POST", "", 403, "Repository was archived so is read-only."), nil, 202, "github_archived", false},
		{"a permission is missing, which somebody can mend", refused("POST", "/labels", 403, "Resource not accessible by integration"), nil, 422, "github_refused", true},
		{"locked, and a permission is missing", refused("POST", "/issues", 403, "Resource not accessible by integration"), nil, 422, "(the credential lacks a permission)", false},
		{"too quickly", refused("POST", "/comments", 422, "Validation Failed", map[string]any{"message": "was submitted too quickly"}), nil, 503, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := setup(t)
			f.age = 2 * settling
			if tt.fault != nil {
				must(t, f.github.FailNext(*tt.fault))
			}
			p := f.change(func(p *events.GitHubChangeRequested) { p.On = []string{"bug"}; comment("told", 1)(p) })
			if tt.edit != nil {
				tt.edit(&p)
			}
			f.want(f.instance(), "e-1", p, tt.want)
			audit := strings.Join(f.audit(), "\n")
			if !strings.Contains(audit, tt.audit) {
				t.Errorf("audit %q, want %q", audit, tt.audit)
			}
			f.github.ClearFaults()
			if got := len(f.comments()); (got == 1) != tt.told {
				t.Errorf("%d comments", got)
			}
		})
	}
	f := setup(t)
	f.want(f.instance(), "malformed", events.GitHubChangeRequested{Repository: "x"}, 400)
}

// A commit that was just pushed is not known everywhere at GitHub. Its status is tried again, and nothing else waits.
func TestACommitThatGitHubDoesNotKnowYet(t *testing.T) {
	f := setup(t)
	must(t, f.github.FailNext(fakegithub.Fault{Kind: "refusal", Method: "POST", Path: "/statuses/", Status: 422, Message: "No commit found for SHA: " + f.sha, Requests: 1}))
	p := f.change(func(p *events.GitHubChangeRequested) {
		comment("told", 1)(p)
		p.Status = &events.CommitStatus{SHA: f.sha, State: "success", Context: "codexk8s/dev"}
	})
	url := f.instance()
	if got, after, said := f.send(url, "e-1", p); got != 503 || after < 1 || after > 3 || len(f.comments()) != 1 {
		t.Errorf("%d, again in %d s, %d comments: %s", got, after, len(f.comments()), said)
	}
	f.want(url, "e-1", p, 202)
	if got := f.github.Statuses(repo, f.sha); len(got) != 1 {
		t.Errorf("statuses %+v", got)
	}
}

func TestRoutesAreThoseOfTheCatalog(t *testing.T) {
	s := serve.New("github-caller", "")
	(&handler{}).routes(s)
	if diff := cmp.Diff(slices.Sorted(slices.Values(events.Catalog["github-caller"])), s.Types()); diff != "" {
		t.Error(diff)
	}
}
