package llm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Endpoint is one of the two ways to ask a model.
type Endpoint string

// The endpoints, by their path behind /v1/.
const (
	Responses Endpoint = "responses"
	Chat      Endpoint = "chat/completions"
)

// A Request is what a gateway has to know about the body of POST /v1/responses or /v1/chat/completions.
type Request struct {
	Model        string
	Tier         string // service tier that is asked for; "" = OpenAI's choice
	Stream       bool
	IncludeUsage bool     // stream_options.include_usage
	Hosted       []string // tools that OpenAI would run by itself, by type without date: web_search, mcp
	Files        int64    // pictures, documents and sounds inside the body
	Text         int64    // bytes of the body without those of files inside
	MaxOutput    int64    // tokens that each answer may have; 0 = not said
	Answers      int64    // how many are asked for at once; 0 = not said, one

	options, store, max, model member // stream_options, store, what says MaxOutput, and model
	maxName                    string
}

// Inspect reads the body without decoding it into memory. Its error is the client's mistake and says where it is.
//
// The gateway and OpenAI must read a body the same way. So what two readers of JSON may read differently is refused: a
// parameter twice, or in another spelling. The gateway does not pass on what it does not know, because a new parameter
// or tool may reach data outside the body, or cost something that nobody counts.
func Inspect(endpoint Endpoint, body []byte) (Request, error) {
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
	i := inspection{endpoint: endpoint, seen: map[string]bool{}, typed: map[string]bool{}, Request: Request{Text: int64(len(body))}}
	s := scanner{onKey: i.key, found: i.value}
	s.feed(body)
	if i.Model == "" {
		i.wrong(`"model" is missing`)
	}
	if searchModel(i.Model) {
		i.hosted("web_search")
	}
	if len(i.mistakes) > 0 {
		return Request{}, errors.Join(i.mistakes...)
	}
	return i.Request, nil
}

// flag notes true and false; null is the same as an absent field.
func (i *inspection) flag(f *field) bool {
	if f.Kind != 'l' {
		i.wrong("%q is neither true nor false", f.Path)
	}
	return string(f.Token) == "true"
}

// whole reads a number of tokens or answers.
func (i *inspection) whole(f *field) int64 {
	n, err := strconv.ParseInt(string(f.Token), 10, 64)
	if f.Kind != '0' || err != nil || n < 1 || n > maxTokens {
		i.wrong("%q is no whole number from 1 to %d", f.Path, int64(maxTokens))
		return 0
	}
	return n
}

func null(f *field) bool { return f.Kind == 'l' && string(f.Token) == "null" }

// parameter takes a field of the outermost object that matters here, or one inside stream_options.
func (i *inspection) parameter(f *field) {
	switch string(f.Path) {
	case "stream_options":
		i.options = member{true, f.Start, f.End}
		if f.Kind != '{' && !null(f) {
			i.wrong(`"stream_options" is not an object`)
		}
		return
	case "stream_options.include_usage":
		i.once("stream_options.include_usage")
	case "store":
		i.store = member{true, f.Start, f.End}
	case "max_output_tokens", "max_completion_tokens", "max_tokens":
		if i.maxName != "" && !null(f) && i.MaxOutput > 0 {
			i.wrong("%q and %q say the same thing: give one of them", i.maxName, f.Path)
		}
		if i.MaxOutput == 0 {
			i.max, i.maxName = member{true, f.Start, f.End}, string(f.Path)
		}
	}
	if null(f) {
		return
	}
	switch string(f.Path) {
	case "model":
		if f.Kind != '"' || f.Length > maxToken {
			i.wrong(`"model" is not the name of a model`)
			return
		}
		i.Model, i.model = f.text(), member{true, f.Start, f.End}
	case "service_tier":
		if f.Kind != '"' || f.Length > maxToken {
			i.wrong(`"service_tier" is not the name of a tier`)
			return
		}
		i.Tier = f.text()
	case "max_output_tokens", "max_completion_tokens", "max_tokens":
		i.MaxOutput = i.whole(f)
	case "n":
		i.Answers = i.whole(f)
	case "stream":
		i.Stream = i.flag(f)
	case "stream_options.include_usage":
		i.IncludeUsage = i.flag(f)
	case "store", "background":
		if i.flag(f) {
			i.wrong("%q must be false here: what a run asks is kept by nobody, and its use is known when the answer ends", f.Path)
		}
	case "previous_response_id", "conversation", "prompt":
		i.wrong("%q is not offered here: send what the model shall know in the body", f.Path)
	case "web_search_options":
		i.hosted("web_search")
	}
}

