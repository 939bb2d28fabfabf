package fakegithub

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

// withPull is acme/shop with issue 1 and the open pull request 2 by bob, branch codexk8s/issue-1, that closes it. It
// returns bob's clone and the head.
func withPull(t *testing.T, s *Server) (worktree, string) {
	t.Helper()
	if _, err := s.CreateUser("bob"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCollaborator(repo, "bob", "write"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "Total wrong", "", "acme"); err != nil {
		t.Fatal(err)
	}
	w := cloned(t, s, "bob-token")
	head := w.commit("codexk8s/issue-1", "src/cart.go", "package src\n\nvar total = 2\n")
	if n, err := s.OpenPullRequest(repo, "Fix total", "Closes #1", "codexk8s/issue-1", "main", "bob"); err != nil || n != 2 {
		t.Fatalf("opened pull request %d, %v", n, err)
	}
	return w, head
}

func TestPullRequestIsOpenedOnceAndFound(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	gh := client(t, s, "acme-token")
	want := &github.NewPullRequest{Title: github.String("Fix total"), Head: github.String("codexk8s/issue-1"), Base: github.String("main")}
	_, _, err := gh.PullRequests.Create(ctx, "acme", "shop", want)
	refused(t, err, http.StatusUnprocessableEntity, "head")

	w := cloned(t, s, "acme-token")
	w.run("checkout", "--quiet", "-b", "codexk8s/issue-1")
	w.run("push", "--quiet", "origin", "codexk8s/issue-1")
	_, _, err = gh.PullRequests.Create(ctx, "acme", "shop", want)
	refused(t, err, http.StatusUnprocessableEntity, "No commits between main and codexk8s/issue-1")

	head := w.commit("codexk8s/issue-1", "src/cart.go", "package src\n\nvar total = 2\n")
	pr, _, err := gh.PullRequests.Create(ctx, "acme", "shop", want)
	if err != nil {
		t.Fatal(err)
	}
	if pr.GetHead().GetSHA() != head || pr.GetNumber() != 1 || pr.GetCommits() != 1 || pr.GetAdditions() != 1 || pr.GetDeletions() != 1 {
		t.Errorf("opened %v, want number 1, head %s, one commit +1 -1", pr, head)
	}
	_, _, err = gh.PullRequests.Create(ctx, "acme", "shop", want)
	refused(t, err, http.StatusUnprocessableEntity, "A pull request already exists for acme:codexk8s/issue-1.")

	for filter, n := range map[string]int{"acme:codexk8s/issue-1": 1, "acme:other": 0, "bob:codexk8s/issue-1": 0} {
		found, _, err := gh.PullRequests.List(ctx, "acme", "shop", &github.PullRequestListOptions{Head: filter})
		if err != nil || len(found) != n {
			t.Errorf("head %s finds %d pull requests, %v; want %d", filter, len(found), err, n)
		}
	}
}

func TestPullRequestFromPushToMerge(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	hooked := newReceiver(t, "x")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x"}); err != nil {
		t.Fatal(err)
	}
	w, first := withPull(t, s)
	gh := client(t, s, "bob-token")
	second := w.commit("codexk8s/issue-1", "src/cart.go", "package src\n\nvar total = 3\n")
	pr, _, err := gh.PullRequests.Get(ctx, "acme", "shop", 2)
	if err != nil || pr.GetHead().GetSHA() != second || !pr.GetMergeable() {
		t.Errorf("after the push: %v, %v; want head %s, mergeable", pr, err, second)
	}
	files, _, err := gh.PullRequests.ListFiles(ctx, "acme", "shop", 2, nil)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	const patch = "@@ -1,3 +1,3 @@\n package src\n \n-var total = 1\n+var total = 3"
	if files[0].GetPatch() != patch || files[0].GetFilename() != "src/cart.go" || files[0].GetStatus() != "modified" {
		t.Errorf("file %v", files[0])
	}

	_, _, err = gh.PullRequests.CreateReview(ctx, "acme", "shop", 2, &github.PullRequestReviewRequest{Event: github.String("APPROVE")})
	refused(t, err, http.StatusUnprocessableEntity, "Can not approve your own pull request")
	_, _, err = gh.PullRequests.Merge(ctx, "acme", "shop", 2, "", &github.PullRequestOptions{SHA: first})
	refused(t, err, http.StatusConflict, "Head branch was modified")
	sha, err := s.Merge(repo, 2, "acme")
	if err != nil {
		t.Fatal(err)
	}
	pr, _, err = gh.PullRequests.Get(ctx, "acme", "shop", 2)
	if err != nil || !pr.GetMerged() || pr.GetMergeCommitSHA() != sha || pr.GetState() != "closed" || pr.GetMergedBy().GetLogin() != "acme" {
		t.Errorf("after the merge: %v, %v", pr, err)
	}
	if text, err := s.File(repo, "main", "src/cart.go"); err != nil || !strings.Contains(text, "total = 3") {
		t.Errorf("main has %q, %v", text, err)
	}
	if is, err := s.Issue(repo, 1); err != nil || is.State != "closed" {
		t.Errorf("the issue that the pull request closes: %v, %v", is, err)
	}
	flush(t, s)
	events := []string{
		"ping", "issues.opened", "push", "create", "pull_request.opened", "push", "pull_request.synchronize", "pull_request.closed", "issues.closed", "push",
	}
	if diff := cmp.Diff(events, hooked.events()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	sync := hooked.last(t, "pull_request", "synchronize").payload.(*github.PullRequestEvent)
	if sync.GetBefore() != first || sync.GetAfter() != second || sync.GetPullRequest().GetHead().GetSHA() != second {
		t.Errorf("synchronize from %s to %s, head %s", sync.GetBefore(), sync.GetAfter(), sync.GetPullRequest().GetHead().GetSHA())
	}
}

func TestReviewWithCommentsOnLines(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	w := cloned(t, s, "acme-token")
	w.commit("work", "src/cart.go", "package src\n\nvar total = 2\n\nvar tax = 3\n")
	if _, err := s.CreateUser("bob"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCollaborator(repo, "bob", "write"); err != nil {
		t.Fatal(err)
	}
	n, err := s.OpenPullRequest(repo, "Work", "", "work", "main", "acme")
	if err != nil {
		t.Fatal(err)
	}
	hooked := newReceiver(t, "x")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Review(repo, n, "REQUEST_CHANGES", "Not yet", []InlineComment{{Path: "src/other.go", Line: 1, Body: "?"}}, "bob"); err == nil {
		t.Error("a comment on a file that is not changed was taken")
	}
	if _, err := s.Review(repo, n, "REQUEST_CHANGES", "Not yet", []InlineComment{{Path: "src/cart.go", Line: 90, Body: "?"}}, "bob"); err == nil {
		t.Error("a comment on a line that the diff does not show was taken")
	}
	id, err := s.Review(repo, n, "REQUEST_CHANGES", "Not yet", []InlineComment{{Path: "src/cart.go", Line: 5, Body: "Name it vat"}}, "bob")
	if err != nil {
		t.Fatal(err)
	}
	gh := client(t, s, "acme-token")
	v, _, err := gh.PullRequests.GetReview(ctx, "acme", "shop", n, id)
	if err != nil || v.GetState() != "CHANGES_REQUESTED" || v.GetBody() != "Not yet" || v.GetUser().GetLogin() != "bob" {
		t.Errorf("review %v, %v", v, err)
	}
	type line struct {
		Path, Body, Hunk string
		Line             int
	}
	all, _, err := gh.PullRequests.ListComments(ctx, "acme", "shop", n, nil)
	if err != nil || len(all) != 1 {
		t.Fatalf("comments %v, %v", all, err)
	}
	got := line{all[0].GetPath(), all[0].GetBody(), all[0].GetDiffHunk(), all[0].GetLine()}
	want := line{"src/cart.go", "Name it vat", "@@ -1,3 +1,5 @@\n package src\n \n-var total = 1\n+var total = 2\n+\n+var tax = 3", 5}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("comment (-want +got):\n%s", diff)
	}
	ofReview, _, err := gh.PullRequests.ListReviewComments(ctx, "acme", "shop", n, id, nil)
	if err != nil || len(ofReview) != 1 || ofReview[0].GetBody() != "Name it vat" {
		t.Errorf("comments of the review: %v, %v", ofReview, err)
	}
	if _, err := s.Review(repo, n, "APPROVE", "", nil, "bob"); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if diff := cmp.Diff([]string{"ping", "pull_request_review.submitted", "pull_request_review_comment.created", "pull_request_review.submitted"}, hooked.events()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	submitted := hooked.last(t, "pull_request_review", "submitted").payload.(*github.PullRequestReviewEvent)
	if submitted.GetReview().GetState() != "approved" {
		t.Errorf("a webhook writes the state %q, want approved", submitted.GetReview().GetState())
	}
}

func TestPushNeedsTheRight(t *testing.T) {
	s := open(t, Options{})
	if _, err := s.CreateUser("carl"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCollaborator(repo, "carl", "read"); err != nil {
		t.Fatal(err)
	}
	w := cloned(t, s, "carl-token")
	w.run("commit", "--quiet", "--allow-empty", "-m", "mine")
	out, err := gitCommand(t, w.dir, "push", "origin", "HEAD:main")
	if err == nil || !strings.Contains(out, "403") {
		t.Errorf("push of a reader: %v\n%s", err, out)
	}
	if out, err := gitCommand(t, "", "ls-remote", cloneURL(s, "nonsense")); err == nil {
		t.Errorf("an unknown token read the repository: %s", out)
	}
	if out, err := gitCommand(t, "", "ls-remote", s.CloneURL(repo)); err == nil {
		t.Errorf("nobody read a private repository: %s", out)
	}
}

// A push of more than git's postBuffer comes in chunks, which CGI cannot take as they are.
func TestLargePushAndForce(t *testing.T) {
	s := open(t, Options{})
	hooked := newReceiver(t, "x")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x", Events: []string{"push"}}); err != nil {
		t.Fatal(err)
	}
	w := cloned(t, s, "acme-token")
	w.run("config", "http.postBuffer", "65536")
	w.commit("big", "big.bin", secret(400_000))
	w.run("commit", "--quiet", "--amend", "-m", "Changed my mind")
	w.run("push", "--quiet", "--force", "origin", "big")
	w.run("push", "--quiet", "origin", ":big")
	flush(t, s)
	type push struct{ created, forced, deleted bool }
	var got []push
	hooked.mu.Lock()
	defer hooked.mu.Unlock()
	for _, d := range hooked.got {
		if p, ok := d.payload.(*github.PushEvent); ok {
			got = append(got, push{p.GetCreated(), p.GetForced(), p.GetDeleted()})
		}
	}
	if diff := cmp.Diff([]push{{created: true}, {forced: true}, {deleted: true}}, got, cmp.AllowUnexported(push{})); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
}

func TestConflictIsNotMerged(t *testing.T) {
	s := open(t, Options{})
	w := cloned(t, s, "acme-token")
	w.commit("work", "README.md", "# Work\n")
	w.run("checkout", "--quiet", "main")
	w.commit("main", "README.md", "# Main\n")
	n, err := s.OpenPullRequest(repo, "Work", "", "work", "main", "acme")
	if err != nil {
		t.Fatal(err)
	}
	gh := client(t, s, "acme-token")
	pr, _, err := gh.PullRequests.Get(t.Context(), "acme", "shop", n)
	if err != nil || pr.GetMergeable() || pr.GetMergeableState() != "dirty" {
		t.Errorf("mergeable %v (%s), %v", pr.GetMergeable(), pr.GetMergeableState(), err)
	}
	_, _, err = gh.PullRequests.Merge(t.Context(), "acme", "shop", n, "", nil)
	refused(t, err, http.StatusMethodNotAllowed, "Pull Request is not mergeable")
}
