package pull

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/github"
)

// TestThePullRequestOfTheBranchIsFoundOnAnyPage, and that of a fork, whose branch may have any name, is never taken for it:
// GitHub ignores a head that it cannot read, and lists them all.
func TestThePullRequestOfTheBranchIsFoundOnAnyPage(t *testing.T) {
	const branch = "codexk8s/issue-1"
	pull := func(number int, ref, head string) string {
		return fmt.Sprintf(`{"number":%d,"head":{"ref":%q,"repo":%s},"base":{"ref":"main","repo":{"id":77}}}`, number, ref, head)
	}
	pages := []string{
		"[" + pull(1, branch, `{"id":88}`) + "," + pull(2, branch, `null`) + "," + strings.Repeat(pull(3, "other", `{"id":77}`)+",", 97) + pull(4, "other", `{"id":77}`) + "]",
		"[" + pull(5, branch, `{"id":77}`) + "]",
	}
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "2" {
			_, _ = w.Write([]byte(pages[1]))
			return
		}
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=2>; rel="next"`, r.Host, r.URL.Path))
		_, _ = w.Write([]byte(pages[0]))
	}))
	t.Cleanup(hub.Close)
	clients, err := github.Open(github.Config{URL: hub.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	p := &Requests{owner: "acme", name: "demo", retryFor: time.Minute}
	if p.client, err = clients.For(t.Context(), "acme/demo"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{5, 0} {
		found, err := p.Find(t.Context(), branch)
		if err != nil || found.GetNumber() != want {
			t.Errorf("found #%d (%v), want #%d", found.GetNumber(), err, want)
		}
		pages[1] = "[]"
	}
}
