package model

import (
	"encoding/json"
	"net/http"
	"strings"
)

// responsesRequest is the part of POST /v1/responses that the server reads.
type responsesRequest struct {
	Model  string          `json:"model"`
	Stream bool            `json:"stream"`
	Input  json.RawMessage `json:"input"` // a string or a list of items
	Tools  []responsesTool `json:"tools"`
	Text   struct {
		Format struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"text"`
}

// responsesTool is a function, or a namespace with functions inside, as Codex offers the tools of an MCP server.
type responsesTool struct {
	Type  string          `json:"type"`
	Name  string          `json:"name"`
	Tools []responsesTool `json:"tools"`
}

// responsesItem is one item of the input.
type responsesItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Name    string          `json:"name"`
	CallID  string          `json:"call_id"`
	Output  json.RawMessage `json:"output"`
	Tools   []responsesTool `json:"tools"` // that a search has found

	Arguments json.RawMessage `json:"arguments"` // of a search
}

func (x *exchange) decodeResponses() (*conversation, bool) {
	var in responsesRequest
	if !x.decode(&in) {
		return nil, false
	}
	x.model, x.stream = in.Model, in.Stream
	if !x.s.known(x.w, in.Model) {
		return nil, false
	}
	c := &conversation{tools: map[string]string{}, sought: map[string]bool{}, answer: in.Text.Format.Schema}
	c.offer(in.Tools)
	var text string
	if json.Unmarshal(in.Input, &text) == nil && text != "" {
		c.user(text)
		return c, true
	}
	var items []responsesItem
	if err := json.Unmarshal(in.Input, &items); err != nil || len(items) == 0 {
		fail(x.w, http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: "missing_required_parameter", Param: "input",
			Message: "Missing required parameter: 'input', a text or a list of items."})
		return nil, false
	}
	called := map[string]string{}
	for _, item := range items {
		switch {
		case item.Role == "user":
			c.user(contentText(item.Content))
		case item.Type == "tool_search_output":
			c.offer(item.Tools)
		case item.Type == "tool_search_call":
			c.seek(item.Arguments)
		case item.Type == "function_call":
			called[item.CallID] = item.Name
		case item.Type == "function_call_output":
			c.result(contentText(item.Output), called[item.CallID] == pollTool)
		}
	}
	return c, true
}

// offer notes the tools that the client has. Codex lists those of an MCP server only when they are looked for.
// https://platform.openai.com/docs/guides/tools-tool-search
func (c *conversation) offer(tools []responsesTool) {
	for _, t := range tools {
		switch t.Type {
		case "function":
			c.tools[t.Name] = ""
		case "tool_search":
			c.search = true
		}
		for _, inner := range t.Tools {
			c.tools[inner.Name] = t.Name
		}
	}
}

// seek notes a tool that was looked for.
func (c *conversation) seek(arguments json.RawMessage) {
	var search struct {
		Query string `json:"query"`
	}
	if json.Unmarshal(arguments, &search) == nil {
		c.sought[search.Query] = true
	}
}

// contentText is the text of a content that is either a string or a list of parts.
func contentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// responses answers POST /v1/responses.
func (s *Server) responses(x *exchange) {
	c, ok := x.decodeResponses()
	if !ok {
		return
	}
	x.turn, x.script = s.next(c)
	x.usage = x.measure()
	x.behaviour.pause(x.r)
	response := map[string]any{
		"id": "resp_" + x.digest(48), "object": "response", "created_at": s.now().Unix(), "model": x.model, "status": "in_progress",
		"error": nil, "incomplete_details": nil, "output": []any{}, "parallel_tool_calls": true, "service_tier": "default",
		"store": false, "usage": nil,
	}
	item := x.responsesItem()
	finished := map[string]any{}
	for k, v := range response {
		finished[k] = v
	}
	finished["status"], finished["output"], finished["usage"] = "completed", []any{item}, x.usage.responses()
	if x.behaviour.Mode == FailedStream {
		finished["status"], finished["output"], finished["usage"] = "failed", []any{}, nil
		finished["error"] = map[string]any{"code": "server_error", "message": "The model had an error while processing your request."}
	}
	if !x.stream {
		writeJSON(x.w, http.StatusOK, finished)
		return
	}
	events := []event{
		{"response.created", map[string]any{"response": response}},
		{"response.in_progress", map[string]any{"response": response}},
	}
	if x.behaviour.Mode == FailedStream {
		events = append(events, event{"response.failed", map[string]any{"response": finished}})
	} else {
		events = append(events, x.itemEvents(item)...)
		events = append(events, event{"response.completed", map[string]any{"response": finished}})
	}
	x.streamEvents(events)
}

// responses is the usage as the Responses API writes it.
func (u usage) responses() map[string]any {
	return map[string]any{
		"input_tokens": u.input, "input_tokens_details": map[string]any{"cached_tokens": u.cached},
		"output_tokens": u.output, "output_tokens_details": map[string]any{"reasoning_tokens": u.reasoning},
		"total_tokens": u.input + u.output,
	}
}

// responsesItem is the one item of the answer.
func (x *exchange) responsesItem() map[string]any {
	if x.turn.search != "" {
		return map[string]any{
			"type": "tool_search_call", "id": "tsc_" + x.digest(48), "status": "completed", "execution": "client",
			"call_id": "call_" + x.digest(24), "arguments": map[string]any{"query": x.turn.search, "limit": 8},
		}
	}
	if x.turn.tool == "" {
		return map[string]any{
			"type": "message", "id": "msg_" + x.digest(48), "status": "completed", "role": "assistant",
			"content": []any{map[string]any{"type": "output_text", "text": x.turn.text, "annotations": []any{}}},
		}
	}
	item := map[string]any{
		"type": "function_call", "id": "fc_" + x.digest(48), "status": "completed",
		"name": x.turn.tool, "arguments": x.turn.arguments, "call_id": "call_" + x.digest(24),
	}
	if x.turn.namespace != "" {
		item["namespace"] = x.turn.namespace
	}
	return item
}

// An event is one server-sent event: its type and its data without the type.
type event struct {
	name string
	data map[string]any
}

// itemEvents tells the item piece by piece.
func (x *exchange) itemEvents(item map[string]any) []event {
	id := item["id"]
	at := func(more map[string]any) map[string]any {
		more["item_id"], more["output_index"] = id, 0
		return more
	}
	started := map[string]any{}
	for k, v := range item {
		started[k] = v
	}
	started["status"] = "in_progress"
	var events []event
	if x.turn.search != "" {
		return []event{
			{"response.output_item.added", map[string]any{"output_index": 0, "item": started}},
			{"response.output_item.done", map[string]any{"output_index": 0, "item": item}},
		}
	}
	if x.turn.tool != "" {
		started["arguments"] = ""
		events = append(events, event{"response.output_item.added", map[string]any{"output_index": 0, "item": started}})
		for _, piece := range pieces(x.turn.arguments) {
			events = append(events, event{"response.function_call_arguments.delta", at(map[string]any{"delta": piece})})
		}
		events = append(events, event{"response.function_call_arguments.done", at(map[string]any{"arguments": x.turn.arguments})})
		return append(events, event{"response.output_item.done", map[string]any{"output_index": 0, "item": item}})
	}
	part := func(text string) map[string]any {
		return map[string]any{"type": "output_text", "text": text, "annotations": []any{}}
	}
	started["content"] = []any{}
	events = append(events,
		event{"response.output_item.added", map[string]any{"output_index": 0, "item": started}},
		event{"response.content_part.added", at(map[string]any{"content_index": 0, "part": part("")})})
	for _, piece := range pieces(x.turn.text) {
		events = append(events, event{"response.output_text.delta", at(map[string]any{"content_index": 0, "delta": piece})})
	}
	return append(events,
		event{"response.output_text.done", at(map[string]any{"content_index": 0, "text": x.turn.text})},
		event{"response.content_part.done", at(map[string]any{"content_index": 0, "part": part(x.turn.text)})},
		event{"response.output_item.done", map[string]any{"output_index": 0, "item": item}})
}

// streamEvents sends the events, each with its number and flushed by itself.
func (x *exchange) streamEvents(events []event) {
	out := x.startStream()
	for i, e := range events {
		if x.behaviour.Mode == Cut && i > len(events)/2 {
			panic(http.ErrAbortHandler)
		}
		e.data["type"], e.data["sequence_number"] = e.name, i
		if !out.send(e.name, encode(e.data)) {
			return
		}
	}
}

// sse writes server-sent events.
type sse struct {
	x       *exchange
	control *http.ResponseController
}

func (x *exchange) startStream() sse {
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	x.w.WriteHeader(http.StatusOK)
	return sse{x: x, control: http.NewResponseController(x.w)}
}

// send writes one event and says whether the client is still there. The name may be empty.
func (s sse) send(name, data string) bool {
	s.x.behaviour.pause(s.x.r)
	if s.x.r.Context().Err() != nil {
		return false
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	if _, err := s.x.w.Write([]byte(name + "data: " + data + "\n\n")); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
