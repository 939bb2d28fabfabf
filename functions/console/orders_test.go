package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"codexk8s.dev/test/local/pg/pgtest"
)

// TestARunIsStoppedInTwoClicks: the first shows what would come of it.
func TestARunIsStoppedInTwoClicks(t *testing.T) {
	f := setup(t)
	f.route()
	b := f.browser()
	b.signIn("mary")
	b.look("/runs/"+runB, "en", "light", 390)
	b.do(chromedp.Click(chromedp.CSS(`a[href$="/cancel"]`)), chromedp.WaitVisible(chromedp.CSS("button.danger")))
	if said := evaluate[string](b, `document.querySelector("main").innerText`); !strings.Contains(said, "The run is stopped.") {
		t.Errorf("before: %s", said)
	}
	b.do(chromedp.Click(chromedp.CSS("button.danger")), chromedp.WaitVisible(chromedp.CSS(".runhead")))
	if said := evaluate[string](b, `document.querySelector(".runhead").innerText`); !strings.Contains(said, "Stopped by @mary.") {
		t.Errorf("after: %s", said)
	}
	if wrong := b.faults(); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
}

// TestAStaleOrderIsShownAnew: what somebody else has done meanwhile is told, and what was written stays.
func TestAStaleOrderIsShownAnew(t *testing.T) {
	f := setup(t)
	f.route()
	mary := f.as("mary")
	f.sql.Do(`UPDATE runs SET state = 'cancelled', finished_at = now() WHERE id = $1`, runB)
	for path, form := range map[string]url.Values{
		"/runs/" + runB + "/cancel":          {"key": {"a"}, "etag": {"0123456-0123456789abcdef"}},
		"/runs/" + runA + "/revise":          {"key": {"b"}, "etag": {"0123456-0123456789abcdef"}, "text": {"what I wrote"}},
		"/issues/acme/shop/15/start":         {"key": {"c"}, "label": {"run:dev"}},
		"/issues/acme/shop/15/drop":          {"key": {"d"}},
		"/issues/acme/shop/15/release?x=y":   {"key": {"e"}},
		"/issues/acme/shop/0/release":        {"key": {"f"}},
		"/issues/acme/shop/4294967299/start": {"key": {"g"}},
	} {
		resp, err := mary.client.PostForm(f.server.URL+path, form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusPreconditionFailed && resp.StatusCode != http.StatusUnprocessableEntity && resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events`); n != 0 {
		t.Errorf("%d commands are stored", n)
	}
}
