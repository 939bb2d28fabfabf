package model

import (
	"encoding/json"
	"net/http"
)

// chatRequest is the part of POST /v1/chat/completions that the server reads.
type chatRequest struct {
	Model         string        `json:"model"`
	Stream        bool          `json:"stream"`
	StreamOptions *usageOption  `json:"stream_options"`
	Messages      []chatMessage `json:"messages"`
	Tools         []chatTool    `json:"tools"`
	Format        chatFormat    `json:"response_format"`
}

type usageOption struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls []chatCall      `json:"tool_calls"`
	CallID    string          `json:"tool_call_id"`
}

type chatTool struct {
	Function struct {
		Name string `json:"name"`
	} `json:"function"`
}

type chatCall struct {
	ID       string   `json:"id"`
	Function chatFunc `json:"function"`
}

type chatFunc struct {
	Name string `json:"name"`
}

type chatFormat struct {
	JSONSchema struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// chat answers POST /v1/chat/completions.
func (s *Server) chat(x *exchange) {
	var in chatRequest
	if !x.decode(&in) {
		return
	}
	x.model, x.stream = in.Model, in.Stream
	if !s.known(x.w, in.Model) {
		return
	}
	if len(in.Messages) == 0 {
		fail(x.w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: "missing_required_parameter", Param: "messages",
			Message: "Missing required parameter: 'messages'."})
		return
	}
	if in.StreamOptions != nil && !in.Stream {
		fail(x.w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Param: "stream_options",
			Message: "The 'stream_options' parameter is only allowed when 'stream' is enabled."})
		return
	}
	x.turn, x.script = s.next(in.conversation())
	x.usage = x.measure()
	x.behaviour.pause(x.r)
	if in.Stream {
		x.streamChat(in.StreamOptions != nil && in.StreamOptions.IncludeUsage)
		return
	}
	message := map[string]any{"role": "assistant", "content": x.turn.text, "refusal": nil}
	if x.turn.tool != "" {
		message["content"] = nil
		message["tool_calls"] = []any{map[string]any{"id": x.callID(), "type": "function",
			"function": map[string]any{"name": x.turn.tool, "arguments": x.turn.arguments}}}
	}
	answer := x.chatHead("chat.completion")
	answer["choices"] = []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": x.finish()}}
	answer["usage"] = x.usage.chat()
	writeJSON(x.w, http.StatusOK, answer)
}

func (in chatRequest) conversation() *conversation {
	c := &conversation{tools: map[string]string{}, answer: in.Format.JSONSchema.Schema}
	for _, t := range in.Tools {
		c.tools[t.Function.Name] = ""
	}
	called := map[string]string{}
	for _, m := range in.Messages {
		for _, call := range m.ToolCalls {
			called[call.ID] = call.Function.Name
		}
		switch m.Role {
		case "user":
			c.user(contentText(m.Content))
		case "tool":
			c.result(contentText(m.Content), called[m.CallID] == pollTool)
		}
	}
	return c
}

// streamChat sends the answer as chunks, the usage in a last one without choices when the client asked for it.
func (x *exchange) streamChat(includeUsage bool) {
	chunk := func(delta map[string]any, finish any) map[string]any {
		c := x.chatHead("chat.completion.chunk")
		c["choices"] = []any{map[string]any{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}
		if includeUsage {
			c["usage"] = nil
		}
		return c
	}
	chunks := []map[string]any{chunk(map[string]any{"role": "assistant", "content": ""}, nil)}
	if x.turn.tool != "" {
		call := func(id map[string]any) map[string]any {
			id["index"] = 0
			return map[string]any{"tool_calls": []any{id}}
		}
		chunks[0] = chunk(map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{"index": 0,
			"id": x.callID(), "type": "function", "function": map[string]any{"name": x.turn.tool, "arguments": ""}}}}, nil)
		for _, piece := range pieces(x.turn.arguments) {
			chunks = append(chunks, chunk(call(map[string]any{"function": map[string]any{"arguments": piece}}), nil))
		}
	} else {
		for _, piece := range pieces(x.turn.text) {
			chunks = append(chunks, chunk(map[string]any{"content": piece}, nil))
		}
	}
	chunks = append(chunks, chunk(map[string]any{}, x.finish()))
	if includeUsage {
		last := x.chatHead("chat.completion.chunk")
		last["choices"], last["usage"] = []any{}, x.usage.chat()
		chunks = append(chunks, last)
	}
	out := x.startStream()
	for i, c := range chunks {
		if x.behaviour.Mode == Cut && i > len(chunks)/2 {
			panic(http.ErrAbortHandler)
		}
		if x.behaviour.Mode == FailedStream && i == 1 {
			out.send("", encode(map[string]any{"error": apiError{Type: "server_error", Message: "The server had an error while processing your request."}}))
			return
		}
		if !out.send("", encode(c)) {
			return
		}
	}
	out.send("", "[DONE]")
}

func (x *exchange) chatHead(object string) map[string]any {
	return map[string]any{"id": "chatcmpl-" + x.digest(29), "object": object, "created": x.s.now().Unix(), "model": x.model,
		"service_tier": "default", "system_fingerprint": "fp_0123456789"}
}

func (x *exchange) callID() string { return "call_" + x.digest(24) }

func (x *exchange) finish() string {
	if x.turn.tool != "" {
		return "tool_calls"
	}
	return "stop"
}

// chat is the usage as Chat Completions writes it.
func (u usage) chat() map[string]any {
	return map[string]any{
		"prompt_tokens": u.input, "prompt_tokens_details": map[string]any{"cached_tokens": u.cached},
		"completion_tokens": u.output, "completion_tokens_details": map[string]any{"reasoning_tokens": u.reasoning},
		"total_tokens": u.input + u.output,
	}
}
