package fakegithub

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

// life is a pull request with a hook and a clock that a test moves.
type life struct {
	*Server
	t      *testing.T
	hooked *receiver
	work   worktree
	now    *atomic.Int64 // Unix seconds; webhooks are stamped beside the test
}

func newLife(t *testing.T) life {
	l := life{t: t, now: &atomic.Int64{}}
	l.now.Store(time.Now().Unix())
	l.Server = open(t, Options{Now: l.time})
	l.hooked = newReceiver(t, "x")
	t.Cleanup(func() { // a webhook under way as the test ends must not meet a receiver that is closing
		if err := l.Flush(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	l.work, _ = withPull(t, l.Server)
	l.work.run("push", "--quiet", "origin", "main:develop")
	if _, err := l.AddHook(repo, HookOptions{URL: l.hooked.URL, Secret: "x", Events: []string{"pull_request", "pull_request_review", "issues"}}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l life) time() time.Time { return time.Unix(l.now.Load(), 0).UTC() }

// must fails the test on an error, and otherwise lets a minute pass.
func (l life) must(errs ...error) {
	l.t.Helper()
	for _, err := range errs {
		if err != nil {
			l.t.Fatal(err)
		}
	}
	l.now.Add(60)
}

// field reads a path such as "review.state" from the last webhook of an event.
func (l life) field(event, action, path string) any {
	l.t.Helper()
	var v any
	if err := json.Unmarshal(l.hooked.last(l.t, event, action).raw, &v); err != nil {
		l.t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// TestAPullRequestsWholeLife: each change sends the webhook that GitHub sends, with the time of the change in it.
func TestAPullRequestsWholeLife(t *testing.T) {
	l := newLife(t)
	begin := l.time()
	review, err := l.Review(repo, 2, "APPROVE", "Fine", nil, "acme")
	l.must(err)
	l.must(l.EditReview(repo, 2, review, "Fine indeed", "acme"))
	l.must(l.DismissReview(repo, 2, review, "Out of date", "acme"))
	l.must(l.SetDraft(repo, 2, true, "bob"))
	l.must(l.SetDraft(repo, 2, false, "bob"))
	l.must(l.ChangeBase(repo, 2, "develop", "bob"))
	l.must(l.ChangeBase(repo, 2, "main", "bob"))
	l.must(l.AddLabel(repo, 2, "run:dev:revise", "acme"), l.RemoveLabel(repo, 2, "run:dev:revise", "acme"))
	l.must(l.EditIssue(repo, 2, "Fix the total", "Closes #1", "bob"))
	l.work.commit("codexk8s/issue-1", "src/cart.go", "package src\n\nvar total = 3\n")
	l.must(l.CloseIssue(repo, 2, "acme"))
	l.must(l.ReopenIssue(repo, 2, "acme"))
	sha, err := l.Merge(repo, 2, "acme")
	l.must(err)
	flush(t, l.Server)

	want := []string{
		"ping", "pull_request_review.submitted", "pull_request_review.edited", "pull_request_review.dismissed",
		"pull_request.converted_to_draft", "pull_request.ready_for_review", "pull_request.edited", "pull_request.edited",
		"pull_request.labeled", "pull_request.unlabeled", "pull_request.edited", "pull_request.synchronize",
		"pull_request.closed", "pull_request.reopened", "pull_request.closed", "issues.closed",
	}
	if diff := cmp.Diff(want, l.hooked.events()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	at := func(minutes int) string { return begin.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339) }
	for _, c := range []struct {
		event, action, path string
		want                any
	}{
		{"pull_request_review", "submitted", "review.state", "approved"},
		{"pull_request_review", "submitted", "review.submitted_at", at(0)},
		{"pull_request_review", "edited", "changes.body.from", "Fine"},
		{"pull_request_review", "edited", "review.submitted_at", at(0)},
		{"pull_request_review", "edited", "review.updated_at", at(1)},
		{"pull_request_review", "dismissed", "review.state", "dismissed"},
		{"pull_request_review", "dismissed", "review.updated_at", at(2)},
		{"pull_request", "converted_to_draft", "pull_request.draft", true},
		{"pull_request", "converted_to_draft", "pull_request.updated_at", at(3)},
		{"pull_request", "ready_for_review", "pull_request.draft", false},
		{"pull_request", "closed", "pull_request.merged", true},
		{"pull_request", "closed", "pull_request.merge_commit_sha", sha},
		{"issues", "closed", "issue.state_reason", "completed"},
	} {
		if got := l.field(c.event, c.action, c.path); got != c.want {
			t.Errorf("%s.%s: %s is %v, want %v", c.event, c.action, c.path, got, c.want)
		}
	}
	if err := l.ReopenIssue(repo, 2, "acme"); err == nil || !strings.Contains(err.Error(), "has been merged") {
		t.Errorf("reopening what is merged: %v", err)
	}
}

func TestABaseIsChangedByREST(t *testing.T) {
	l := newLife(t)
	gh, ctx := client(t, l.Server, "bob-token"), t.Context()
	pr, _, err := gh.PullRequests.Edit(ctx, "acme", "shop", 2, &github.PullRequest{Base: &github.PullRequestBranch{Ref: github.String("develop")}})
	if err != nil || pr.GetBase().GetRef() != "develop" {
		t.Fatalf("changed the base: %v, %v", pr, err)
	}
	flush(t, l.Server)
	if got := l.field("pull_request", "edited", "changes.base.ref.from"); got != "main" {
		t.Errorf("the base was %v, want main", got)
	}
	_, _, err = gh.PullRequests.Edit(ctx, "acme", "shop", 2, &github.PullRequest{Base: &github.PullRequestBranch{Ref: github.String("nowhere")}})
	refused(t, err, http.StatusUnprocessableEntity, "base")
}

// TestABranchThatGoesClosesItsPullRequests: the head's as well as the base's, and neither can be opened again without
// it.
func TestABranchThatGoesClosesItsPullRequests(t *testing.T) {
	for _, branch := range []string{"codexk8s/issue-1", "develop"} {
		l := newLife(t)
		l.must(l.ChangeBase(repo, 2, "develop", "bob"))
		l.must(l.DeleteBranch(repo, branch, "acme"))
		flush(t, l.Server)
		if !slices.Contains(l.hooked.events(), "pull_request.closed") {
			t.Errorf("%s is deleted: webhooks %q", branch, l.hooked.events())
		}
		if got := l.field("pull_request", "closed", "pull_request.merged"); got != false {
			t.Errorf("%s is deleted: merged is %v", branch, got)
		}
		if err := l.ReopenIssue(repo, 2, "acme"); err == nil || !strings.Contains(err.Error(), "has been deleted") {
			t.Errorf("reopening without %s: %v", branch, err)
		}
	}
}

func TestWhoMayNotChangeAPullRequest(t *testing.T) {
	l := newLife(t)
	if _, err := l.CreateUser("mallory"); err != nil {
		t.Fatal(err)
	}
	l.must(l.SetPrivate(repo, false))
	review, err := l.Review(repo, 2, "APPROVE", "Fine", nil, "acme")
	l.must(err)
	for what, err := range map[string]error{
		"draft":            l.SetDraft(repo, 2, true, "mallory"),
		"base":             l.ChangeBase(repo, 2, "develop", "mallory"),
		"text":             l.EditIssue(repo, 2, "x", "x", "mallory"),
		"dismissal":        l.DismissReview(repo, 2, review, "x", "mallory"),
		"another's review": l.EditReview(repo, 2, review, "x", "bob"),
		"branch":           l.DeleteBranch(repo, "develop", "mallory"),
	} {
		if err == nil {
			t.Errorf("%s: changed by somebody who may not", what)
		}
	}
}
