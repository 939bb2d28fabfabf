package fakegithub

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

func TestAFormerNameLeadsToTheRepositoryUntilAnotherTakesIt(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.CreateIssue(repo, "One", "", "acme")
	must(err)
	gh := client(t, s, "acme-token")
	before, _, err := gh.Repositories.Get(ctx, "acme", "shop")
	must(err)
	must(s.CreateOrganization("umbrella"))
	must(s.MoveRepository(repo, "umbrella/Store", "acme"))
	must(s.AddCollaborator("umbrella/store", "acme", "admin"))

	after, _, err := gh.Repositories.Get(ctx, "acme", "shop")
	must(err)
	byNumber, _, err := gh.Repositories.GetByID(ctx, before.GetID())
	must(err)
	comment, _, err := gh.Issues.CreateComment(ctx, "acme", "shop", 1, &github.IssueComment{Body: github.String("still there")})
	must(err)
	got := []string{after.GetFullName(), byNumber.GetFullName(), comment.GetBody()}
	if diff := cmp.Diff([]string{"umbrella/Store", "umbrella/Store", "still there"}, got); diff != "" || after.GetID() != before.GetID() {
		t.Errorf("number %d, was %d (-want +got):\n%s", after.GetID(), before.GetID(), diff)
	}
	if sha, err := s.git(s.present(repo)).resolve("refs/heads/main"); err != nil || sha == "" {
		t.Error("its commits are gone: ", err)
	}
	// Tokens are for numbers: GitHub knows no former name there.
	_, tr := appClient(t, s, &github.InstallationTokenOptions{Repositories: []string{"shop"}})
	if _, err := tr.Token(ctx); err == nil {
		t.Error("a token for a former name")
	}
	must(s.CreateRepository(repo, map[string]string{"a": "another"}))
	other, _, err := gh.Repositories.Get(ctx, "acme", "shop")
	must(err)
	if other.GetID() == before.GetID() {
		t.Error("the former name still leads to the repository that moved")
	}
	_, _, err = gh.Issues.Get(ctx, "acme", "shop", 1)
	refused(t, err, http.StatusNotFound, "Not Found")
}
