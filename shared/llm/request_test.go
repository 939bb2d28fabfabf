package llm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestInspect(t *testing.T) {
	for body, want := range map[string]Request{
		`{"model":"gpt-5.4","input":"hi"}`:                                                           {Model: "gpt-5.4"},
		" \n{ \"input\" : [ {\"model\":\"no\"} ] , \"stream\" : true , \"model\" : \"m\" }":          {Model: "m", Stream: true},
		`{"model":"m","stream":false,"background":false,"input":"\"model\":\"x\""}`:                  {Model: "m"},
		`{"model":"m","stream":true,"stream_options":{"x":[1],"include_usage":true}}`:                {Model: "m", Stream: true, IncludeUsage: true},
		`{"model":"m","service_tier":"priority"}`:                                                    {Model: "m", Tier: "priority"},
		`{"model":"m","stream":null,"stream_options":null,"background":null}`:                        {Model: "m"},
		`{"model":"\u0067pt","metadata":{"mod\u0065l":"x","model":"y"},"previous_response_id":null}`: {Model: "gpt"},
		`{"mod\u0065l":"m","tools":[{"type":"function","parameters":{"tools":[{"type":"x"}]}}]}`:     {Model: "m"},
	} {
		got, err := Inspect(Responses, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		want.Text = int64(len(body))
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Request{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	for body, want := range map[string]string{
		"":                                  "the body is not JSON, at byte 0",
		`{"model":"m",}`:                    "the body is not JSON, at byte 14",
		`{"model":"m"`:                      "the body is not JSON, at byte 12",
		`[{"model":"m"}]`:                   "not a JSON object",
		`"model"`:                           "not a JSON object",
		`{}`:                                `"model" is missing`,
		`{"model":null}`:                    `"model" is missing`,
		`{"model":""}`:                      `"model" is missing`,
		`{"model":7}`:                       `"model" is not the name of a model`,
		`{"model":{}}`:                      `"model" is not the name of a model`,
		`{"model":"a","model":"b"}`:         `"model" is given twice`,
		`{"model":"a","mod\u0065l":"b"}`:    `"model" is given twice`,
		`{"model":"a","MODEL":"b"}`:         `write "MODEL" as "model"; "model" is given twice`,
		`{"Model":"a"}`:                     `write "Model" as "model"`,
		`{"model":"a","models":["b"]}`:      `the parameter "models" is not offered here`,
		`{"model":"a","input":1,"input":2}`: `"input" is given twice`,
		`{"model":"a","service_tier":2}`:    `"service_tier" is not the name of a tier`,
		`{"model":"a","service_tier":"flex","service_tier":"priority"}`: `"service_tier" is given twice`,
		`{"model":"a","stream":1}`:                                      `"stream" is neither true nor false`,
		`{"model":"a","stream":"true"}`:                                 `"stream" is neither true nor false`,
		`{"model":"a","stream_options":[]}`:                             `"stream_options" is not an object`,
		`{"model":"` + longName + `"}`:                                  `"model" is not the name of a model`,
		`{"model":"a","background":{}}`:                                 `"background" is neither true nor false`,
		`{"model":"a","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}`: "given twice",
	} {
		if r, err := Inspect(Responses, []byte(body)); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "\n", "; "), want) {
			t.Errorf("%.80s: got %+v, %v, want an error with %q", body, r, err, want)
		}
	}
}

var longName = strings.Repeat("m", maxToken+1)

func TestSealed(t *testing.T) {
	const with = `"stream_options":{"include_usage":true}`
	for body, want := range map[string]string{
		`{"model":"m"}`:                                                          `{"model":"m"}`,
		`{"model":"m","stream":true}`:                                            `{` + with + `,"model":"m","stream":true}`,
		` { "model":"m","stream":true,` + with + `}`:                             ` { "model":"m","stream":true,` + with + `}`,
		`{"stream_options":null,"model":"m","stream":true}`:                      `{` + with + `,"model":"m","stream":true}`,
		`{"stream_options": {"include_usage":false} ,"model":"m","stream":true}`: `{"stream_options": {"include_usage":true} ,"model":"m","stream":true}`,
		`{"model":"m","stream":true,"stream_options":{"a":{"b":[1]}}}`:           `{"model":"m","stream":true,"stream_options":{"a":{"b":[1]},"include_usage":true}}`,
	} {
		before := body
		r, err := Inspect(Chat, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Sealed(Chat, []byte(body), Seal{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		if body != before {
			t.Errorf("the body was written to: %s", body)
		}
	}
}

// TestNothingIsKept holds that OpenAI keeps nothing of a response, whatever its own default is.
func TestNothingIsKept(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"m"}`:                `{"store":false,"model":"m"}`,
		`{"model":"m","store":false}`:  `{"model":"m","store":false}`,
		`{"model":"m", "store": null}`: `{"model":"m", "store": false}`,
	} {
		r, err := Inspect(Responses, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Sealed(Responses, []byte(body), Seal{}); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
		}
	}
	const body = `{ "model" : "m" ,"input":"hi"}`
	r, err := Inspect(Responses, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Sealed(Responses, []byte(body), Seal{Model: `n"`}); err != nil || string(got) != `{"store":false, "model" : "n\"" ,"input":"hi"}` {
		t.Errorf("of another model: %s, %v", got, err)
	}
	const usage = `"stream_options":{"include_usage":true}`
	for body, want := range map[string]string{
		`{"model":"m"}`: `{"store":false,"model":"m"}`,
		`{"stream":true,"store": null ,"stream_options":null,"model":"m"}`: `{"stream":true,"store": false ,` + usage + `,"model":"m"}`,
		`{"stream":true,"stream_options":null,"store":null,"model":"m"}`:   `{"stream":true,` + usage + `,"store":false,"model":"m"}`,
		`{"stream":true,"store":null,"model":"m"}`:                         `{` + usage + `,"stream":true,"store":false,"model":"m"}`,
		`{"stream":true,"stream_options":null,"model":"m"}`:                `{"store":false,"stream":true,` + usage + `,"model":"m"}`,
	} {
		r, err := Inspect(Chat, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Sealed(Chat, []byte(body), Seal{OpenAI: true}); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
		}
		if got, err := r.Sealed(Chat, []byte(body), Seal{}); err != nil || strings.Contains(string(got), `"store":false`) {
			t.Errorf("%s for another server: got %s, %v", body, got, err)
		}
	}
}

// FuzzInspect holds that a body which is accepted means the same to encoding/json, and still does with usage added.
func FuzzInspect(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"stream_options":{"include_usage":false},"messages":[{"a":"b\"c"}]}`))
	f.Add([]byte(`{"Model":"x","model":"m","stream":true}`))
	f.Add([]byte(`{"model":"m","model":"n"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Inspect(Chat, body)
		if err != nil {
			return
		}
		var before map[string]any
		if err := json.Unmarshal(body, &before); err != nil {
			t.Fatalf("%s was accepted: %v", body, err)
		}
		if before["model"] != r.Model {
			// A name that is not valid UTF-8 is on no allow-list.
			if name, _ := before["model"].(string); !strings.ContainsRune(name, '\uFFFD') {
				t.Fatalf("%s: model %q, want %q", body, r.Model, before["model"])
			}
		}
		changed, err := r.Sealed(Chat, body, Seal{OpenAI: true})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var after map[string]any
		if err := json.Unmarshal(changed, &after); err != nil {
			t.Fatalf("%s became %s: %v", body, changed, err)
		}
		again, err := Inspect(Chat, changed)
		if err != nil || again.Stream != again.IncludeUsage && again.Stream {
			t.Fatalf("%s became %s: %+v, %v", body, changed, again, err)
		}
		if after["store"] != false {
			t.Fatalf("%s became %s, which is stored", body, changed)
		}
		for _, name := range []string{"stream_options", "store"} {
			delete(before, name)
			delete(after, name)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("%s became %s:\n%s", body, changed, diff)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	body := []byte(`{"model":"gpt-5.4","stream":true,"input":[{"role":"user","content":"` + strings.Repeat("some text ", 4000) + `"}],"tools":[` +
		strings.Repeat(`{"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}},`, 20) + `{"type":"custom"}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Inspect(Responses, body); err != nil {
			b.Fatal(err)
		}
	}
}
