package llm

import (
	"slices"
	"strings"
	"testing"
)

// TestHostedTools holds that whatever OpenAI would run by itself is seen, under any name and in any place.
func TestHostedTools(t *testing.T) {
	responses := func(rest string) string { return `{"model":"gpt-5.4",` + rest + `}` }
	for body, want := range map[string][]string{
		responses(`"tools":[{"type":"web_search","external_web_access":true}]`):                                                                {"web_search"},
		responses(`"tools":[{"type":"web_search_2025_08_26"},{"type":"web_search"}]`):                                                          {"web_search"},
		responses(`"tools":[{"type":"web_search_preview_2025_03_11"}]`):                                                                        {"web_search_preview"},
		responses(`"tools":[{"type":"mcp","server_url":"https://x"},{"type":"image_generation"}]`):                                             {"mcp", "image_generation"},
		responses(`"tools":[{"type":"function","name":"f"},{"vector_store_ids":[],"type":"file_search"}]`):                                     {"file_search"},
		responses(`"tools":[{"type":"namespace","tools":[{"type":"function"},{"type":"shell"}]}]`):                                             {"shell"},
		responses(`"tools":[{"type":"function","type":"code_interpreter"}]`):                                                                   {"code_interpreter"},
		responses(`"tools":[{"type":"function","TYPE":"computer_use_preview"}]`):                                                               {"computer_use_preview"},
		responses(`"tools":[{"ty\u0070e":"we\u0062_search"}]`):                                                                                 {"web_search"},
		responses(`"tools":[{"type":"Web_Search"}]`):                                                                                           {"web_search"},
		responses(`"tools":[{"type":null}]`):                                                                                                   {"null"},
		responses(`"input":[{"type":"additional_tools","tools":[{"type":"mcp"}]}]`):                                                            {"mcp"},
		responses(`"tool_choice":{"type":"allowed_tools","tools":[{"type":"web_search"}]}`):                                                    {"web_search"},
		`{"model":"gpt-4o-search-preview"}`:                                                                                                    {"web_search"},
		`{"model":"o4-mini-deep-research-2025-06-26"}`:                                                                                         {"web_search"},
		responses(`"tools":[{"type":"function"},{"type":"custom","format":{"type":"grammar"}},{"type":"local_shell"},{"type":"apply_patch"}]`): nil,
		responses(`"tools":[{"tools":[{"type":"function"}],"type":"namespace"},{"type":"tool_search"}],"tool_choice":{"type":"function"}`):     nil,
		responses(`"tools":null,"input":"{\"tools\":[{\"type\":\"mcp\"}]}"`):                                                                   nil,
	} {
		r, err := Inspect(Responses, []byte(body))
		if err != nil || !slices.Equal(r.Hosted, want) {
			t.Errorf("%s: got %q, %v, want %q", body, r.Hosted, err, want)
		}
	}
	r, err := Inspect(Chat, []byte(`{"model":"m","web_search_options":{}}`))
	if err != nil || !slices.Equal(r.Hosted, []string{"web_search"}) {
		t.Errorf("web_search_options: got %q, %v", r.Hosted, err)
	}
}

// TestWhatIsNotInTheBody holds that a body can't name what OpenAI would fetch, or has kept of somebody.
func TestWhatIsNotInTheBody(t *testing.T) {
	deep := `{"type":"namespace","tools":[`
	for rest, want := range map[string]string{
		`"previous_response_id":"resp_1"`:                  `"previous_response_id" is not offered`,
		`"conversation":{"id":"conv_1"}`:                   `"conversation" is not offered`,
		`"prompt":{"id":"pmpt_1"}`:                         `"prompt" is not offered`,
		`"store":true`:                                     `"store" must be false`,
		`"background":true`:                                `"background" must be false`,
		`"vector_store_ids":["vs_1"]`:                      `"vector_store_ids" is not offered`,
		`"input":[{"type":"item_reference","id":"msg_1"}]`: "is a reference",
		`"input":[{"id":"msg_1"}]`:                         "is an id and nothing else",
		`"input":[{"id":"msg_1","type":null}]`:             "is an id and nothing else",
		`"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png"}]}]`:     "an address that OpenAI would fetch",
		`"input":[{"role":"user","content":[{"type":"input_image","image_url":"HTTP://x"}]}]`:            "an address that OpenAI would fetch",
		`"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://x"}]}]`:             "an address that OpenAI would fetch",
		`"input":[{"role":"user","content":[{"type":"input_file","file_id":"file_1"}]}]`:                 "names a file at OpenAI",
		`"input":[{"type":"function_call_output","output":[{"type":"input_image","image_url":"ftp:"}]}]`: "an address that OpenAI would fetch",
		`"input":[{"role":"user","content":[{"IMAGE_URL":"https://x"}]}]`:                                "an address that OpenAI would fetch",
		`"tools":[{"name":"f"}]`: "has no type",
		`"tools":["web_search"]`: "has no type",
		`"tools":[` + strings.Repeat(deep, 3) + `{"type":"function"}` + strings.Repeat("]}", 3) + "]": "too deep",
	} {
		body := `{"model":"m",` + rest + `}`
		if r, err := Inspect(Responses, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v, want an error with %q", body, r, err, want)
		}
	}
	for rest, want := range map[string]string{
		`"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]`: "an address that OpenAI would fetch",
		`"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file_1"}}]}]`:          "names a file at OpenAI",
		`"audio":{"voice":"alloy"}`:       `"audio" is not offered`,
		`"previous_response_id":"resp_1"`: `"previous_response_id" is not offered`,
		`"plugins":[{"id":"web"}]`:        `"plugins" is not offered`,
	} {
		body := `{"model":"m",` + rest + `}`
		if r, err := Inspect(Chat, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v, want an error with %q", body, r, err, want)
		}
	}
}

// TestFilesAreCountedAsFiles holds that the bytes of a picture are not taken for text.
func TestFilesAreCountedAsFiles(t *testing.T) {
	picture := "data:image/png;base64," + strings.Repeat("iVBORw0K", 1000)
	for endpoint, rest := range map[Endpoint]string{
		Responses: `"input":[{"role":"user","content":[{"type":"input_text","text":"data: is text"},{"type":"input_image","image_url":"%"}]}]`,
		Chat:      `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"%"}}]}]`,
	} {
		body := `{"model":"m",` + strings.Replace(rest, "%", picture, 1) + `}`
		r, err := Inspect(endpoint, []byte(body))
		if err != nil || r.Files != 1 || r.Text != int64(len(body)-len(picture)) {
			t.Errorf("%s: %d files and %d bytes of text in %d, %v", endpoint, r.Files, r.Text, len(body), err)
		}
	}
}
