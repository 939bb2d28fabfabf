package fakegithub

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

func TestIssueLifeThroughGoGithub(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	hooked := newReceiver(t, "s3cret")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "s3cret"}); err != nil {
		t.Fatal(err)
	}
	gh := client(t, s, "acme-token")
	is, _, err := gh.Issues.Create(ctx, "acme", "shop", &github.IssueRequest{Title: github.String("Cart total wrong"), Body: github.String("It is 1.")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := gh.Issues.AddLabelsToIssue(ctx, "acme", "shop", is.GetNumber(), []string{"run:dev", "bug"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := gh.Issues.AddLabelsToIssue(ctx, "acme", "shop", is.GetNumber(), []string{"Run:Dev"}); err != nil {
		t.Fatal(err) // there already: nothing happens, as on GitHub
	}
	if _, err := gh.Issues.RemoveLabelForIssue(ctx, "acme", "shop", is.GetNumber(), "run:dev"); err != nil {
		t.Fatal(err)
	}
	_, err = gh.Issues.RemoveLabelForIssue(ctx, "acme", "shop", is.GetNumber(), "run:dev")
	refused(t, err, http.StatusNotFound, "Label does not exist")
	c, _, err := gh.Issues.CreateComment(ctx, "acme", "shop", is.GetNumber(), &github.IssueComment{Body: github.String("Run started")})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := gh.Issues.EditComment(ctx, "acme", "shop", c.GetID(), &github.IssueComment{Body: github.String("Run finished")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := gh.Issues.Edit(ctx, "acme", "shop", is.GetNumber(), &github.IssueRequest{State: github.String("closed")}); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	want := []string{
		"ping", "issues.opened", "issues.labeled", "issues.labeled", "issues.unlabeled", "issue_comment.created", "issue_comment.edited", "issues.closed",
	}
	if diff := cmp.Diff(want, hooked.events()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	writes := []string{
		"acme: create repository acme/shop",
		"acme: create hook in acme/shop to " + hooked.URL,
		`acme: open acme/shop#1 "Cart total wrong"`,
		"acme: label acme/shop#1 +run:dev", "acme: label acme/shop#1 +bug", "acme: label acme/shop#1 -run:dev",
		`acme: comment acme/shop#1 "Run started"`, `acme: edit comment on acme/shop#1 "Run finished"`, "acme: close acme/shop#1",
	}
	if diff := cmp.Diff(writes, s.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	events, _, err := gh.Issues.ListIssueEvents(ctx, "acme", "shop", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, strings.TrimSpace(e.GetActor().GetLogin()+" "+e.GetEvent()+" "+e.GetLabel().GetName()))
	}
	if diff := cmp.Diff([]string{"acme labeled run:dev", "acme labeled bug", "acme unlabeled run:dev", "acme closed"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestIssuesAreFilteredAndPaged(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	for i := 1; i <= 7; i++ {
		if _, err := s.CreateIssue(repo, fmt.Sprintf("Issue %d", i), "", "acme"); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			if err := s.AddLabel(repo, i, "run:dev", "acme"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.CloseIssue(repo, 7, "acme"); err != nil {
		t.Fatal(err)
	}
	gh := client(t, s, "acme-token")
	list := func(o *github.IssueListByRepoOptions) []int {
		var got []int
		for {
			page, resp, err := gh.Issues.ListByRepo(ctx, "acme", "shop", o)
			if err != nil {
				t.Fatal(err)
			}
			for _, is := range page {
				got = append(got, is.GetNumber())
			}
			if resp.NextPage == 0 {
				return got
			}
			o.Page = resp.NextPage
		}
	}
	small := github.ListOptions{PerPage: 2}
	for _, tc := range []struct {
		name string
		o    github.IssueListByRepoOptions
		want []int
	}{
		{"open, newest first", github.IssueListByRepoOptions{ListOptions: small}, []int{6, 5, 4, 3, 2, 1}},
		{"by label", github.IssueListByRepoOptions{ListOptions: small, Labels: []string{"run:dev"}}, []int{5, 3, 1}},
		{"closed", github.IssueListByRepoOptions{State: "closed"}, []int{7}},
		{"oldest first", github.IssueListByRepoOptions{State: "all", Direction: "asc", ListOptions: small}, []int{1, 2, 3, 4, 5, 6, 7}},
	} {
		if diff := cmp.Diff(tc.want, list(&tc.o)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	for _, login := range []string{"reader", "stranger"} {
		if _, err := s.CreateUser(login); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddCollaborator(repo, "reader", "read"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "One", "", "acme"); err != nil {
		t.Fatal(err)
	}
	_, _, err := client(t, s, "nonsense").Issues.Get(ctx, "acme", "shop", 1)
	refused(t, err, http.StatusUnauthorized, "Bad credentials")
	_, _, err = client(t, s, "stranger-token").Issues.Get(ctx, "acme", "shop", 1)
	refused(t, err, http.StatusNotFound, "Not Found")
	_, _, err = client(t, s, "reader-token").Issues.AddLabelsToIssue(ctx, "acme", "shop", 1, []string{"run:dev"})
	refused(t, err, http.StatusForbidden, "Must have admin rights")
	_, _, err = client(t, s, "reader-token").Repositories.ListHooks(ctx, "acme", "shop", nil)
	refused(t, err, http.StatusNotFound, "Not Found")
	if err := s.AddLabel(repo, 1, "run:dev", "reader"); err == nil {
		t.Error("a reader put a label")
	}
	if _, _, err := client(t, s, "reader-token").Issues.CreateComment(ctx, "acme", "shop", 1, &github.IssueComment{Body: github.String("hello")}); err != nil {
		t.Errorf("a reader may comment: %v", err)
	}
	level, _, err := client(t, s, "acme-token").Repositories.GetPermissionLevel(ctx, "acme", "shop", "reader")
	if err != nil || level.GetPermission() != "read" || level.GetRoleName() != "read" {
		t.Errorf("permission of the reader: %v, %v", level, err)
	}
	_, _, err = client(t, s, "acme-token").Issues.Create(ctx, "acme", "shop", &github.IssueRequest{})
	refused(t, err, http.StatusUnprocessableEntity, "missing_field")

	if err := s.CreateRepository("acme/other", nil); err != nil {
		t.Fatal(err)
	}
	scoped, err := s.MintToken(TokenOptions{Login: "acme", Repositories: []string{repo}, Permissions: map[string]string{"issues": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	gh := client(t, s, scoped)
	if _, _, err := gh.Issues.Get(ctx, "acme", "shop", 1); err != nil {
		t.Error(err)
	}
	_, _, err = gh.Issues.CreateComment(ctx, "acme", "shop", 1, &github.IssueComment{Body: github.String("hello")})
	refused(t, err, http.StatusForbidden, "Resource not accessible by personal access token")
	_, _, err = gh.Repositories.Get(ctx, "acme", "other")
	refused(t, err, http.StatusNotFound, "Not Found")
}

func TestStateSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRepository(repo, map[string]string{"a.txt": "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateIssue(repo, "Kept", "body", "acme"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddLabel(repo, 1, "run:dev", "acme"); err != nil {
		t.Fatal(err)
	}
	want, err := s.Issue(repo, 1)
	if err != nil {
		t.Fatal(err)
	}
	writes, key, id := s.Writes(), s.AppPrivateKey(), s.InstallationID("acme")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, Options{Dir: dir})
	got, err := s.Issue(repo, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issue (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(writes, s.Writes()); diff != "" {
		t.Errorf("writes (-before +after):\n%s", diff)
	}
	if string(key) != string(s.AppPrivateKey()) || id != s.InstallationID("acme") {
		t.Error("the App is another after a restart")
	}
	if text, err := s.File(repo, "main", "a.txt"); err != nil || text != "a" {
		t.Errorf("a.txt = %q, %v", text, err)
	}
	if _, _, err := client(t, s, "acme-token").Issues.Get(t.Context(), "acme", "shop", 1); err != nil {
		t.Error(err)
	}
}

func TestBurstOfLabels(t *testing.T) {
	s := open(t, Options{})
	hooked := newReceiver(t, "x")
	if _, err := s.AddHook(repo, HookOptions{URL: hooked.URL, Secret: "x", Events: []string{"issues"}}); err != nil {
		t.Fatal(err)
	}
	const n = 500
	start := time.Now()
	for i := 1; i <= n; i++ {
		if _, err := s.CreateIssue(repo, fmt.Sprint("Issue ", i), "body", "acme"); err != nil {
			t.Fatal(err)
		}
		if err := s.AddLabel(repo, i, "run:dev", "acme"); err != nil {
			t.Fatal(err)
		}
	}
	made := time.Since(start)
	flush(t, s)
	sent := time.Since(start)
	labeled := 0
	for _, e := range hooked.events() {
		if e == "issues.labeled" {
			labeled++
		}
	}
	if labeled != n {
		t.Errorf("%d labeled webhooks, want %d", labeled, n)
	}
	t.Logf("%d issues opened and labeled in %v, webhooks delivered after %v, payload %d bytes", n, made, sent, len(hooked.last(t, "issues", "labeled").raw))
	if made > 10*time.Second {
		t.Errorf("labelling %d issues took %v: it must not cost as much", n, made)
	}
}
