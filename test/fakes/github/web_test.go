package fakegithub

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestBrowserSeesTheConversation(t *testing.T) {
	s := open(t, Options{})
	if _, err := s.CreateIssue(repo, "Total <wrong>", "", "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Comment(repo, 1, "Run started", "acme"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "acme: create repository acme/shop", "/" + repo: "#1 Total &lt;wrong&gt;", "/" + repo + "/issues/1": "Run started", "/nobody/nothing": "no such page",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html,application/xhtml+xml")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s shows %q, %v; want %q in it", path, body, err, want)
		}
	}
}