// searchModel says whether a model searches the web by itself: gpt-4o-search-preview, gpt-5-search-api,
// o3-deep-research.
func searchModel(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "-search") || strings.Contains(name, "deep-research")
}

// Seal is how a body is changed on its way.
type Seal struct {
	OpenAI bool // the server is OpenAI's own, which knows all parameters
	// MaxOutput is how many tokens all answers together may have at most; 0 = as many as the body says.
	MaxOutput int64
	// Model is asked in place of the body's; "" = that one.
	Model string
}

// Sealed returns the body, which Inspect read as r, changed so that OpenAI does not store it, reports the usage at the
// end, and generates no more than it may:
// https://platform.openai.com/docs/api-reference/responses/create#responses-create-store and
// https://platform.openai.com/docs/api-reference/chat/create#chat-create-stream_options. Accounts of OpenAI may store
// chat completions by default (https://developers.openai.com/api/docs/guides/migrate-to-responses); other servers may
// not know the parameter, so there it is only for OpenAI itself. The client of a streamed chat completion then gets one
// chunk more than it asked for, one without choices. A body that needs no change is returned as it is; body is never
// written to.
func (r Request) Sealed(endpoint Endpoint, body []byte, s Seal) ([]byte, error) {
	var edits []edit
	if s.Model != "" {
		name, err := json.Marshal(s.Model)
		if err != nil {
			return nil, fmt.Errorf("naming the model: %w", err)
		}
		edits = append(edits, edit{r.model, "model", name})
	}
	if endpoint == Responses || s.OpenAI {
		edits = append(edits, edit{r.store, "store", []byte("false")})
	}
	if endpoint == Chat && r.Stream && !r.IncludeUsage {
		options, err := r.withUsage(body)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit{r.options, "stream_options", options})
	}
	if each := max(s.MaxOutput/max(r.Answers, 1), 1); s.MaxOutput > 0 && (r.MaxOutput == 0 || r.MaxOutput > each) {
		edits = append(edits, edit{r.max, r.maxParameter(endpoint, s.OpenAI), strconv.AppendInt(nil, each, 10)})
	}
	// From the end, so that no change moves another one's place. What is new comes to the beginning.
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(b.start, a.start) })
	for _, e := range edits {
		body = e.put(body, e.name, e.value)
	}
	return body, nil
}

// edit gives a member of a body another value.
type edit struct {
	member
	name  string
	value []byte
}

// maxParameter is the name of the parameter that bounds an answer. OpenAI's reasoning models refuse max_tokens in a
// chat completion, which other servers know best.
func (r Request) maxParameter(endpoint Endpoint, openAI bool) string {
	switch {
	case r.max.present:
		return r.maxName
	case endpoint == Responses:
		return "max_output_tokens"
	case openAI:
		return "max_completion_tokens"
	}
	return "max_tokens"
}

// withUsage is the value of stream_options that asks for the usage as well.
func (r Request) withUsage(body []byte) ([]byte, error) {
	options := map[string]json.RawMessage{}
	if r.options.present {
		if err := json.Unmarshal(body[r.options.start:r.options.end], &options); err != nil {
			return nil, fmt.Errorf("reading stream_options: %w", err)
		}
	}
	if options == nil { // it was null
		options = map[string]json.RawMessage{}
	}
	options["include_usage"] = json.RawMessage("true")
	changed, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("writing stream_options: %w", err)
	}
	return changed, nil
}

// member is where the value of one of the body's members stands, if it has that member.
type member struct {
	present    bool
	start, end int64
}

// put is body with the member's value, which comes before all others if it is a new one.
func (m member) put(body []byte, name string, value []byte) []byte {
	if m.present {
		return splice(body, int(m.start), int(m.end), value)
	}
	open := bytes.IndexByte(body, '{') + 1
	return splice(body, open, open, fmt.Appendf(nil, "%q:%s,", name, value))
}

// splice is body with the bytes from start to end replaced; body itself where that changes nothing.
func splice(body []byte, start, end int, by []byte) []byte {
	if bytes.Equal(body[start:end], by) {
		return body
	}
	out := make([]byte, 0, len(body)+len(by))
	out = append(out, body[:start]...)
	out = append(out, by...)
	return append(out, body[end:]...)
}
