package github

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"
)

// A script answers calls in turn, each with "STATUS [LOCATION] BODY"; the last answer is repeated.
type script struct {
	mu      sync.Mutex
	answers []string
	calls   []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.calls = append(s.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), body)))
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	status, rest, _ := strings.Cut(answer, " ")
	if to, ok := strings.CutPrefix(rest, "to "); ok {
		w.Header().Set("Location", to)
		rest = ""
	}
	var code int
	_, _ = fmt.Sscan(status, &code)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, rest)
}

func (s *script) serve(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv
}

func TestRedirects(t *testing.T) {
	other := &script{answers: []string{`200 {}`}}
	elsewhere := other.serve(t).URL
	add := func(c *Client) error {
		_, _, err := c.Issues.AddLabelsToIssue(t.Context(), "acme", "old", 1, []string{"bug"})
		return err
	}
	remove := func(c *Client) error {
		_, err := c.Issues.RemoveLabelForIssue(t.Context(), "acme", "old", 1, "bug")
		return err
	}
	get := func(c *Client) error { _, _, err := c.Issues.Get(t.Context(), "acme", "old", 1); return err }
	const labels = "/repos/acme/old/issues/1/labels"
	for _, tt := range []struct {
		name    string
		call    func(*Client) error
		answers []string
		want    []string // calls, then the outcome
	}{
		{"307 of a renamed repository", add, []string{"307 to /repositories/7/issues/1/labels", "200 []"},
			[]string{`POST ` + labels + ` Bearer t ["bug"]`, `POST /repositories/7/issues/1/labels Bearer t ["bug"]`, "ok"}},
		{"308", remove, []string{"308 to /repositories/7/issues/1/labels/bug", "200 []"},
			[]string{`DELETE ` + labels + `/bug Bearer t`, `DELETE /repositories/7/issues/1/labels/bug Bearer t`, "ok"}},
		{"301 of a renamed repository", add, []string{"301 to /repositories/7/issues/1/labels", "200 []"},
			[]string{`POST ` + labels + ` Bearer t ["bug"]`, `POST /repositories/7/issues/1/labels Bearer t ["bug"]`, "ok"}},
		{"301 of a transferred issue: its labels are another repository's", add, []string{"301 to /repositories/8/issues/12/labels", "200 []"},
			[]string{`POST ` + labels + ` Bearer t ["bug"]`, "refused 301 github_moved"}},
		{"302 would make a GET of it", add, []string{"302 to " + labels, "200 []"}, []string{`POST ` + labels + ` Bearer t ["bug"]`, "refused 302 github_moved"}},
		{"303 as well", remove, []string{"303 to " + labels, "200 []"}, []string{`DELETE ` + labels + `/bug Bearer t`, "refused 303 github_moved"}},
		{"what is read may be anywhere on the host", get, []string{"301 to /repositories/8/issues/12", "302 to /x", `200 {"number":12}`},
			[]string{"GET /repos/acme/old/issues/1 Bearer t", "GET /repositories/8/issues/12 Bearer t", "GET /x Bearer t", "ok"}},
		{"no other host sees the credential", get, []string{"301 to " + elsewhere + "/x"}, []string{"GET /repos/acme/old/issues/1 Bearer t", "refused 301 github_moved"}},
		{"nor by a change", add, []string{"307 to " + elsewhere + "/x"}, []string{`POST ` + labels + ` Bearer t ["bug"]`, "refused 307 github_moved"}},
		{"nowhere", add, []string{"301 {}"}, []string{`POST ` + labels + ` Bearer t ["bug"]`, "refused 301 github_moved"}},
		{"in a circle", get, []string{"301 to /a"}, []string{"GET /repos/acme/old/issues/1 Bearer t", "GET /a Bearer t", "GET /a Bearer t", "GET /a Bearer t",
			"GET /a Bearer t", "GET /a Bearer t", "refused 301 github_moved"}},
	} {
		s := &script{answers: tt.answers}
		cs, err := Open(Config{URL: s.serve(t).URL, Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		end := "ok"
		if err := tt.call(cs.plain); err != nil {
			end = outcome(ClassifyError(err, time.Now()), time.Now())
		}
		if diff := cmp.Diff(tt.want, append(s.calls, end)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if len(other.calls) > 0 {
		t.Errorf("another host was asked: %q", other.calls)
	}
}

// TestANewTokenIsTriedBeforeARefusalIsBelieved: GitHub does not know a new token everywhere at once, and an old one
// lacks what was granted since.
func TestANewTokenIsTriedBeforeARefusalIsBelieved(t *testing.T) {
	const bad, forbidden, missing, ok = `401 {"message":"Bad credentials"}`, `403 {"message":"Resource not accessible by integration"}`, `404 {"message":"Not Found"}`, `200 {"number":1}`
	for _, tt := range []struct {
		name    string
		age     time.Duration // of the token in use
		worked  bool
		answers []string
		calls   int
		want    string
	}{
		{"a token that is too new", 0, false, []string{bad, ok}, 2, "ok"},
		{"and still is", 0, false, []string{bad, bad, bad, ok}, 4, "ok"},
		{"a key that is wrong", 0, false, []string{bad}, 4, "again"},
		{"a token from before a permission", time.Hour / 2, false, []string{forbidden, ok}, 2, "ok"},
		{"a token from before a repository was added", time.Hour / 2, false, []string{missing, ok}, 2, "ok"},
		{"a new one that GitHub does not find yet", 0, false, []string{missing, ok}, 2, "ok"},
		{"what is gone is gone", 0, false, []string{missing}, 2, "refused 404 github_gone"},
		{"a permission that is missing", time.Hour / 2, false, []string{forbidden}, 2, "refused 403"},
		{"a token that has been good", 30 * time.Second, false, []string{missing}, 1, "refused 404 github_gone"},
		{"what is gone for a new token that has worked", 0, true, []string{missing}, 1, "refused 404 github_gone"},
		{"what an old one that has worked may not", time.Hour / 2, true, []string{forbidden, ok}, 2, "ok"},
		{"one that has worked and is withdrawn", 0, true, []string{bad, ok}, 2, "ok"},
		{"words about the thing", 0, false, []string{`404 {"message":"Label does not exist"}`}, 1, "refused 404 github_gone"},
		{"a limit", 0, false, []string{`403 {"message":"You have exceeded a secondary rate limit"}`}, 1, "later 1m0s (secondary, guessed)"},
		{"a page", 0, false, []string{`404 <html>`}, 1, "refused 404 github_gone"},
	} {
		s := &script{answers: tt.answers}
		app := newAppServer(t)
		app.answer = s
		cs := openApp(t, app.URL)
		c, err := cs.For(t.Context(), "acme/api")
		if err != nil {
			t.Fatal(err)
		}
		tr := c.Client.Client().Transport.(*installation)
		tr.pauses = []time.Duration{0, 0, 0}
		if _, _, _, err := tr.token(nil); err != nil {
			t.Fatal(err)
		}
		tr.since, tr.worked = time.Now().Add(-tt.age), tt.worked
		end := "ok"
		if _, _, err := c.Issues.Edit(t.Context(), "acme", "api", 1, &gh.IssueRequest{Title: gh.String("x")}); err != nil {
			end = outcome(ClassifyError(err, time.Now()), time.Now())
		}
		if end != tt.want || len(s.calls) != tt.calls {
			t.Errorf("%s: %s after %q, want %s after %d calls", tt.name, end, s.calls, tt.want, tt.calls)
		}
		if _, _, worked, err := tr.token(nil); err != nil || worked != (end == "ok" || tt.worked && tt.calls == 1) {
			t.Errorf("%s: the token counts as one that has worked: %t, %v", tt.name, worked, err)
		}
		for i, call := range s.calls {
			if want := fmt.Sprintf(`PATCH /repos/acme/api/issues/1 token ghs_%d {"title":"x"}`, i+1); call != want {
				t.Errorf("%s: call %q, want %q", tt.name, call, want)
			}
		}
	}
}
