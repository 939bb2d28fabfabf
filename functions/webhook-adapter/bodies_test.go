package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/webhook"
)

// Strangers who begin large bodies hold no more memory than has been set aside for them, and small deliveries pass.
func TestLargeBodiesOfStrangersAreBounded(t *testing.T) {
	h := newHandler(webhook.Secrets{[]byte("new")}, nil, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /github", h.github)
	mux.HandleFunc("POST /events", h.events)
	send := func(path string, length int64, body io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, body)
		r.ContentLength = length
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	var slow sync.WaitGroup
	var ends []*io.PipeWriter
	for i := range largeBodies {
		body, end := io.Pipe()
		ends = append(ends, end)
		slow.Go(func() { send([]string{"/github", "/events"}[i%2], webhook.MaxPayload, body) })
		if _, err := end.Write([]byte("{")); err != nil { // once it is read, the body has its place
			t.Fatal(err)
		}
	}
	const busy = http.StatusServiceUnavailable
	for _, path := range []string{"/github", "/events"} {
		never := &counter{}
		if w := send(path, webhook.MaxPayload, never); w.Code != busy || w.Header().Get("Retry-After") == "" || never.reads > 0 {
			t.Errorf("%s: one more large body: %d %s, read %d times", path, w.Code, w.Body, never.reads)
		}
		if w := send(path, 2, strings.NewReader("{}")); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: a small body beside them: %d %s", path, w.Code, w.Body)
		}
	}
	for _, end := range ends {
		_ = end.CloseWithError(serve.ErrBusy)
	}
	slow.Wait()
	if w := send("/github", webhook.MaxPayload, strings.NewReader("{}")); w.Code != http.StatusUnauthorized {
		t.Errorf("after them: %d %s", w.Code, w.Body)
	}
}

type counter struct{ reads int }

func (c *counter) Read([]byte) (int, error) { c.reads++; return 0, io.EOF }
