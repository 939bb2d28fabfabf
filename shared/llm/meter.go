package llm

import (
	"bytes"
	"encoding/json"
	"mime"
	"strconv"
	"strings"
)

// A Result is what a Meter has learnt. What the answer did not say is empty.
type Result struct {
	ID     string // of the response: resp_…, chatcmpl-…
	Model  string // that answered, often with a date: gpt-5.4-2026-03-05
	Tier   string // service tier that was used: default, flex, priority
	Finish string // Chat: stop, length, tool_calls, content_filter. Responses: completed, incomplete, failed, in_progress.
	Usage  Usage
	// Reported is set when Usage is what OpenAI said. It says so at the end only: an answer that was broken off has none.
	Reported bool
	// Shown counts the bytes of text and tool arguments that came, a measure where no usage was reported.
	Shown int64
	// ErrorCode and ErrorMessage are of an error inside an answer that had begun well.
	ErrorCode, ErrorMessage string
}

// A Meter is an io.Writer that an answer's bytes are written to as they pass. It never fails and keeps nothing of them.
type Meter struct {
	json  scanner
	r     Result
	sse   bool
	place place
	name  [8]byte // the beginning of the present line
	named int
}

// place is where in a line of an event stream the next byte stands.
type place uint8

const (
	inName  place = iota // in the name of the line's field
	inData               // in the value of a "data" field
	inOther              // in a line that does not matter
)

// NewMeter returns a meter for an answer with the Content-Type.
func NewMeter(contentType string) *Meter {
	m := &Meter{}
	media, _, err := mime.ParseMediaType(contentType)
	m.sse = err == nil && media == "text/event-stream"
	m.json.found = m.note
	return m
}

// Result returns what is known so far. When nothing more comes it is final.
func (m *Meter) Result() Result { return m.r }

// Write takes the next bytes of the answer. It returns len(p) and no error, always.
func (m *Meter) Write(p []byte) (int, error) {
	n := len(p)
	if !m.sse {
		m.json.feed(p)
		return n, nil
	}
	// An event stream is lines; of its fields only "data" matters, as the type is repeated in the data. An empty line ends an
	// event: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Lines end in LF or CRLF;
	// a lone CR, which that page allows too, OpenAI does not send.
	for len(p) > 0 {
		switch m.place {
		case inName:
			c := p[0]
			p = p[1:]
			m.nameByte(c)
		case inData, inOther:
			end := bytes.IndexByte(p, '\n')
			line := p
			if end >= 0 {
				line, p = p[:end+1], p[end+1:]
			} else {
				p = nil
			}
			if m.place == inData {
				m.json.feed(line)
			}
			if end >= 0 {
				m.place, m.named = inName, 0
			}
		}
	}
	return n, nil
}

// nameByte takes a byte of a line before its colon.
func (m *Meter) nameByte(c byte) {
	switch {
	case c == '\n':
		if m.named == 0 || (m.named == 1 && m.name[0] == '\r') {
			m.json.reset()
		}
		m.named = 0
	case c == ':':
		m.place = inOther
		if string(m.name[:m.named]) == "data" {
			m.place = inData
		}
	case m.named == len(m.name):
		m.place = inOther
	default:
		m.name[m.named] = c
		m.named++
	}
}

// note takes a value that matters. The events of a Responses stream have the response inside ("response.usage"), its whole
// answers and Chat Completions are the response themselves.
func (m *Meter) note(f *field) {
	path := f.Path
	if bytes.HasPrefix(path, []byte("response.")) {
		path = path[len("response."):]
	}
	switch string(path) {
	case "id":
		set(&m.r.ID, f)
	case "model":
		set(&m.r.Model, f)
	case "service_tier":
		set(&m.r.Tier, f)
	case "status", "choices[].finish_reason":
		set(&m.r.Finish, f)
	case "usage.input_tokens", "usage.prompt_tokens":
		m.count(&m.r.Usage.Input, f)
	case "usage.input_tokens_details.cached_tokens", "usage.prompt_tokens_details.cached_tokens":
		m.count(&m.r.Usage.Cached, f)
	case "usage.output_tokens", "usage.completion_tokens":
		m.count(&m.r.Usage.Output, f)
	case "usage.output_tokens_details.reasoning_tokens", "usage.completion_tokens_details.reasoning_tokens":
		m.count(&m.r.Usage.Reasoning, f)
	case "code", "error.code":
		set(&m.r.ErrorCode, f)
	case "message", "error.message":
		set(&m.r.ErrorMessage, f)
	case "delta", "choices[].delta.content", "choices[].delta.tool_calls[].function.arguments":
		if f.Kind == '"' {
			m.r.Shown += f.Length
		}
	}
}

// count notes a number of tokens.
func (m *Meter) count(to *int64, f *field) {
	if f.Kind != '0' {
		return
	}
	n, err := strconv.ParseInt(string(f.Token), 10, 64)
	if err != nil || n < 0 {
		return
	}
	*to = n
	m.r.Reported = true
}

// set notes a text; null and the empty text leave what was known.
func set(to *string, f *field) {
	if f.Kind != '"' || len(f.Token) == 0 {
		return
	}
	*to = f.text()
}

// text is the string, at most maxToken bytes of it, without escapes and broken characters.
func (f *field) text() string {
	if !f.escaped {
		return strings.ToValidUTF8(string(f.Token), "")
	}
	var s string
	// A token that was cut may end in the middle of an escape, which is at most twelve bytes long (a pair of \uXXXX).
	for cut := 0; cut <= 12 && cut <= len(f.Token); cut++ {
		if json.Unmarshal([]byte(`"`+string(f.Token[:len(f.Token)-cut])+`"`), &s) == nil {
			return strings.ToValidUTF8(s, "")
		}
	}
	return ""
}
