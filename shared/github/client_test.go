package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	gh "github.com/google/go-github/v66/github"
)

var appKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

// appServer is the part of GitHub that a GitHub App's credentials need. It notes each call.
type appServer struct {
	*httptest.Server
	mu           sync.Mutex
	calls        []string
	installation int  // the current one of acme/*
	gone         bool // the App was removed
	tokens       int
}

func newAppServer(t *testing.T) *appServer {
	s := &appServer{installation: 41}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/acme/{repo}/installation", func(w http.ResponseWriter, r *http.Request) {
		if s.gone {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"id":%d}`, s.installation)
	})
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != fmt.Sprint(s.installation) {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		s.tokens++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"ghs_%d","expires_at":%q}`, s.tokens, time.Now().Add(time.Hour).Format(time.RFC3339))
	})
	mux.HandleFunc("GET /repos/acme/{repo}/issues/{number}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"number":%s}`, r.PathValue("number"))
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.Count(credential, ".") == 2 {
			credential = "jwt"
		}
		body, _ := io.ReadAll(r.Body)
		s.calls = append(s.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, scheme, credential, strings.TrimSpace(string(body)))))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *appServer) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func openApp(t *testing.T, url string) *Clients {
	t.Helper()
	cs, err := Open(Config{URL: url, AppID: 7, AppKey: appKey()})
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

func getIssue(ctx context.Context, cs *Clients, repository string) error {
	c, err := cs.For(ctx, repository)
	if err != nil {
		return err
	}
	owner, name, _ := strings.Cut(repository, "/")
	_, _, err = c.Issues.Get(ctx, owner, name, 1)
	return Sort(err, time.Now())
}

func TestAppLooksUpTheInstallationOnceAndReusesItsToken(t *testing.T) {
	s := newAppServer(t)
	cs := openApp(t, s.URL)
	for _, repository := range []string{"acme/api", "Acme/API", "acme/api", "acme/web"} {
		if err := getIssue(t.Context(), cs, strings.ToLower(repository)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"GET /repos/acme/api/installation Bearer jwt",
		"POST /app/installations/41/access_tokens Bearer jwt null",
		"GET /repos/acme/api/issues/1 token ghs_1",
		"GET /repos/acme/api/issues/1 token ghs_1",
		"GET /repos/acme/api/issues/1 token ghs_1",
		"GET /repos/acme/web/installation Bearer jwt",
		"GET /repos/acme/web/issues/1 token ghs_1",
	}
	if diff := cmp.Diff(want, s.took()); diff != "" {
		t.Error(diff)
	}
	c, err := cs.For(t.Context(), "acme/api")
	if err != nil || c.Credential != "installation:41" {
		t.Errorf("credential %q, %v", c.Credential, err)
	}
}

func TestAppThatWasInstalledAnewIsFoundAgain(t *testing.T) {
	s := newAppServer(t)
	cs := openApp(t, s.URL)
	if _, err := cs.For(t.Context(), "acme/api"); err != nil {
		t.Fatal(err)
	}
	s.installation = 42
	err := getIssue(t.Context(), cs, "acme/api")
	var refused *Refused
	if !errors.Is(err, errStaleInstallation) || errors.As(err, &refused) {
		t.Fatalf("first call: %v, want a temporary error", err)
	}
	if err := getIssue(t.Context(), cs, "acme/api"); err != nil {
		t.Fatalf("second call: %v", err)
	}
	s.gone, s.installation = true, 43
	cs.forget(42)
	if err := getIssue(t.Context(), cs, "acme/api"); !Gone(err) {
		t.Fatalf("after the App was removed: %v, want gone", err)
	}
}

func TestTokenIsForOneRepositoryWithTheLeastPermissions(t *testing.T) {
	s := newAppServer(t)
	cs := openApp(t, s.URL)
	got, err := cs.Token(t.Context(), "acme/api", AgentPermissions())
	if err != nil {
		t.Fatal(err)
	}
	want := Token{Value: "ghs_1", Expires: time.Now().Add(time.Hour)}
	if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(5*time.Second)); diff != "" {
		t.Error(diff)
	}
	calls := s.took()
	const prefix = "POST /app/installations/41/access_tokens Bearer jwt "
	asked, ok := strings.CutPrefix(calls[len(calls)-1], prefix)
	var options map[string]any
	if !ok || json.Unmarshal([]byte(asked), &options) != nil {
		t.Fatalf("calls %q", calls)
	}
	wantOptions := map[string]any{
		"repositories": []any{"api"},
		"permissions":  map[string]any{"contents": "write", "pull_requests": "write", "issues": "read", "metadata": "read"},
	}
	if diff := cmp.Diff(wantOptions, options); diff != "" {
		t.Error(diff)
	}
}

func TestPlainToken(t *testing.T) {
	s := newAppServer(t)
	cs, err := Open(Config{URL: s.URL + "/", Token: "ghp_secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := getIssue(t.Context(), cs, "acme/api"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GET /repos/acme/api/issues/1 Bearer ghp_secret"}, s.took()); diff != "" {
		t.Error(diff)
	}
	c, _ := cs.For(t.Context(), "acme/api")
	if strings.Contains(c.Credential, "secret") || !strings.HasPrefix(c.Credential, "token:") {
		t.Errorf("credential's name %q", c.Credential)
	}
	if got, err := cs.Token(t.Context(), "acme/api", AgentPermissions()); err != nil || got.Value != "ghp_secret" {
		t.Errorf("Token = %v, %v", got.Expires, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no credential": {},
		"no URL":        {URL: "api.github.com", Token: "x"},
		"other scheme":  {URL: "ftp://api.github.com", Token: "x"},
		"bad key":       {AppID: 1, AppKey: []byte("nonsense")},
	} {
		if _, err := Open(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSort(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	reset := fmt.Sprint(now.Add(30 * time.Minute).Unix())
	type outcome struct {
		Kind      string
		Until     time.Duration
		Secondary bool
		Status    int
	}
	for _, tt := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   outcome
	}{
		{"primary", 403, map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, `{}`, outcome{"limited", 30 * time.Minute, false, 0}},
		{"primary as 429", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, `{}`, outcome{"limited", 30 * time.Minute, false, 0}},
		{"primary without reset", 403, map[string]string{"X-RateLimit-Remaining": "0"}, `{}`, outcome{"limited", time.Minute, false, 0}},
		{"secondary", 403, map[string]string{"Retry-After": "20"}, `{"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`, outcome{"limited", 20 * time.Second, true, 0}},
		{"secondary without a time", 403, nil, `{"documentation_url":"https://docs.github.com/x/secondary-rate-limits"}`, outcome{"limited", time.Minute, true, 0}},
		{"secondary told by the header alone", 403, map[string]string{"Retry-After": "20"}, `{}`, outcome{"limited", 20 * time.Second, true, 0}},
		{"secondary told by the message alone", 403, nil, `{"message":"You have exceeded a secondary rate limit"}`, outcome{"limited", time.Minute, true, 0}},
		{"secondary as 429", 429, map[string]string{"Retry-After": "20"}, `{}`, outcome{"limited", 20 * time.Second, true, 0}},
		{"429 that says nothing", 429, nil, ``, outcome{"limited", time.Minute, true, 0}},
		{"forbidden", 403, nil, `{"message":"Resource not accessible by integration"}`, outcome{"refused", 0, false, 403}},
		{"not found", 404, nil, `{"message":"Not Found"}`, outcome{"refused", 0, false, 404}},
		{"gone", 410, nil, `{}`, outcome{"refused", 0, false, 410}},
		{"unprocessable", 422, nil, `{"message":"Validation Failed"}`, outcome{"refused", 0, false, 422}},
		{"bad credentials are mended by a person", 401, nil, `{"message":"Bad credentials"}`, outcome{Kind: "temporary"}},
		{"server error", 502, nil, `<html>`, outcome{Kind: "temporary"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			cs, err := Open(Config{URL: srv.URL, Token: "x"})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = cs.plain.Issues.CreateComment(t.Context(), "a", "b", 1, &gh.IssueComment{Body: gh.String("x")})
			sorted := Sort(Sort(err, now), now)
			got := outcome{Kind: "temporary"}
			var limited *RateLimited
			var refused *Refused
			switch {
			case errors.As(sorted, &limited):
				got = outcome{"limited", limited.Until.Sub(now).Round(time.Second), limited.Secondary, 0}
			case errors.As(sorted, &refused):
				got = outcome{"refused", 0, false, refused.Status}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%v\n%s", sorted, diff)
			}
		})
	}
	if Sort(nil, now) != nil {
		t.Error("nil must stay nil")
	}
}
