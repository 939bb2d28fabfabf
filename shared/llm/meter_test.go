package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/price"
)

const sse = "text/event-stream; charset=utf-8"

// responsesStream is a streamed answer of the Responses API with a text of about n bytes.
func responsesStream(n int) []byte {
	var b bytes.Buffer
	event := func(name, data string) { fmt.Fprintf(&b, "event: %s\ndata: {\"type\":%q,%s}\n\n", name, name, data) }
	event("response.created", `"response":{"id":"resp_1","model":"gpt-5.4-2026-03-05","status":"in_progress","usage":null,"error":null}`)
	text := 0 // each delta is 31 bytes as written
	for ; text < n; text += 31 {
		event("response.output_text.delta", `"item_id":"msg_1","delta":"text of thirty bytes,\"quoted\""`)
	}
	whole := strings.Repeat("x", n)
	event("response.output_item.done", `"item":{"type":"message","id":"msg_1","status":"completed","content":[{"text":"`+whole+`"}]}`)
	event("response.completed", `"response":{"id":"resp_1","model":"gpt-5.4-2026-03-05","service_tier":"default","status":"completed","error":null,`+
		`"output":[{"id":"msg_1","usage":{"input_tokens":9},"content":[{"text":"`+whole+`"}]}],`+
		`"usage":{"input_tokens":1200,"input_tokens_details":{"cached_tokens":1024},"output_tokens":300,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":1500}}`)
	return b.Bytes()
}

const chatStream = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-5-mini","choices":[{"index":0,"delta":{"role":"assistant","content":"Hé"},"finish_reason":null}],"usage":null}

: a comment
data: {"id":"chatcmpl-1","model":"gpt-5-mini","choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":null}

