package model

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sashabaranov/go-openai"
)

// dev is the start of a real prompt for an issue.
const dev = "Your task: in the role `dev`, carry out the stage `dev` for issue #7 of acme/hello (https://github.com/acme/hello/issues/7).\n\n" +
	"<<<DATA issue 0123456789abcdef\nTitle: Add a greeting in French\nLabels: idea, run:dev\n\nPeople in Lyon ask for it.\nDATA issue 0123456789abcdef>>>\n\nHow you work here:\n- …\n"

// revise is the start of a real prompt for a review.
const revise = "Your task: in the role `dev`, revise your work of the stage `dev` for issue #7 of acme/hello.\n\nA reviewer asks for changes:\n\n" +
	"<<<DATA review 0123456789abcdef\nReview by olga:\nPlease add the informal “Salut !” too.\nDATA review 0123456789abcdef>>>\n\n" +
	"The issue, as it reads now:\n\n<<<DATA issue 0123456789abcdef\nTitle: Add a greeting in French\n\nPeople in Lyon ask for it.\nDATA issue 0123456789abcdef>>>\n"

func start(t *testing.T, o Options) (*Server, *httptest.Server) {
	t.Helper()
	s := New(o)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h
}

func post(t *testing.T, url, key, body string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func TestRefusals(t *testing.T) {
	_, h := start(t, Options{})
	type refusal struct {
		Status     int
		Type, Code string
	}
	for name, c := range map[string]struct {
		path, key, body string
		want            refusal
	}{
		"no key":          {"/v1/responses", "", `{}`, refusal{401, "invalid_request_error", ""}},
		"wrong key":       {"/v1/chat/completions", "sk-other", `{}`, refusal{401, "invalid_request_error", "invalid_api_key"}},
		"not JSON":        {"/v1/responses", DefaultKey, `{"model":`, refusal{400, "invalid_request_error", ""}},
		"wrong type":      {"/v1/responses", DefaultKey, `{"model":7}`, refusal{400, "invalid_request_error", "invalid_type"}},
		"no model":        {"/v1/responses", DefaultKey, `{"input":"hi"}`, refusal{400, "invalid_request_error", "missing_required_parameter"}},
		"no input":        {"/v1/responses", DefaultKey, `{"model":"gpt-5.4"}`, refusal{400, "invalid_request_error", "missing_required_parameter"}},
		"no messages":     {"/v1/chat/completions", DefaultKey, `{"model":"gpt-5.4"}`, refusal{400, "invalid_request_error", "missing_required_parameter"}},
		"unknown model":   {"/v1/responses", DefaultKey, `{"model":"gpt-2","input":"hi"}`, refusal{404, "invalid_request_error", "model_not_found"}},
		"unknown model 2": {"/v1/chat/completions", DefaultKey, `{"model":"gpt-2","messages":[{"role":"user","content":"hi"}]}`, refusal{404, "invalid_request_error", "model_not_found"}},
		"unknown path":    {"/v1/embeddings", DefaultKey, `{}`, refusal{404, "invalid_request_error", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, body := post(t, h.URL+c.path, c.key, c.body)
			var e struct {
				Error struct{ Type, Code, Message string }
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if diff := cmp.Diff(c.want, refusal{status, e.Error.Type, e.Error.Code}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e.Error.Message == "" || strings.Contains(e.Error.Message, "sk-other") {
				t.Errorf("message %q", e.Error.Message)
			}
		})
	}
}

func TestModes(t *testing.T) {
	s, h := start(t, Options{})
	const body = `{"model":"gpt-5.4","stream":true,"input":"hi"}`
	for _, c := range []struct {
		mode   Mode
		status int
		wait   string // Retry-After
		code   string // that occurs in the body
	}{
		{RateLimited, 429, "20", `"rate_limit_exceeded"`},
		{QuotaExhausted, 429, "", `"insufficient_quota"`},
		{ServerError, 500, "", `"server_error"`},
		{Overloaded, 503, "20", `"server_overloaded"`},
		{BadGateway, 502, "", `<html>`},
		{FailedStream, 200, "", `"response.failed"`},
		{Slow, 200, "", `"response.completed"`},
	} {
		s.Behave(Behaviour{Mode: c.mode, Times: 1, Delay: time.Millisecond})
		status, header, got := post(t, h.URL+"/v1/responses", DefaultKey, body)
		if status != c.status || header.Get("Retry-After") != c.wait || !strings.Contains(got, c.code) {
			t.Errorf("%s: got %d, Retry-After %q, %s", c.mode, status, header.Get("Retry-After"), got)
		}
		if status, _, got := post(t, h.URL+"/v1/responses", DefaultKey, body); status != 200 || !strings.Contains(got, "response.completed") {
			t.Errorf("%s: the call after it: %d %s", c.mode, status, got)
		}
	}
	s.Behave(Behaviour{Mode: RateLimited, Endpoint: "chat"})
	if status, _, _ := post(t, h.URL+"/v1/responses", DefaultKey, body); status != 200 {
		t.Errorf("behaviour of the other endpoint: got %d, want 200", status)
	}
}

func TestCutBreaksTheConnection(t *testing.T) {
	s, h := start(t, Options{})
	s.Behave(Behaviour{Mode: Cut, Times: 2})
	for path, body := range map[string]string{
		"/v1/responses":        `{"model":"gpt-5.4","stream":true,"input":"hi"}`,
		"/v1/chat/completions": `{"model":"gpt-5.4","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
	} {
		r, _ := http.NewRequest(http.MethodPost, h.URL+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+DefaultKey)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) == 0 {
			t.Errorf("%s: got %d bytes and %v, want some and an unexpected end", path, len(got), err)
		}
	}
}

func TestControl(t *testing.T) {
	s, h := start(t, Options{Now: func() time.Time { return time.Unix(1_795_000_000, 0).UTC() }})
	if status, _, body := post(t, h.URL+"/control/behaviour", "", `{"mode":"rate_limited","times":1,"retryAfter":1500000000}`); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	if status, _, _ := post(t, h.URL+"/control/behaviour", "", `{"mode":"sulking"}`); status != 400 {
		t.Errorf("unknown mode: got %d, want 400", status)
	}
	status, header, _ := post(t, h.URL+"/v1/responses", DefaultKey, `{"model":"gpt-5.4","input":"hi"}`)
	got := []string{http.StatusText(status), header.Get("Retry-After"), header.Get("Retry-After-Ms"), header.Get("X-Ratelimit-Reset-Requests")}
	if diff := cmp.Diff([]string{"Too Many Requests", "2", "1500", "1.5s"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	post(t, h.URL+"/v1/responses", DefaultKey, `{"model":"gpt-5.4","input":"hi"}`)
	res, err := http.Get(h.URL + "/control/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var journal []Request
	if err := json.NewDecoder(res.Body).Decode(&journal); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_795_000_000, 0).UTC()
	want := []Request{
		{At: at, Endpoint: "responses", Status: 429},
		{At: at, Endpoint: "responses", Model: "gpt-5.4", Script: "issue", Status: 200, Input: 8, Output: 89},
	}
	if diff := cmp.Diff(want, journal); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if kept := s.Requests(); kept[1].Key != DefaultKey || string(kept[1].Body) != `{"model":"gpt-5.4","input":"hi"}` {
		t.Errorf("kept request: key %q, body %s", kept[1].Key, kept[1].Body)
	}
	s.Reset()
	if n := len(s.Requests()); n != 0 {
		t.Errorf("after a reset the journal has %d requests", n)
	}
}

// TestSlowStreamsPieceByPiece holds that an event is on the wire before the next one is due.
func TestSlowStreamsPieceByPiece(t *testing.T) {
	s, h := start(t, Options{})
	s.Behave(Behaviour{Mode: Slow, Delay: 150 * time.Millisecond})
	r, _ := http.NewRequest(http.MethodPost, h.URL+"/v1/responses", strings.NewReader(`{"model":"gpt-5.4","stream":true,"input":"hi"}`))
	r.Header.Set("Authorization", "Bearer "+DefaultKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil || first != "event: response.created\n" {
		t.Fatalf("%q %v", first, err)
	}
	if n := len(s.Requests()); n != 0 {
		t.Error("the request had ended when the first event came")
	}
}

func client(url string) *openai.Client {
	c := openai.DefaultConfig(DefaultKey)
	c.BaseURL = url + "/v1"
	return openai.NewClientWithConfig(c)
}

func TestModels(t *testing.T) {
	_, h := start(t, Options{Models: []string{"gpt-a", "gpt-b"}})
	list, err := client(h.URL).ListModels(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list.Models {
		got = append(got, m.ID)
	}
	if diff := cmp.Diff([]string{"gpt-a", "gpt-b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status, _, _ := post(t, h.URL+"/v1/models", DefaultKey, ""); status != 404 {
		t.Errorf("POST /v1/models: got %d, want 404", status)
	}
}

// TestChatWhole is a conversation of the builtin engine without streaming, with every tool that it has.
func TestChatWhole(t *testing.T) {
	s, h := start(t, Options{})
	got := builtin(t, client(h.URL), dev, false)
	want := []string{
		`list_files {"path":"."}`,
		`write_file {"content":"Bonjour, le monde !\n","path":"greetings/french.txt"}`,
		`run ` + encode(map[string]any{"command": testCommand}),
		`finish ` + encode(map[string]any{"summary": finalMessage(readTask([]string{dev}), "greetings/french.txt")}),
		"Add a greeting in French",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, r := range s.Requests() {
		if r.Step != i || r.Output == 0 {
			t.Errorf("request %d: step %d, %d output tokens", i, r.Step, r.Output)
		}
	}
	// The same by stream, and with the words of the review.
	if diff := cmp.Diff(want, builtin(t, client(h.URL), dev, true)); diff != "" {
		t.Errorf("streamed (-want +got):\n%s", diff)
	}
	revised := builtin(t, client(h.URL), revise, true)
	if want := `write_file {"content":"Bonjour, le monde !\nSalut !\n","path":"greetings/french.txt"}`; revised[2] != want {
		t.Errorf("revision: got %s, want %s", revised[2], want)
	}
}

// builtin plays an engine and returns the calls and the first line of the last message.
func builtin(t *testing.T, c *openai.Client, prompt string, stream bool) []string {
	t.Helper()
	var tools []openai.Tool
	for _, name := range []string{"read_file", "write_file", "list_files", "run", "finish"} {
		tools = append(tools, openai.Tool{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{Name: name}})
	}
	messages := []openai.ChatCompletionMessage{{Role: "system", Content: "You are an agent."}, {Role: "user", Content: prompt}}
	var got []string
	for range 12 {
		request := openai.ChatCompletionRequest{Model: "gpt-5.4", Messages: messages, Tools: tools}
		message := complete(t, c, request, stream)
		messages = append(messages, message)
		if len(message.ToolCalls) == 0 {
			first, _, _ := strings.Cut(message.Content, "\n")
			return append(got, first)
		}
		call := message.ToolCalls[0]
		got = append(got, call.Function.Name+" "+call.Function.Arguments)
		messages = append(messages, openai.ChatCompletionMessage{Role: "tool", ToolCallID: call.ID, Content: "ok"})
	}
	t.Fatalf("the conversation does not end: %q", got)
	return nil
}

func complete(t *testing.T, c *openai.Client, request openai.ChatCompletionRequest, stream bool) openai.ChatCompletionMessage {
	t.Helper()
	if !stream {
		answer, err := c.CreateChatCompletion(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Usage.TotalTokens == 0 {
			t.Error("no usage")
		}
		return answer.Choices[0].Message
	}
	request.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	events, err := c.CreateChatCompletionStream(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	message := openai.ChatCompletionMessage{Role: "assistant"}
	var usage *openai.Usage
	for {
		chunk, err := events.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Usage != nil {
			usage = chunk.Usage
		}
		for _, choice := range chunk.Choices {
			message.Content += choice.Delta.Content
			for _, call := range choice.Delta.ToolCalls {
				if call.ID != "" {
					message.ToolCalls = append(message.ToolCalls, openai.ToolCall{ID: call.ID, Type: call.Type, Function: call.Function})
					continue
				}
				message.ToolCalls[*call.Index].Function.Arguments += call.Function.Arguments
			}
		}
	}
	if usage == nil || usage.TotalTokens == 0 {
		t.Errorf("no usage in the stream: %+v", usage)
	}
	return message
}
