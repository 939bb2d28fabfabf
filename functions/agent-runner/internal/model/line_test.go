package model

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codexk8s.dev/shared/llm"
	fakemodel "codexk8s.dev/test/fakes/model"
)

// "Retry-After: 0" is no invitation to call without end, and the wait has an end.
func TestNoWaitAtAllIsNotBelieved(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		rw.Header().Set("Retry-After", "0")
		rw.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(rw, `{"error":{"message":"It is so.","type":"x","param":null,"code":"rate_limit_exceeded"}}`)
	}))
	defer s.Close()
	l, err := NewLine(s.URL, s.URL, "token", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: l}).Post(s.URL+"/responses", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 429 || calls.Load() > 8 || calls.Load() < 2 {
		t.Errorf("%s after %d calls", res.Status, calls.Load())
	}
	if failure, since, answered := l.State(); failure == nil || failure.Code != "rate_limit_exceeded" || since.IsZero() || answered != 0 {
		t.Errorf("the line's state is %v, %v, %d", failure, since, answered)
	}
}

// The line opens the model's endpoints to who has its key, with the token added, and nothing else.
func TestTheLineOpensTheModelOnly(t *testing.T) {
	t.Parallel()
	const token = "run-token-for-tests-0123456789"
	s := httptest.NewServer(fakemodel.New(fakemodel.Options{Keys: []string{token}}))
	defer s.Close()
	l, err := NewLine(s.URL+"/v1", s.URL, token, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	address, key, shut, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, key string) int {
		req, err := http.NewRequest(method, address+path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		defer func() { _ = res.Body.Close() }()
		if body, err := io.ReadAll(res.Body); err != nil || strings.Contains(string(body), token) {
			t.Errorf("%s %s: %v, %q", method, path, err, body)
		}
		return res.StatusCode
	}
	for _, c := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/models", key, 200},
		{"GET", "/models", "", 401},
		{"GET", "/models", token, 401},
		{"GET", "/models", key[:len(key)-1] + "x", 401},
		{"GET", "/", key, 404},
		{"DELETE", "/models", key, 405},
		{"GET", "/files", key, 404},
		{"GET", "/../healthz", key, 404},
		{"GET", "/responses/../../healthz", key, 404},
	} {
		if got := ask(c.method, c.path, c.key); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}
	shut()
	if got := ask("GET", "/models", key); got != 0 {
		t.Errorf("after the end: %d", got)
	}
}

// A stream may end its lines as it likes; how it ended is seen all the same.
func TestTheEndOfAStreamIsSeenWhateverItsLinesEndIn(t *testing.T) {
	t.Parallel()
	instructions := strings.Repeat("Look before you change. ", 20_000) // which OpenAI repeats
	for _, end := range []string{"\n", "\r\n", "\r"} {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			for _, line := range []string{`: a comment`, `event: response.created`, `data: {"type":"response.created"}`, ``,
				`data:{"type":"response.failed","response":{"error":{"code":"server_is_overloaded","message":"Later."},"instructions":"` + instructions + `"}}`, ``} {
				_, _ = io.WriteString(rw, line+end)
			}
		}))
		defer s.Close()
		l, err := NewLine(s.URL, s.URL, "token", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: l}).Post(s.URL+"/responses", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if failure, _, _ := l.State(); failure == nil || failure.Code != "server_is_overloaded" {
			t.Errorf("lines that end in %q: %v", end, failure)
		}
	}
}

// An answer that has an error in the place of what was asked for is a failure, whatever its status.
func TestAFailureWithStatus200(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]llm.Kind{
		`{"error":{"message":"The provider is overloaded.","code":502}}`:                                llm.Temporary,
		`{"error":{"message":"Too long.","code":"context_length_exceeded"}}`:                            llm.Permanent,
		`{"error":null,"choices":[{"message":{"content":"Done."}}]}`:                                    "",
		`{"error":{"message":"of the second"},"choices":[{"message":{"content":"Done."}}],"id":"c"}`:    "",
		`{"id":"resp_1","status":"completed","error":null,"output":[{"type":"message","content":"a"}]}`: "",
		`<html>`: "",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, answer)
		}))
		defer s.Close()
		l, err := NewLine(s.URL, s.URL, "token", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: l}).Post(s.URL+"/chat/completions", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != answer {
			t.Errorf("%q became %q (%v)", answer, got, err)
		}
		_ = res.Body.Close()
		failure, _, _ := l.State()
		if got := failure; got == nil && want != "" || got != nil && got.Kind != want {
			t.Errorf("%s: %v, want %q", answer, got, want)
		}
	}
}
