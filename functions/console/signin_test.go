package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/test/local/pg/pgtest"
)

// TestASignInIsOneBrowsers: what GitHub sends one browser back with opens nothing in another, and opens once.
func TestASignInIsOneBrowsers(t *testing.T) {
	f := setup(t)
	mary, eve := f.visitor(), f.visitor()
	back := mary.signIn("mary")
	eve.signIn("eve")
	if status, _ := eve.get(back); status != http.StatusBadRequest {
		t.Errorf("in another browser: %d", status)
	}
	if status, _ := f.visitor().get(back); status != http.StatusBadRequest {
		t.Errorf("in a browser that began nothing: %d", status)
	}
	if status, body := mary.get(back); status != http.StatusOK || !strings.Contains(body, "mary") {
		t.Errorf("in its own: %d", status)
	}
	if status, _ := mary.get(back); status != http.StatusBadRequest {
		t.Errorf("again: %d", status)
	}
	late := f.visitor()
	back = late.signIn("mary")
	f.sql.Do(`UPDATE console_logins SET begun_at = begun_at - interval '11 minutes'`)
	if status, _ := late.get(back); status != http.StatusBadRequest {
		t.Errorf("too late: %d", status)
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM console_sessions`); n != 1 {
		t.Errorf("%d sessions were opened, want mary's", n)
	}
}

// TestASessionIsNotPlanted: signing in gives a value that the browser did not have before, and ends what it had.
func TestASessionIsNotPlanted(t *testing.T) {
	f := setup(t)
	p := f.as("mary")
	site, _ := url.Parse(f.server.URL)
	before := p.client.Jar.Cookies(site)
	if status, _ := p.get(p.signIn("rita")); status != http.StatusOK {
		t.Fatalf("signing in as another: %d", status)
	}
	old := f.visitor()
	old.client.Jar.SetCookies(site, before)
	if status, _ := old.get("/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("the session before: %d", status)
	}
	planted := f.visitor()
	planted.client.Jar.SetCookies(site, []*http.Cookie{{Name: sessionCookie, Value: "planted"}})
	if status, _ := planted.get(planted.signIn("mary")); status != http.StatusOK {
		t.Fatalf("signing in with a planted cookie: %d", status)
	}
	if c := planted.client.Jar.Cookies(site); len(c) != 1 || c[0].Value == "planted" {
		t.Errorf("the planted cookie stays: %v", c)
	}
	second := f.visitor()
	second.client.Jar.SetCookies(site, planted.client.Jar.Cookies(site))
	if status, _ := second.get("/v1/me"); status != http.StatusOK {
		t.Fatal("a copy of the cookie is another session")
	}
	if resp, err := planted.client.Post(f.server.URL+"/logout", "", nil); err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	if status, _ := second.get("/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("after signing out elsewhere: %d", status)
	}
}

func TestASessionEnds(t *testing.T) {
	f := setup(t)
	p := f.as("mary")
	f.db.SetClock(func() time.Time { return time.Now().Add(sessionLife + time.Minute) })
	if status, _ := p.get("/v1/me"); status != http.StatusUnauthorized {
		t.Errorf("after its time: %d", status)
	}
}

// TestWhereASignInLeads: to a page of ours, whatever the address says.
func TestWhereASignInLeads(t *testing.T) {
	f := setup(t)
	for to, want := range map[string]string{
		"/runs": "/runs", "/runs?q=state:failed": "/runs?q=state:failed", "/runs/" + runA + "?from=3": "/runs/" + runA + "?from=3", "/": "/",
		"": "/", "runs": "/", "//evil.example": "/", `/\evil.example`: "/", "/\t/evil.example": "/", "/%09/evil.example": "/", "/%5cevil.example": "/", "/%2f/evil.example": "/",
		"https://evil.example/runs": "/", "javascript:alert(1)": "/", "///evil.example": "/", "/runs\r\nSet-Cookie: a=b": "/", "/login": "/", "/logout": "/", "/v1/me": "/",
		"/static/x.js": "/", "/nothing": "/", "@evil.example": "/", "/@evil.example": "/", "/.evil.example": "/", "http:/runs": "/", "/runs/../../evil": "/", "／／evil.example": "/",
		"/" + strings.Repeat("a", 4096): "/", "\\\\evil": "/", "/;@evil.example": "/", "?to=//evil": "/", "#//evil": "/", "//evil.example/..": "/", "/\u2028/evil": "/",
	} {
		if got := f.h.within(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

// TestOtherSitesDoNothing: what a browser sends because another site told it to is turned away.
func TestOtherSitesDoNothing(t *testing.T) {
	f := setup(t)
	p := f.as("mary")
	for name, c := range map[string]struct {
		header map[string]string
		want   int
	}{
		"a form of ours":            {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": f.server.URL}, http.StatusSeeOther},
		"a program":                 {nil, http.StatusSeeOther},
		"another site":              {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, http.StatusForbidden},
		"another host of ours":      {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, http.StatusForbidden},
		"an old browser":            {map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
		"an origin with a userinfo": {map[string]string{"Origin": strings.Replace(f.server.URL, "//", "//evil@", 1)}, http.StatusForbidden},
		"an opaque origin":          {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "null"}, http.StatusForbidden},
		"another scheme":            {map[string]string{"Origin": strings.Replace(f.server.URL, "http:", "https:", 1)}, http.StatusForbidden},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+"/language", strings.NewReader("language=ru&to=/runs"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range c.header {
			req.Header.Set(name, value)
		}
		p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, c.want)
		}
	}
}

func TestWhereTheConsoleMayBe(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "https://console.example.com": true, "https://console.example.com/": true, "http://localhost:8107": true, "http://127.0.0.1:8107": true, "http://[::1]:1": true,
		"http://console.example.com": false, "console.example.com": false, "https://x/console": false, "ftp://localhost": false, "https://u:p@x": false, "https://x?y": false,
	} {
		if _, err := newGate(address, "https://api.github.com", "id", "secret"); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
	for api, want := range map[string]string{"https://api.github.com": "https://github.com", "https://git.example.com/api/v3/": "https://git.example.com", "http://127.0.0.1:8101/api/v3/": "http://127.0.0.1:8101"} {
		if got := webOf(api); got != want {
			t.Errorf("%s is of %s, want %s", api, got, want)
		}
	}
}
