// Package model connects the run to the model and to the platform's tools.
package model

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/llm"
)

// Line connects both engines to the model. It adds the run token to a request, waits for a model that is busy or away,
// and knows how the last call ended, which the CLI only says in words.
//
//	CLI ──key──▶ 127.0.0.1 ──┐             ┌──▶ LLM_URL
//	                         ├── run token ┤
//	builtin engine ──────────┘             └──▶ AGENT_GATEWAY_URL/mcp
//
// The agent has only the key, which opens these endpoints, here, while the engine runs; the token leaves this process
// only for LLM_URL and the gateway.
type Line struct {
	base     *url.URL // LLM_URL
	gateway  *url.URL // AGENT_GATEWAY_URL
	token    string
	retryFor time.Duration
	next     http.RoundTripper

	pause  sync.Once
	paused chan struct{} // closed when an engine whose run waits asks the model again

	mu       sync.Mutex
	waits    bool         // the run waits for people
	failure  *llm.Failure // of the last call; nil when it went well
	since    time.Time    // when calls began to fail; zero when the last went well
	answered int          // calls that went well
}

// NewLine returns the line to the models' server at address, LLM_URL, and to the tools of the gateway,
// AGENT_GATEWAY_URL. It tries a request again for at most retryFor.
func NewLine(address, gateway, token string, retryFor time.Duration) (*Line, error) {
	base, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("LLM_URL %q is not a URL like http://llm-caller/v1", address)
	}
	tools, err := url.Parse(strings.TrimRight(gateway, "/"))
	if err != nil || tools.Host == "" {
		return nil, fmt.Errorf("AGENT_GATEWAY_URL %q is not a URL like http://agent-gateway", gateway)
	}
	next := http.DefaultTransport.(*http.Transport).Clone()
	next.DisableCompression = true // what passes, passes as it is
	next.ResponseHeaderTimeout = thinking
	return &Line{base: base, gateway: tools, token: token, retryFor: retryFor, next: next, paused: make(chan struct{})}, nil
}

// URL is where the model's server is.
func (l *Line) URL() string { return l.base.String() }

// thinking is how long a model may take before its answer begins: just longer than llm-caller waits.
const thinking = 10 * time.Minute

// endpoints are what the agent may call on the model's server.
var endpoints = []string{"POST /responses", "POST /chat/completions", "GET /models"}

// maxRequest is llm-caller's own bound.
const maxRequest = 32 << 20

// Open listens for the CLI until it is closed. The key is valid for this opening only.
func (l *Line) Open() (address, key string, shut func(), err error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return "", "", nil, fmt.Errorf("making a key for the model: %w", err)
	}
	key = "agent-" + hex.EncodeToString(secret)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", nil, fmt.Errorf("listening for the agent's engine: %w", err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(l.base) },
		Transport:     l,
		FlushInterval: -1, // events pass as they come
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	mux := http.NewServeMux()
	mux.Handle("POST /mcp", &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(l.gateway) }, Transport: tools{l}, ErrorLog: forward.ErrorLog,
	})
	for _, endpoint := range endpoints {
		mux.Handle(endpoint, forward)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(key)) != 1 {
			http.Error(w, "this is the model's line of the run's engine", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		mux.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }() // ends by Close
	return "http://" + listener.Addr().String(), key, func() { _ = server.Close() }, nil
}

// minWait is the shortest wait before a call is repeated, whatever the server says: "Retry-After: 0" must not cause an
// endless loop.
const minWait = 500 * time.Millisecond

// RoundTrip sends the request with the run token, repeatedly while that may help and for at most retryFor. A failure
// that was answered is returned like any other answer.
func (l *Line) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != l.base.Host {
		return nil, fmt.Errorf("the run token is for %s, not for %s", l.base.Host, req.URL.Host) // a redirect
	}
	if l.Waits() {
		return nil, l.hold(req.Context())
	}
	body, err := wholeBody(req)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		l.failed(&llm.Failure{Kind: llm.Permanent, Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Message: err.Error()})
	}
	if err != nil {
		return nil, err
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = minWait, 10*time.Second
	var last *http.Response
	res, err := backoff.Retry(req.Context(), func() (*http.Response, error) {
		last = nil
		again := req.Clone(req.Context())
		again.Header.Set("Authorization", "Bearer "+l.token)
		again.Body, again.ContentLength = http.NoBody, int64(len(body))
		if len(body) > 0 {
			again.Body = io.NopCloser(bytes.NewReader(body))
		}
		res, err := l.next.RoundTrip(again)
		if err != nil {
			l.failed(&llm.Failure{Kind: llm.Temporary, Message: err.Error()})
			return nil, err
		}
		if res.StatusCode < http.StatusBadRequest {
			return res, nil
		}
		if res.Header.Get(agentapi.WaitsHeader) != "" {
			_ = res.Body.Close()
			return nil, backoff.Permanent(ErrWaits)
		}
		failure := l.refused(res)
		if last = res; failure.Kind != llm.RateLimited && failure.Kind != llm.Temporary {
			return res, backoff.Permanent(failure)
		}
		if failure.RetryAfter > 0 {
			return nil, errors.Join(failure, &backoff.RetryAfterError{Duration: max(failure.RetryAfter, minWait)})
		}
		return nil, failure
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(l.retryFor))
	switch {
	case errors.Is(err, ErrWaits): // for money, or for a limit to pass: not before a person or a time says so
		l.wait()
		return nil, l.hold(req.Context())
	case last != nil:
		return last, nil // the caller learns what the server said last
	case err != nil:
		return nil, err
	}
	res.Body = &watched{ReadCloser: res.Body, line: l, events: strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")}
	return res, nil
}

// wholeBody reads the request's body, which may have to be sent several times.
func wholeBody(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the request to the model: %w", err)
	}
	return body, nil
}

// refused notes an answer that is a failure, and leaves it readable.
func (l *Line) refused(res *http.Response) *llm.Failure {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 256<<10)) // what cannot be read is not told
	_ = res.Body.Close()
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	res.Header.Del("Content-Length")
	failure := llm.Classify(res.StatusCode, res.Header, text, time.Now())
	l.failed(failure)
	return failure
}

