package fakegithub

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/test/fakes/github/browser"
)

func TestTheWholeStoryByPages(t *testing.T) {
	s := open(t, Options{})
	withPull(t, s)
	b := browser.New(t, s.URL())
	issue, pull := "/"+repo+"/issues/1", "/"+repo+"/pull/2"

	b.Has(b.Press(issue, "bug", nil), "added", `aria-pressed="true"`)
	b.Has(b.Press(issue, "bug", nil), "removed")
	b.Has(b.Press(issue, "Comment", map[string]string{"field.body": "**Important**\r\nnext line <b onclick=x>bold</b>\n\n[here](javascript:alert(1))"}),
		"<strong>Important</strong><br>\nnext line", `<a href="">here</a>`)
	b.Has(b.Press(issue, "Save", map[string]string{"field.title": "Total <wrong>", "field.body": "It's 1."}), "Total &lt;wrong&gt;")
	b.Has(b.Press(issue, "Close", nil), "closed this", "Reopen")
	b.Has(b.Press(issue, "Reopen", nil), "reopened this")

	b.Has(b.Press(pull, "Request changes", map[string]string{"field.body": "Say `why`."}), "requested changes", "<code>why</code>")
	b.Has(b.Press(pull, "Dismiss", nil), "dismissed a review")
	b.Has(b.Press(pull, "Approve", nil), "approved these changes")
	if n := b.Crawl(); n < 20 {
		t.Errorf("links lead to %d pages", n)
	}
	b.Has(b.Press(pull, "Merge", nil), "merged this with")
	_, page := b.Open(issue)
	b.Has(page, "closed this", "Fix total")
	b.Has(b.Press("/"+repo+"/branches", "Delete", nil), "main")
	b.Has(b.Press("/"+repo+"/issues", "Open an issue", map[string]string{"field.title": "Another"}), "#3 by acme")
	b.Crawl()
}

