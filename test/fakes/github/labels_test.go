package fakegithub

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v66/github"
)

// Labels of a repository are made, renamed, recoloured and deleted, and issues go with them. Others are refused.
func TestLabelsOfARepository(t *testing.T) {
	s, ctx := open(t, Options{}), t.Context()
	gh := client(t, s, "acme-token")
	label := func(name, colour, description string) *github.Label {
		return &github.Label{Name: &name, Color: &colour, Description: &description}
	}
	if _, _, err := gh.Issues.CreateLabel(ctx, "acme", "shop", label("run:dev", "1D76DB", "Works")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		label *github.Label
		want  string
	}{
		"there already":      {label("RUN:Dev", "ffffff", ""), "already_exists"},
		"51 characters":      {label(strings.Repeat("é", 51), "ffffff", ""), "name is too long"},
		"a colour's name":    {label("a", "red", ""), "color"},
		"a colour with hash": {label("a", "#ff0000", ""), "color"},
		"101 characters":     {label("a", "ffffff", strings.Repeat("é", 101)), "description is too long"},
		"no name":            {label(" ", "ffffff", ""), "missing_field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := gh.Issues.CreateLabel(ctx, "acme", "shop", c.label)
			refused(t, err, http.StatusUnprocessableEntity, c.want)
		})
	}
	n, err := s.CreateIssue(repo, "Title", "", "acme")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = gh.Issues.AddLabelsToIssue(ctx, "acme", "shop", n, []string{strings.Repeat("x", 51)})
	refused(t, err, http.StatusUnprocessableEntity, "name is too long")
	if err := s.AddLabel(repo, n, "run:dev", "acme"); err != nil {
		t.Fatal(err)
	}
	patch := func(name string, body map[string]string) error {
		req, err := gh.NewRequest(http.MethodPatch, "repos/acme/shop/labels/"+name, body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gh.Do(ctx, req, nil)
		return err
	}
	refused(t, patch("run:dev", map[string]string{"new_name": "BUG"}), http.StatusUnprocessableEntity, "already_exists")
	refused(t, patch("run:dev", map[string]string{"color": "blue"}), http.StatusUnprocessableEntity, "color")
	refused(t, patch("nothing", map[string]string{"color": "ffffff"}), http.StatusNotFound, "Not Found")
	if err := patch("RUN:DEV", map[string]string{"new_name": "go!", "color": "ffffff"}); err != nil {
		t.Fatal(err)
	}
	got, _, err := gh.Issues.ListLabelsByIssue(ctx, "acme", "shop", n, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].GetName() != "go!" || got[0].GetColor() != "ffffff" || got[0].GetDescription() != "Works" {
		t.Errorf("the issue has %v", got)
	}
	if _, err := gh.Issues.DeleteLabel(ctx, "acme", "shop", "GO!"); err != nil {
		t.Fatal(err)
	}
	is, err := s.Issue(repo, n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{}, is.Labels); diff != "" {
		t.Errorf("after it was deleted (-want +got):\n%s", diff)
	}
}
