package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"codexk8s.dev/shared/serve"
)

// The contract is served without a database and without any channel, to be read again only when it has changed.
func TestTheContractIsServed(t *testing.T) {
	s := serve.New(function, "")
	(&handler{}).routes(s, nil)
	get := func(method, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(context.Background(), method, "/openapi.json", http.NoBody)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	first := get(http.MethodGet, "")
	var document struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(first.Body.Bytes(), &document); err != nil || first.Code != http.StatusOK {
		t.Fatalf("answered %d: %v", first.Code, err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1.") || document.Paths["/approve"] == nil || document.Paths["/execute"] == nil {
		t.Errorf("served is %.200s", first.Body)
	}
	if h := first.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("with the headers %v", h)
	}
	tag := first.Header().Get("ETag")
	for _, c := range []struct {
		method, tag string
		want        int
	}{{http.MethodGet, tag, 304}, {http.MethodGet, `"another"`, 200}, {http.MethodHead, "", 200}, {http.MethodPost, "", 405}} {
		if got := get(c.method, c.tag); got.Code != c.want {
			t.Errorf("%s with the tag %s: answered %d, want %d", c.method, c.tag, got.Code, c.want)
		}
	}
}