func TestWhatGitHubRefusesIsShown(t *testing.T) {
	s := open(t, Options{})
	withPull(t, s)
	if _, err := s.CreateUser("stranger"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPrivate(repo, false); err != nil {
		t.Fatal(err)
	}
	b := browser.New(t, s.URL())
	issue := "/" + repo + "/issues/1"
	b.Has(b.Press(issue, "Switch", map[string]string{"login": "stranger"}), "<option selected>stranger</option>")
	b.Has(b.Press(issue, "bug", nil), "Refused: 403 Must have admin rights to Repository.", "You act as stranger, who may not do that", `aria-pressed="false"`)
	b.Has(b.Press("/"+repo+"/pull/2", "Merge", nil), "Refused: 403")
	b.Has(b.Press(issue, "Comment", map[string]string{"field.body": " "}), "Refused: 422 Validation Failed: Body cannot be blank. Nothing was changed.")
	b.Has(b.Press("/"+repo+"/issues", "Open an issue", nil), "title is missing")
	b.Has(b.Press(issue, "Comment", map[string]string{"field.body": "Me too"}), "stranger</b> commented")
	for _, path := range []string{"/nobody", "/nobody/nothing", issue + "9", "/" + repo + "/blob/main/none", "/" + repo + "/commit/none", "/a/b/c/d/e/f"} {
		if status, page := b.Open(path); status != http.StatusNotFound || !strings.Contains(page, " nothing at <code>"+path+"</code>") {
			t.Errorf("%s answers %d", path, status)
		}
	}
}

// TestNumbersLeadOn: what a text calls #2 is a link to it, wherever a person would take it for one, and the address of
// an issue that is a pull request leads there.
func TestNumbersLeadOn(t *testing.T) {
	s := open(t, Options{})
	withPull(t, s)
	b := browser.New(t, s.URL())
	issue := "/" + repo + "/issues/1"
	page := b.Press(issue, "Comment", map[string]string{"field.body": "| | |\n|-|-|\n| Pull request | #2, merged |\n\n#2 #1\n\n(#1) x#1 #2a #3 `#1` [see #1](/y) &#35;1 @&#64;"})
	link := func(n int) string { return fmt.Sprintf(`<a href="/%s/issues/%d">#%d</a>`, repo, n, n) }
	b.Has(page, "<td>"+link(2)+", merged</td>", "("+link(1)+") x#1 #2a #3 <code>#1</code> <a href=\"/y\">see #1</a> #1 @@", link(2)+" "+link(1)+"</p>")
	if _, page := b.Open("/" + repo + "/issues/2"); !strings.Contains(page, "wants 1 commit merged") {
		t.Errorf("the number of a pull request among the issues shows %s", page)
	}
	if _, page := b.Open("/" + repo + "/pull/1"); !strings.Contains(page, "opened this issue") {
		t.Errorf("the number of an issue among the pull requests shows %s", page)
	}
}

// TestNobodyElseActsThroughABrowser: not a page of another origin, nor one whose name was pointed to this machine.
func TestNobodyElseActsThroughABrowser(t *testing.T) {
	s := open(t, Options{})
	withPull(t, s)
	form := url.Values{"call": {"PUT /repos/" + repo + "/pulls/2/merge"}, "back": {"//elsewhere.example/x"}}
	send := func(change func(*http.Request)) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/-/act", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(req)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	for name, change := range map[string]func(*http.Request){
		"another site":         func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another origin":       func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"a name of its own":    func(r *http.Request) { r.Host = "evil.example:80"; r.Header.Set("Origin", "http://evil.example:80") },
		"no call at all":       func(r *http.Request) { r.URL.Path = "/-/as" },
		"a method of the page": func(r *http.Request) { r.Method = http.MethodPatch },
	} {
		if resp := send(change); resp.StatusCode < 400 {
			t.Errorf("%s: answered %s", name, resp.Status)
		}
	}
	if is, err := s.Issue(repo, 2); err != nil || is.Pull.MergedAt != nil {
		t.Errorf("merged by somebody else: %v", err)
	}
	if resp := send(func(*http.Request) {}); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/x" {
		t.Errorf("our own form: %s, to %q", resp.Status, resp.Header.Get("Location"))
	}
}

// TestCommandsDoWhatFormsDo: what a page shows to be typed is understood by a shell, and means the same.
func TestCommandsDoWhatFormsDo(t *testing.T) {
	f := &frame{Base: "http://127.0.0.1:1", Path: "/", Login: "owner"}
	got, err := f.offer(action{
		Method: "PATCH", Path: "/repos/a/b/issues/1", Body: object{"state": "open"},
		Fields: []field{{Name: "title", Value: "It's <here> & $HOME"}, {Name: "body"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `curl -X PATCH -H 'Authorization: Bearer owner-token' http://127.0.0.1:1/repos/a/b/issues/1 -d '{"body":"…","state":"open","title":"It'\''s <here> & $HOME"}'`
	if got.Command != want {
		t.Errorf("got  %s\nwant %s", got.Command, want)
	}
}

func TestADiffIsRead(t *testing.T) {
	s := open(t, Options{})
	w := cloned(t, s, "acme-token")
	w.commit("odd", "a b/c d.txt", "one\ntwo")
	w.commit("odd", "bin", "\x00\x01")
	w.run("mv", "README.md", "READ ME.md")
	w.commit("odd", "a b/c d.txt", "one\n+three\n")
	var names []string
	for _, f := range readDiff(w.run("diff", "-M", "main", "odd")) {
		names = append(names, fmt.Sprintf("%s +%d -%d %s", f.Name, f.Added, f.Gone, f.Note))
	}
	want := []string{"README.md → READ ME.md +0 -0 ", "a b/c d.txt +2 -0 ", "bin +0 -0 A binary file."}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	b := browser.New(t, s.URL())
	_, page := b.Open("/" + repo + "/blob/odd/a%20b/c%20d.txt")
	b.Has(page, "three\n</pre>")
	b.Crawl()
}
