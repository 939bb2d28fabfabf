package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"

	"codexk8s.dev/shared/agentapi"
)

// tools is the line's other end: the platform's tools, which the Codex CLI calls through the line and the builtin
// engine directly. Every call may be repeated, so one without an answer is. An answer may say that the run waits for
// people.
type tools struct{ *Line }

// RoundTrip sends a call with the run token.
func (t tools) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != t.gateway.Host {
		return nil, fmt.Errorf("the run token is for %s, not for %s", t.gateway.Host, req.URL.Host) // a redirect
	}
	body, err := wholeBody(req)
	if err != nil {
		return nil, err
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = minWait, 10*time.Second
	var last *http.Response
	res, err := backoff.Retry(req.Context(), func() (*http.Response, error) {
		if last != nil {
			_ = last.Body.Close()
		}
		again := req.Clone(req.Context())
		again.Header.Set("Authorization", "Bearer "+t.token)
		again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		res, err := t.next.RoundTrip(again)
		if last = res; err != nil {
			return nil, err
		}
		if res.StatusCode >= http.StatusInternalServerError {
			return nil, fmt.Errorf("the gateway answers %s", res.Status)
		}
		return res, nil
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(t.retryFor))
	switch {
	case err != nil && last != nil:
		return last, nil // the caller learns what the gateway said last
	case err != nil:
		return nil, err
	}
	if res.Header.Get(agentapi.WaitsHeader) != "" {
		t.wait()
	}
	return res, nil
}

// wait records that the run waits for people. The engine may finish what it is doing: it is paused when it calls the
// model again, and by then its conversation has the tools' answers.
func (l *Line) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = true
}

// Waits says whether the run waits for people, according to the answer to a tool call.
func (l *Line) Waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits
}

// ErrWaits says that the model must not be called before people have decided.
var ErrWaits = errors.New("the run waits for people")

// hold keeps the request of an engine whose run waits: it has to end, and must not think on.
func (l *Line) hold(ctx context.Context) error {
	l.pause.Do(func() { close(l.paused) })
	<-ctx.Done()
	return ErrWaits
}

// Paused is closed when the run waits for people and its engine has come to rest.
func (l *Line) Paused() <-chan struct{} { return l.paused }

// A Tool is one of the platform's.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
}

// ListTools asks which tools the run has.
func (l *Line) ListTools(ctx context.Context) ([]Tool, error) {
	var list struct {
		Tools []Tool `json:"tools"`
	}
	err := l.rpc(ctx, "tools/list", struct{}{}, &list)
	return list.Tools, err
}

// CallTool calls one of the platform's tools; arguments is a JSON object. The tool's answer is text, even if it
// refuses.
func (l *Line) CallTool(ctx context.Context, name string, arguments json.RawMessage) (string, error) {
	var result struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		IsError bool `json:"isError"`
	}
	err := l.rpc(ctx, "tools/call", map[string]any{"name": name, "arguments": arguments}, &result)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if result.IsError {
		text.WriteString("error: ")
	}
	for _, c := range result.Content {
		text.WriteString(c.Text)
	}
	return text.String(), nil
}

// maxAnswer bounds what a tool may answer.
const maxAnswer = 1 << 20

// rpc makes one call by MCP. The gateway keeps no session, so there is none to begin.
// https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
func (l *Line) rpc(ctx context.Context, method string, params, result any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return fmt.Errorf("encoding the call %s: %w", method, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.gateway.JoinPath("mcp").String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making the call %s: %w", method, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	res, err := tools{l}.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("calling %s: %w", method, err)
	}
	defer func() { _ = res.Body.Close() }()
	var said struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer to %s: %w", method, err)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s is answered %s: %s", method, res.Status, bytes.TrimSpace(text))
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", method, err)
	}
	if said.Error != nil {
		return fmt.Errorf("%s is refused: %s", method, said.Error.Message)
	}
	if err := json.Unmarshal(said.Result, result); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", method, err)
	}
	return nil
}
