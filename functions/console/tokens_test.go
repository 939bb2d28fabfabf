package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/test/local/pg/pgtest"
)

// token is one that somebody makes.
func (f *fixture) token(login, body string) api.Token {
	f.Helper()
	p := f.as(login)
	resp, err := p.client.Post(f.server.URL+"/v1/me/tokens", "application/json", strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	var made api.Token
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated || made.Secret == "" {
		f.Fatalf("making a token: %d %+v %v", resp.StatusCode, made, err)
	}
	return made
}

// by sends a request as a program does.
func (f *fixture) by(token, method, path, body string) (status int, said string) {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, f.server.URL+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "k")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestATokenDoesWhatItsScopesSay, in its projects, and makes no other tokens.
func TestATokenDoesWhatItsScopesSay(t *testing.T) {
	f := setup(t)
	r := f.ask(runC, "shop", nil)
	read := f.token("mary", `{"name": "reader", "scopes": ["read"]}`).Secret
	runs := f.token("mary", `{"name": "runner", "scopes": ["runs"]}`).Secret
	votes := f.token("mary", `{"name": "voter", "scopes": ["approve"]}`).Secret
	owner := f.token("olga", `{"name": "api only", "scopes": ["read", "runs"], "projects": ["api"]}`).Secret
	vote := `{"choice": "approve", "digest": "` + r.Digest + `"}`
	for _, c := range []struct {
		token, request, body string
		want                 int
	}{
		{read, "GET /v1/me", "", 200}, {read, "GET /v1/runs/" + runA, "", 200}, {read, "GET /v1/runs/" + theirs, "", 404},
		{read, "POST /v1/runs/" + runB + "/cancel?dry_run=true", "", 403}, {read, "POST /v1/approvals/" + r.ID + "/votes?dry_run=true", vote, 403},
		{runs, "POST /v1/runs/" + runB + "/cancel?dry_run=true", "", 200}, {runs, "GET /v1/runs", "", 403},
		{votes, "POST /v1/approvals/" + r.ID + "/votes?dry_run=true", vote, 200}, {votes, "GET /v1/approvals", "", 403},
		{owner, "GET /v1/runs/" + theirs, "", 200}, {owner, "GET /v1/runs/" + runA, "", 404}, {owner, "POST /v1/runs/" + runB + "/cancel", "", 404},
		{read, "GET /v1/me/tokens", "", 403}, {read, "POST /v1/me/tokens", `{"name": "x", "scopes": ["runs"]}`, 403},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		if status, said := f.by(c.token, method, path, c.body); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.request, status, said, c.want)
		}
	}
	if status, _ := f.by(read, http.MethodGet, "/runs", ""); status != http.StatusOK { // the page to sign in: pages know no tokens
		t.Errorf("a page by a token: %d", status)
	}
	if used := pgtest.One[int](f.sql, `SELECT count(*)::int FROM console_tokens WHERE used_at IS NOT NULL`); used != 4 {
		t.Errorf("%d tokens count as used", used)
	}
	if kept := pgtest.One[int](f.sql, `SELECT count(*)::int FROM console_tokens t WHERE position($1 in t::text) > 0`, read[4:]); kept != 0 {
		t.Error("a token is kept as it is")
	}
}

// TestATokenDies: by its end, when it is revoked, and with the rights of its person, each at once.
func TestATokenDies(t *testing.T) {
	f := setup(t)
	made := f.token("mary", `{"name": "one", "scopes": ["read", "runs"], "days": 1}`)
	is := func(what string, want int) {
		t.Helper()
		if status, said := f.by(made.Secret, http.MethodPost, "/v1/runs/"+runB+"/cancel?dry_run=true", ""); status != want {
			t.Errorf("%s: %d %s, want %d", what, status, said, want)
		}
	}
	is("made", 200)
	f.sql.Do(`UPDATE members SET role = 'reader' WHERE login = 'mary'`)
	is("of a reader by now", 403)
	f.sql.Do(`UPDATE members SET role = 'maintainer' WHERE login = 'mary'`)
	is("of a maintainer again", 200)
	f.db.SetClock(func() time.Time { return time.Now().Add(25 * time.Hour) })
	is("after its end", 401)
	f.db.SetClock(time.Now)
	paul := f.as("paul")
	for p, want := range map[*person]int{paul: http.StatusNotFound, f.as("mary"): http.StatusNoContent} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodDelete, f.server.URL+"/v1/me/tokens/"+made.Id, http.NoBody)
		resp, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("revoking: %d, want %d", resp.StatusCode, want)
		}
	}
	is("revoked", 401)
	for _, bad := range []string{"", "cxk_", made.Secret[:len(made.Secret)-1], made.Secret + "0", newToken(), strings.Repeat("a", 5000)} {
		if status, _ := f.by(bad, http.MethodGet, "/v1/me", ""); status != http.StatusUnauthorized {
			t.Errorf("by %.20q: %d", bad, status)
		}
	}
	if got := pgtest.One[string](f.sql, `SELECT string_agg(action, ' ' ORDER BY seq) FROM audit WHERE action LIKE 'token.%'`); got != "token.made token.revoked" {
		t.Errorf("the audit has %q", got)
	}
}

// TestTokensThatAreNotMade: each is told why.
func TestTokensThatAreNotMade(t *testing.T) {
	f := setup(t)
	f.token("mary", `{"name": "one", "scopes": ["read"]}`)
	mary := f.as("mary")
	for body, want := range map[string]int{
		`{"name": "one", "scopes": ["read"]}`: 422, `{"name": "", "scopes": ["read"]}`: 400, `{"name": "two", "scopes": []}`: 400, `{"name": "two", "scopes": ["all"]}`: 400,
		`{"name": "two", "scopes": ["read"], "projects": ["api"]}`: 400, `{"name": "two", "scopes": ["read"], "days": 400}`: 400, `{"name": "two", "scopes": ["read"], "days": -1}`: 400, `{`: 400,
	} {
		if status, _, p, _ := mary.command("/v1/me/tokens", body); status != want {
			t.Errorf("%s: %d %v, want %d", body, status, p, want)
		}
	}
	status, said := mary.post("/tokens", "name=two&scope=read&scope=runs&days=7")
	if status != http.StatusOK || !strings.Contains(said, `id="secret">cxk_`) {
		t.Errorf("by the page: %d", status)
	}
	if status, said := mary.post("/tokens", "name=two&scope=read"); status != http.StatusUnprocessableEntity || !strings.Contains(said, "Another token has this name") {
		t.Errorf("a second of that name: %d", status)
	}
}

// post sends a form.
func (p *person) post(path, form string) (status int, said string) {
	p.Helper()
	resp, err := p.client.Post(p.f.server.URL+path, "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp.StatusCode, string(data)
}
