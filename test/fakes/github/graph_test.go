package fakegithub

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhoEditedAnIssueByGraphQL(t *testing.T) {
	s := open(t, Options{Logger: slog.New(slog.DiscardHandler)})
	n, err := s.CreateIssue(repo, "Title", "Text", "acme")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token, query string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSuffix(s.APIURL(), "/v3/")+"/graphql", strings.NewReader(`{"query":"`+query+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status[:4] + strings.TrimSpace(string(said))
	}
	metadata, err := s.MintToken(TokenOptions{Login: "acme", Permissions: map[string]string{"metadata": "read"}})
	if err != nil {
		t.Fatal(err)
	}
	const editor = `{repository(owner:\"acme\",name:\"shop\"){issue(number:1){editor{login} lastEditedAt}}}`
	got := []string{ask("acme-token", editor)}
	if err := s.EditIssue(repo, n, "Title!", "Text", "acme"); err != nil {
		t.Fatal(err)
	}
	got = append(got, ask("acme-token", editor))
	if err := s.EditIssue(repo, n, "Title!", "Text!", "acme"); err != nil {
		t.Fatal(err)
	}
	got = append(got,
		ask("acme-token", strings.ReplaceAll(editor, " lastEditedAt", "")),
		ask("acme-token", strings.ReplaceAll(editor, "number:1", "number:2")),
		ask("acme-token", strings.ReplaceAll(editor, "shop", "none")),
		ask("acme-token", strings.ReplaceAll(editor, "login", "name")),
		ask(metadata, editor), ask("stranger", editor))
	want := []string{
		`200 {"data":{"repository":{"issue":{"editor":null,"lastEditedAt":null}}}}`,
		`200 {"data":{"repository":{"issue":{"editor":null,"lastEditedAt":null}}}}`,
		`200 {"data":{"repository":{"issue":{"editor":{"login":"acme"}}}}}`,
		`200 {"data":{"repository":{"issue":null}},"errors":[{"locations":null,"message":"Could not resolve to an Issue with the number of 2.","path":["repository","issue"],"type":"NOT_FOUND"}]}`,
		`200 {"data":{"repository":null},"errors":[{"locations":null,"message":"Could not resolve to a Repository with the name 'acme/none'.","path":["repository"],"type":"NOT_FOUND"}]}`,
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	for i, words := range []string{`Cannot query field \"name\"`, `"type":"FORBIDDEN"`, "401 "} {
		if said := got[len(want)+i]; !strings.Contains(said, words) {
			t.Errorf("%s is not said: %s", words, said)
		}
	}
}
