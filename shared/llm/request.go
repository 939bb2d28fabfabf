package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// A Request is what a gateway has to know of the body of POST /v1/responses or /v1/chat/completions.
type Request struct {
	Model        string
	Stream       bool
	Background   bool // Responses only: answered at once, worked on later
	IncludeUsage bool // stream_options.include_usage

	options struct{ present, start, end int64 } // where the value of stream_options stands
}

// Inspect reads the body without building it up in memory. The error is about the client's mistake and says where it is.
//
// The gateway and OpenAI must read the same model out of a body. So what two readers of JSON may read differently is refused:
// one of our keys twice, and a key written with escapes.
func Inspect(body []byte) (Request, error) {
	if !json.Valid(body) {
		var raw json.RawMessage
		err := json.Unmarshal(body, &raw)
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return Request{}, fmt.Errorf("the body is not JSON, at byte %d: %w", syntax.Offset, err)
		}
		return Request{}, fmt.Errorf("the body is not JSON: %w", err)
	}
	if first := bytes.TrimLeft(body, " \t\r\n"); first[0] != '{' {
		return Request{}, errors.New("the body is not a JSON object")
	}
	var r Request
	var mistakes []error
	seen := map[string]int{}
	s := scanner{
		onKey: func(level int, escaped bool) {
			if level == 1 && escaped {
				mistakes = append(mistakes, errors.New("a key of the body is written with an escape, write it plainly"))
			}
		},
		found: func(f *field) {
			switch string(f.Path) {
			case "model", "stream", "background", "stream_options", "stream_options.include_usage":
				name := string(f.Path)
				if seen[name]++; seen[name] == 2 {
					mistakes = append(mistakes, fmt.Errorf("%q is given twice", name))
				}
				if err := r.take(name, f); err != nil {
					mistakes = append(mistakes, err)
				}
			}
		},
	}
	s.feed(body)
	if len(mistakes) > 0 {
		return Request{}, errors.Join(mistakes...)
	}
	if r.Model == "" {
		return Request{}, errors.New(`"model" is missing`)
	}
	return r, nil
}

// take notes one of the fields that matter. null is the same as an absent field.
func (r *Request) take(name string, f *field) error {
	null := f.Kind == 'l' && string(f.Token) == "null"
	if name == "stream_options" {
		r.options.present, r.options.start, r.options.end = 1, f.Start, f.End
		if f.Kind != '{' && !null {
			return errors.New(`"stream_options" is not an object`)
		}
		return nil
	}
	if null {
		return nil
	}
	if name == "model" {
		if f.Kind != '"' || f.Length > maxToken {
			return errors.New(`"model" is not the name of a model`)
		}
		r.Model = f.text()
		return nil
	}
	value := string(f.Token) == "true"
	if f.Kind != 'l' {
		return fmt.Errorf("%q is neither true nor false", name)
	}
	switch name {
	case "stream":
		r.Stream = value
	case "background":
		r.Background = value
	case "stream_options.include_usage":
		r.IncludeUsage = value
	}
	return nil
}

// WithUsage returns the body, which Inspect has read as r, such that a streamed chat completion ends with its usage:
// https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options. The client then gets one chunk more
// than it asked for, one without choices. A body that needs no change is returned as it is; body is never written to.
func (r Request) WithUsage(body []byte) ([]byte, error) {
	if !r.Stream || r.IncludeUsage {
		return body, nil
	}
	if r.options.present == 0 {
		open := bytes.IndexByte(body, '{') + 1
		return splice(body, open, open, []byte(`"stream_options":{"include_usage":true},`)), nil
	}
	options := map[string]json.RawMessage{}
	if err := json.Unmarshal(body[r.options.start:r.options.end], &options); err != nil {
		return nil, fmt.Errorf("reading stream_options: %w", err)
	}
	if options == nil { // it was null
		options = map[string]json.RawMessage{}
	}
	options["include_usage"] = json.RawMessage("true")
	changed, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("writing stream_options: %w", err)
	}
	return splice(body, int(r.options.start), int(r.options.end), changed), nil
}

// splice is body with the bytes from start to end replaced.
func splice(body []byte, start, end int, by []byte) []byte {
	out := make([]byte, 0, len(body)+len(by))
	out = append(out, body[:start]...)
	out = append(out, by...)
	return append(out, body[end:]...)
}
