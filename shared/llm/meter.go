package llm

import (
	"bytes"
	"encoding/json"
	"math"
	"mime"
	"strconv"
	"strings"

	"codexk8s.dev/shared/price"
)

// A Result is what a Meter found. What the answer did not say is empty.
type Result struct {
	ID     string // of the response: resp_…, chatcmpl-…
	Model  string // that answered, often with a date: gpt-5.4-2026-03-05
	Tier   string // service tier that was used: default, flex, priority
	Finish string // Chat: stop, length, tool_calls, content_filter. Responses: completed, incomplete, failed, in_progress.
	Usage  price.Usage
	// Reported is set when Usage is what OpenAI said at the end. Figures that come before the end, often zeros, are no
	// report.
	Reported bool
	// Shown counts the bytes of text and tool arguments that came, a measure where no usage was reported.
	Shown int64
	// Searches counts the web searches that OpenAI made, which cost a fee.
	Searches int64
	// ErrorCode and ErrorMessage are those of an error inside an answer that had begun well.
	ErrorCode, ErrorMessage string
}

// A Meter is an io.Writer that an answer's bytes are written to as they pass. It never fails and keeps nothing of them.
type Meter struct {
	json  scanner
	r     Result
	sse   bool
	place place
	name  [8]byte // the beginning of the current line
	named int
	cr    bool // the last byte was a CR, so that a LF ends no line of its own

	counted bool  // a number of tokens came that is not zero
	whole   int64 // bytes shown in an answer that came whole, also at the end of a stream
	texts   int64 // in a stream's events that end a text
	items   int64 // in those that end an item

	added, done, listed int64 // searches as a stream begins and ends them, and in a whole answer
	event               struct{ added, done, search bool }
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
func (m *Meter) Result() Result {
	m.endEvent()
	r := m.r
	r.Reported = m.counted && r.Finish != "" && r.Finish != "in_progress" && r.Finish != "queued"
	// A stream may repeat what it sent piece by piece: at the end of a text, of its item and of the whole.
	r.Shown = m.Shown()
	r.Searches = max(m.added, m.done, m.listed)
	return r
}

// Shown is how many bytes of text and tool arguments have come so far.
func (m *Meter) Shown() int64 { return max(m.r.Shown, m.texts, m.items, m.whole) }

// Write takes the next bytes of the answer. It returns len(p) and no error, always.
func (m *Meter) Write(p []byte) (int, error) {
	n := len(p)
	if !m.sse {
		m.json.feed(p)
		return n, nil
	}
	// An event stream is lines; of its fields only "data" matters, as the type is repeated in the data. An empty line
	// ends an event, and a line ends in LF, CR or both:
	// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
	for len(p) > 0 {
		if m.cr && p[0] == '\n' {
			m.cr, p = false, p[1:]
			continue
		}
		m.cr = false
		if m.place == inName {
			m.nameByte(p[0])
			m.cr, p = p[0] == '\r', p[1:]
			continue
		}
		end := bytes.IndexAny(p, "\r\n")
		line := p
		if end >= 0 {
			line = p[:end+1]
			m.cr = p[end] == '\r'
		}
		p = p[len(line):]
		if m.place == inData {
			m.json.feed(line)
		}
		if end >= 0 {
			m.place, m.named = inName, 0
		}
	}
	return n, nil
}

// nameByte takes a byte of a line before its colon.
func (m *Meter) nameByte(c byte) {
	switch {
	case c == '\n', c == '\r':
		if m.named == 0 {
			m.endEvent()
			m.json.reset()
		}
		m.named = 0
	case c == ':':
		m.place = inOther
		// A stream may begin with a byte order mark.
		if name := bytes.TrimPrefix(m.name[:m.named], []byte("\ufeff")); string(name) == "data" {
			m.place = inData
		}
	case m.named == len(m.name):
		m.place = inOther
	default:
		m.name[m.named] = c
		m.named++
	}
}

// note takes a value that matters. The events of a Responses stream have the response inside ("response.usage"), its
// whole answers and Chat Completions are the response themselves.
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
	case "delta":
		shown(&m.r.Shown, f)
	case "text", "refusal", "arguments", "input":
		shown(&m.texts, f)
	case "item.content[].text", "item.content[].refusal", "item.summary[].text", "item.arguments", "item.input":
		shown(&m.items, f)
	case "output[].content[].text", "output[].content[].refusal", "output[].summary[].text", "output[].arguments", "output[].input":
		shown(&m.whole, f)
	case "type":
		m.event.added, m.event.done = string(f.Token) == "response.output_item.added", string(f.Token) == "response.output_item.done"
	case "item.type":
		m.event.search = string(f.Token) == searchItem
	case "output[].type":
		if string(f.Token) == searchItem {
			m.listed++
		}
	default:
		m.noteChoice(path, f)
	}
}

// noteChoice counts what the model wrote in Chat Completions. Servers of other models have names of their own for
// thoughts, so every text counts but those that name something, and a second copy of the thoughts:
// https://openrouter.ai/docs/guides/best-practices/reasoning-tokens
func (m *Meter) noteChoice(path []byte, f *field) {
	to := &m.r.Shown
	rest, ok := bytes.CutPrefix(path, []byte("choices[].delta."))
	if !ok {
		to = &m.whole
		if rest, ok = bytes.CutPrefix(path, []byte("choices[].message.")); !ok {
			return
		}
	}
	switch name := rest[bytes.LastIndexByte(rest, '.')+1:]; string(name) {
	case "role", "id", "type", "name":
		return
	}
	if !bytes.HasPrefix(rest, []byte("reasoning_details")) {
		shown(to, f)
	}
}

// searchItem is the type of an item that stands for a web search:
// https://platform.openai.com/docs/guides/tools-web-search#output-and-citations
const searchItem = "web_search_call"

// endEvent counts what the event of a stream was about. Its type may come before or after its item.
func (m *Meter) endEvent() {
	if m.event.search && m.event.added {
		m.added++
	}
	if m.event.search && m.event.done {
		m.done++
	}
	m.event.added, m.event.done, m.event.search = false, false, false
}

// shown adds the length of a text.
func shown(to *int64, f *field) {
	if f.Kind == '"' {
		*to += f.Length
	}
}

// maxTokens is the largest count that is believed: no model handles as many.
const maxTokens = 1e9

// count notes a number of tokens, however it is written: 7, 7.0, "7".
func (m *Meter) count(to *int64, f *field) {
	if f.Kind != '0' && f.Kind != '"' {
		return
	}
	n, err := strconv.ParseFloat(string(f.Token), 64)
	if err != nil || !(n > 0 && n <= maxTokens) { // written so that NaN fails as well
		return
	}
	*to = int64(math.Ceil(n))
	m.counted = true
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