data: {"id":"chatcmpl-1","model":"gpt-5-mini","service_tier":"default","choices":[],"usage":{"prompt_tokens":70,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}

data: [DONE]

`

// searches is a stream in which the model has searched twice, told when each begins and ends, and again at the end.
const searches = `data: {"type":"response.output_item.added","item":{"type":"web_search_call","id":"ws_1"}}

data: {"item":{"type":"web_search_call","id":"ws_1"},"type":"response.output_item.done"}

data: {"type":"response.output_item.added","item":{"type":"message"}}

data: {"type":"response.output_item.added","item":{"type":"web_search_call","id":"ws_2"}}

data: {"type":"response.completed","response":{"status":"completed","output":[{"type":"web_search_call"}]}}

`

// chunk is an event of a chat's stream with these fields of its delta.
func chunk(delta string) string { return `data: {"choices":[{"delta":{` + delta + "}}]}\n\n" }

func TestMeter(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		want              Result
	}{
		"responses, streamed": {sse, string(responsesStream(60)), Result{ID: "resp_1", Model: "gpt-5.4-2026-03-05", Tier: "default",
			Finish: "completed", Usage: price.Usage{Input: 1200, Cached: 1024, Output: 300, Reasoning: 64}, Reported: true, Shown: 62}},
		"chat, streamed": {sse, chatStream, Result{ID: "chatcmpl-1", Model: "gpt-5-mini", Tier: "default", Finish: "tool_calls",
			Usage: price.Usage{Input: 70, Cached: 3, Output: 9, Reasoning: 2}, Reported: true, Shown: 5}},
		"chat, streamed with CRLF": {sse, strings.ReplaceAll(chatStream, "\n", "\r\n"), Result{ID: "chatcmpl-1", Model: "gpt-5-mini",
			Tier: "default", Finish: "tool_calls", Usage: price.Usage{Input: 70, Cached: 3, Output: 9, Reasoning: 2}, Reported: true, Shown: 5}},
		"responses, whole": {"application/json", `{"id":"resp_2","status":"incomplete","model":"gpt-5.4","output":[{"id":"x","status":"completed"}],
			"usage":{"input_tokens":7,"output_tokens":5},"metadata":{"usage":{"input_tokens":1}}}`,
			Result{ID: "resp_2", Model: "gpt-5.4", Finish: "incomplete", Usage: price.Usage{Input: 7, Output: 5}, Reported: true}},
		"chat, whole": {"application/json", `{"id":"chatcmpl-2","model":"m","choices":[{"message":{"content":"{\"usage\":{\"prompt_tokens\":1}}"},"finish_reason":"stop"}],
			"usage":{"prompt_tokens":7,"completion_tokens":5}}`,
			Result{ID: "chatcmpl-2", Model: "m", Finish: "stop", Usage: price.Usage{Input: 7, Output: 5}, Reported: true, Shown: 33}},
		"a failure in a stream": {sse, `data: {"type":"response.failed","response":{"id":"resp_3","status":"failed","error":{"code":"server_error","message":"It \u201cbroke\u201d."}}}` + "\n\n",
			Result{ID: "resp_3", Finish: "failed", ErrorCode: "server_error", ErrorMessage: "It “broke”."}},
		"an error event": {sse, "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow down\",\"param\":null}\n\n",
			Result{ErrorCode: "rate_limit_exceeded", ErrorMessage: "slow down"}},
		"data over several lines": {sse, "data: {\"id\":\ndata: \"resp_4\"}\n\n", Result{ID: "resp_4"}},
		"broken off":              {sse, chatStream[:230], Result{ID: "chatcmpl-1", Model: "gpt-5-mini", Shown: 3}},
		"after a broken event":    {sse, "data: {\"id\":\"resp_5\",[[[\"\n\ndata: {\"model\":\"m\"}\n\n", Result{ID: "resp_5", Model: "m"}},
		"other fields":            {sse, "id: {\"id\":\"no\"}\ndatabase: {\"id\":\"no\"}\ndata\n\n", Result{}},
		"a huge and a wrong number": {"application/json", `{"usage":{"input_tokens":99999999999999999999,"output_tokens":-3,"prompt_tokens":"7","completion_tokens":1.5}}`,
			Result{Usage: price.Usage{Input: 7, Output: 2}}},
		"a whole number with a point, and a text": {"application/json", `{"status":"completed","usage":{"input_tokens":1000.0,"output_tokens":"1e3"}}`,
			Result{Finish: "completed", Usage: price.Usage{Input: 1000, Output: 1000}, Reported: true}},
		"zeros before the end": {sse, `data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress","usage":{"input_tokens":0,"output_tokens":0}}}` +
			"\n\n" + `data: {"type":"response.output_text.delta","delta":"word"}` + "\n\n", Result{ID: "resp_1", Finish: "in_progress", Shown: 4}},
		"figures before the end": {sse, `data: {"id":"c","choices":[{"delta":{"content":"word"},"finish_reason":null}],"usage":{"prompt_tokens":5,"completion_tokens":1}}` + "\n\n",
			Result{ID: "c", Usage: price.Usage{Input: 5, Output: 1}, Shown: 4}},
		"lone CR": {sse, strings.ReplaceAll(chatStream, "\n", "\r"), Result{ID: "chatcmpl-1", Model: "gpt-5-mini",
			Tier: "default", Finish: "tool_calls", Usage: price.Usage{Input: 70, Cached: 3, Output: 9, Reasoning: 2}, Reported: true, Shown: 5}},
		"byte order mark":             {sse, "\ufeff" + `data: {"id":"resp_1"}` + "\n\n", Result{ID: "resp_1"}},
		"byte order mark before JSON": {"application/json", "\ufeff" + `{"id":"resp_1"}`, Result{ID: "resp_1"}},
		"no usage, whole": {"application/json", `{"id":"c","choices":[{"message":{"content":"eight by","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"stop"}]}`,
			Result{ID: "c", Finish: "stop", Shown: 10}},
		"thoughts":  {sse, chunk(`"reasoning_content":"seven b"`) + chunk(`"reasoning":"ab","reasoning_details":[{"text":"ab"}]`), Result{Shown: 9}},
		"a refusal": {sse, chunk(`"role":"assistant","refusal":"no"`), Result{Shown: 2}},
		"input of a tool": {sse, chunk(`"tool_calls":[{"id":"call_1","type":"custom","custom":{"name":"sh","input":"ls"}}]`) +
			chunk(`"function_call":{"name":"sh","arguments":"{}"}`), Result{Shown: 4}},
		"content in parts": {sse, chunk(`"content":[{"type":"text","text":"abc"},"de"]`), Result{Shown: 5}},
		"thoughts, whole":  {"application/json", `{"choices":[{"message":{"role":"assistant","reasoning_content":"abc","content":"de"}}]}`, Result{Shown: 5}},
		"texts without pieces": {sse, `data: {"type":"response.output_text.done","text":"abc"}` + "\n\n" +
			`data: {"type":"response.function_call_arguments.done","arguments":"{}"}` + "\n\n", Result{Shown: 5}},
		"items without pieces": {sse, `data: {"type":"response.output_text.done","text":"abc"}` + "\n\n" +
			`data: {"type":"response.output_item.done","item":{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"abc"}]}}` + "\n\n" +
			`data: {"type":"response.output_item.done","item":{"type":"reasoning","summary":[{"text":"ab"}]}}` + "\n\n", Result{Shown: 5}},
		"searches":                     {sse, searches, Result{Finish: "completed", Searches: 2}},
		"searches, whole":              {"application/json", `{"output":[{"type":"web_search_call"},{"type":"message"},{"type":"web_search_call"}]}`, Result{Searches: 2}},
		"a key that looks like a path": {"application/json", `{"usage.input_tokens":7,"a":{"b":1}}`, Result{}},
		"deep nesting":                 {"application/json", strings.Repeat(`{"id":[`, 5000) + strings.Repeat(`]}`, 5000) + "", Result{}},
		"empty":                        {"", "", Result{}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := NewMeter(c.contentType)
			if n, err := whole.Write([]byte(c.body)); n != len(c.body) || err != nil {
				t.Errorf("Write: %d, %v, want %d and no error", n, err, len(c.body))
			}
			if diff := cmp.Diff(c.want, whole.Result()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			single := NewMeter(c.contentType)
			for i := range len(c.body) {
				single.Write([]byte(c.body[i : i+1]))
			}
			if diff := cmp.Diff(c.want, single.Result()); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMeterKeepsNothing holds that the meter allocates no more for a long answer than for a short one.
func TestMeterKeepsNothing(t *testing.T) {
	allocated := func(body []byte) float64 {
		return testing.AllocsPerRun(5, func() { NewMeter(sse).Write(body) })
	}
	short, long := allocated(responsesStream(300)), allocated(responsesStream(1<<20))
	if long > short {
		t.Errorf("a long answer takes %v allocations, a short one %v", long, short)
	}
}

func TestLongTextIsCutCleanly(t *testing.T) {
	for _, filler := range []string{"a", "é", `\u00e9`, `\ud83d\ude00`, `\\`} {
		m := NewMeter("application/json")
		m.Write([]byte(`{"error":{"message":"x` + strings.Repeat(filler, 200) + `"}}`))
		got := m.Result().ErrorMessage
		if len(got) < 40 || len(got) > maxToken || strings.ContainsRune(got, '\uFFFD') {
			t.Errorf("filler %s: %d bytes: %q", filler, len(got), got)
		}
	}
}

// FuzzMeter holds that any bytes in any pieces give the same result, and that of a whole JSON answer it is the one that
// encoding/json would give.
func FuzzMeter(f *testing.F) {
	f.Add(responsesStream(100), true, uint64(1))
	f.Add([]byte(chatStream), true, uint64(2))
	f.Add([]byte(`{"id":"a","usage":{"input_tokens":7,"x":[1,{"input_tokens":8}]}}`), false, uint64(3))
	f.Add([]byte(`{"us\u0061ge":{"input_tokens":7}}`), false, uint64(4))
	f.Add([]byte("data: \"\\\n\ndata:}]}\r\n\r\n"), true, uint64(5))
	f.Fuzz(func(t *testing.T, body []byte, stream bool, seed uint64) {
		contentType := "application/json"
		if stream {
			contentType = sse
		}
		whole := NewMeter(contentType)
		whole.Write(body)
		pieces := NewMeter(contentType)
		random := rand.New(rand.NewPCG(seed, 0))
		for rest := body; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 40))
			pieces.Write(rest[:n])
			rest = rest[n:]
		}
		if diff := cmp.Diff(whole.Result(), pieces.Result()); diff != "" {
			t.Fatalf("the pieces matter (-whole +pieces):\n%s", diff)
		}
		var answer struct {
			Usage map[string]json.RawMessage `json:"usage"`
		}
		decoder := json.NewDecoder(bytes.NewReader(body))
		if stream || !json.Valid(body) || decoder.Decode(&answer) != nil {
			return
		}
		// Only where each name occurs once and is written as here do the two mean the same.
		lower := bytes.ToLower(body)
		if bytes.Count(lower, []byte("usage")) != 1 || bytes.Count(body, []byte(`"usage"`)) != 1 ||
			bytes.Count(body, []byte("input_tokens")) != 1 || bytes.Contains(body, []byte("prompt_tokens")) || bytes.ContainsRune(body, '\\') {
			return
		}
		var number float64
		if json.Unmarshal(answer.Usage["input_tokens"], &number) != nil {
			return // no number, or a text that may be one
		}
		want := int64(math.Ceil(number))
		if !(number > 0 && number <= maxTokens) {
			want = 0
		}
		if got := whole.Result().Usage.Input; got != want {
			t.Fatalf("%s: input %d, want %d", body, got, want)
		}
	})
}

func BenchmarkMeterStream(b *testing.B) {
	body := responsesStream(64 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		m := NewMeter(sse)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 4096)
			m.Write(rest[:n])
			rest = rest[n:]
		}
		if !m.Result().Reported {
			b.Fatal("no usage")
		}
	}
}