func (l *Line) failed(f *llm.Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure = f; l.since.IsZero() {
		l.since = time.Now()
	}
}

func (l *Line) went() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure, l.since = nil, time.Time{}
	l.answered++
}

// State is how the last call ended, since when calls fail, and how many went well.
func (l *Line) State() (*llm.Failure, time.Time, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure, l.since, l.answered
}

// watched is an answer being passed to an engine. A stream begins with status 200 and may report its failure in its
// last event (https://platform.openai.com/docs/api-reference/responses-streaming).
type watched struct {
	io.ReadCloser
	line   *Line
	events bool
	part   []byte // of a line that goes on
	told   bool
}

// maxEvent bounds what is kept of an event. One that reports a failure may repeat the instructions and tools of its
// request.
const maxEvent = 4 << 20

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.events {
		w.look(p[:n])
	} else if len(w.part) < maxEvent {
		w.part = append(w.part, p[:n]...)
	}
	switch {
	case w.told:
	case errors.Is(err, io.EOF) && !w.events:
		w.end(failureIn(w.part))
	case errors.Is(err, io.EOF):
		w.end(nil)
	case err != nil && !errors.Is(err, context.Canceled): // if an engine leaves, nothing is known
		w.end(&llm.Failure{Kind: llm.Temporary, Message: "the answer broke off: " + err.Error()})
	}
	return n, err
}

// Close ends an answer whose reader knew that it had the whole.
func (w *watched) Close() error {
	if !w.told && !w.events && json.Valid(w.part) {
		w.end(failureIn(w.part))
	}
	return w.ReadCloser.Close()
}

// failureIn is the failure that a complete answer with status 200 reports, as gateways do if what is behind them fails;
// nil if there is none.
func failureIn(answer []byte) *llm.Failure {
	var whole struct {
		Error struct {
			Code    any    `json:"code"` // a word, or a status
			Message string `json:"message"`
		} `json:"error"`
		Choices, Output []json.RawMessage
	}
	tells := json.Unmarshal(answer, &whole) == nil && len(whole.Choices)+len(whole.Output) == 0 && whole.Error.Message != ""
	if !tells {
		return nil
	}
	code, _ := whole.Error.Code.(string)
	return streamError{Code: code, Message: whole.Error.Message}.failure()
}

// end tells the line how the answer ended, once.
func (w *watched) end(f *llm.Failure) {
	if w.told {
		return
	}
	if w.told = true; f == nil {
		w.line.went()
		return
	}
	w.line.failed(f)
}

func (w *watched) look(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexAny(p, "\r\n") // an event stream may end its lines with either
		if end < 0 {
			if len(w.part) < maxEvent {
				w.part = append(w.part, p...)
			}
			return
		}
		w.event(append(w.part, p[:end]...))
		w.part, p = w.part[:0], p[end+1:]
	}
}

// event looks at one line of the stream.
func (w *watched) event(text []byte) {
	data, ok := bytes.CutPrefix(bytes.TrimSpace(text), []byte("data:"))
	if !ok || w.told {
		return
	}
	if bytes.Contains(data[:min(len(data), 200)], []byte(`"response.completed"`)) {
		w.end(nil) // the CLI may not read on
		return
	}
	var e struct {
		Type     string      `json:"type"`
		Error    streamError `json:"error"`
		Response struct {
			Error streamError `json:"error"`
		} `json:"response"`
		streamError
	}
	if json.Unmarshal(data, &e) != nil || e.Type != "response.failed" && e.Type != "error" {
		return
	}
	for _, said := range []streamError{e.Response.Error, e.Error, e.streamError} {
		if said != (streamError{}) {
			w.end(said.failure())
			return
		}
	}
	w.end(streamError{Message: "the answer failed without a reason"}.failure())
}

// streamError is a failure as a stream reports it.
type streamError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ownFault are the beginnings of codes that blame the request itself. Others, unknown ones too, may pass.
// https://platform.openai.com/docs/api-reference/responses/object#responses/object-error
var ownFault = []string{"context_length", "invalid_", "image_", "unsupported_", "empty_image", "failed_to_download_image", "string_above", "array_above", "content_policy"}

// failure gives the code the status that the same error has before a stream begins.
func (e streamError) failure() *llm.Failure {
	status := http.StatusServiceUnavailable
	switch {
	case e.Code == "rate_limit_exceeded", e.Code == "slow_down", strings.Contains(e.Code, "quota"), strings.HasPrefix(e.Code, "billing"), strings.HasPrefix(e.Code, "usage_"):
		status = http.StatusTooManyRequests
	case slices.ContainsFunc(ownFault, func(b string) bool { return strings.HasPrefix(e.Code, b) }):
		status = http.StatusBadRequest
	}
	body, err := json.Marshal(map[string]streamError{"error": e})
	if err != nil {
		body = nil // two strings always encode
	}
	return llm.Classify(status, http.Header{}, body, time.Now())
}
