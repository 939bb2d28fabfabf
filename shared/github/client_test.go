package github

import (
	"bytes"
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
	answer       http.Handler // of what is asked with an installation's token; nil for the usual
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
		if s.answer != nil && scheme == "token" {
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.answer.ServeHTTP(w, r)
			return
		}
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
	return ClassifyError(err, time.Now())
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
	got, err := cs.Token(t.Context(), "acme/api", 77, AgentPermissions())
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
		"repository_ids": []any{77.0}, // GitHub refuses an old name
		"permissions":    map[string]any{"contents": "write", "pull_requests": "write", "issues": "read", "metadata": "read"},
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
	if got, err := cs.Token(t.Context(), "acme/api", 77, AgentPermissions()); err != nil || got.Value != "ghp_secret" {
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

// A key comes through files and variables that do things to its line ends.
func TestAnAppsKeyMayHaveLostItsLines(t *testing.T) {
	key := string(appKey())
	for name, form := range map[string]string{
		"as it is":                  key,
		"without the last line end": strings.TrimSpace(key),
		"of Windows":                strings.ReplaceAll(key, "\n", "\r\n"),
		"line ends written out":     strings.ReplaceAll(key, "\n", `\n`),
		"blanks for line ends":      strings.ReplaceAll(key, "\n", " "),
	} {
		if _, err := Open(Config{AppID: 7, AppKey: []byte(form)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
