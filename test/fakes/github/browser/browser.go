// Package browser plays a person with a browser, for tests of pages: it opens them, follows their links and sends their
// forms, and keeps cookies. It runs no scripts, so what a test plays works without them.
package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Browser belongs to one test, which it fails when a page can't be had.
type Browser struct {
	t    *testing.T
	base string
	http *http.Client
}

// New opens a browser without cookies on the server at a URL without a slash at its end.
func New(t *testing.T, base string) Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Browser{t, base, &http.Client{Jar: jar}}
}

// Open answers the status and the body of a page.
func (b Browser) Open(path string) (int, string) {
	b.t.Helper()
	resp, err := b.http.Get(b.base + path)
	return b.read(resp, err)
}

func (b Browser) read(resp *http.Response, err error) (int, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Press sends the form of a page whose button has this name, with what a person fills in, and answers the page that
// follows.
func (b Browser) Press(path, button string, fill map[string]string) string {
	b.t.Helper()
	_, page := b.Open(path)
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		b.t.Fatal(err)
	}
	for form := range elements(root, "form") {
		if !slices.ContainsFunc(slices.Collect(elements(form, "button")), func(n *html.Node) bool { return text(n) == button }) {
			continue
		}
		values := url.Values{}
		for input := range elements(form, "input") {
			values.Set(attribute(input, "name"), attribute(input, "value"))
		}
		for area := range elements(form, "textarea") {
			values.Set(attribute(area, "name"), text(area))
		}
		for name, value := range fill {
			values.Set(name, value)
		}
		status, next := b.read(b.http.PostForm(b.base+attribute(form, "action"), values))
		if status != http.StatusOK {
			b.t.Fatalf("%s on %s: %d %s", button, path, status, next)
		}
		return next
	}
	b.t.Fatalf("%s has no button %q:\n%s", path, button, page)
	return ""
}

func elements(root *html.Node, name string) func(func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		for n := range root.Descendants() {
			if n.Type == html.ElementNode && n.Data == name && !yield(n) {
				return
			}
		}
	}
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// Crawl opens every page that links lead to, from the first one on, and answers how many there are.
func (b Browser) Crawl() int {
	b.t.Helper()
	seen, next := map[string]bool{"/": true}, []string{"/"}
	for len(next) > 0 {
		path := next[0]
		next = next[1:]
		status, page := b.Open(path)
		if status != http.StatusOK {
			b.t.Errorf("%s answers %d", path, status)
		}
		root, err := html.Parse(strings.NewReader(page))
		if err != nil {
			b.t.Fatal(err)
		}
		for n := range root.Descendants() {
			to := attribute(n, "href") + attribute(n, "src")
			to, anchor, _ := strings.Cut(to, "#")
			if to == "" && anchor != "" && !strings.Contains(page, fmt.Sprintf("id=%q", anchor)) {
				b.t.Errorf("%s links to #%s, which it lacks", path, anchor)
			}
			if strings.HasPrefix(to, "/") && !seen[to] {
				seen[to] = true
				next = append(next, to)
			}
		}
	}
	return len(seen)
}

// Has fails the test for each text that a page lacks.
func (b Browser) Has(page string, wants ...string) {
	b.t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			b.t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}
