package approval

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":[ 1 , 2 ]}`:                             `{"a":[1,2],"b":1}`,
		"{\"a\":\t\"\\u0041\\/\\u00e9<&>\u2028\"}":          "{\"a\":\"A/é<&>\u2028\"}",
		`{"n":[1.0,1,-0,1E400,10000000000000000000000001]}`: `{"n":[1.0,1,-0,1E400,10000000000000000000000001]}`,
		`{"":{},"x":[],"y":null,"z":true,"f":false}`:        `{"":{},"f":false,"x":[],"y":null,"z":true}`,
		`"\u0008\u0009\u000a\u000c\u000d\u001f\"\\"`:        `"\b\t\n\f\r\u001f\"\\"`,
		// By UTF-16: the emoji's surrogates go before U+FB33, which its code point does not.
		`{"\ufb33":1,"😀":2,"\r":3,"1":4}`:    `{"\r":3,"1":4,"😀":2,"` + "\ufb33" + `":1}`,
		`{"a":"\ud83d\ude00","b":"\\u0000"}`: `{"a":"😀","b":"\\u0000"}`,
	} {
		got, err := Canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s:\n got %s %v\nwant %s", in, got, err, want)
		}
	}
}

// What two readers could understand differently, people can't approve.
func TestCanonicalRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{"amount":10,"amount":100000}`:   `the JSON has the key "amount" twice`,
		`{"a":{"b":1,"\u0062":2}}`:        `the JSON at "a" has the key "b" twice`,
		`{"a":[1,{"b":1,"b":2}]}`:         `the JSON at "a" at 1 has the key "b" twice`,
		`{"a":"\ud800"}`:                  "half a surrogate pair",
		`{"a":"\udc00\ud800"}`:            "half a surrogate pair",
		`{"a":"\u0000"}`:                  "half a surrogate pair",
		"{\"a\":\"\xff\"}":                "not UTF-8",
		`{"a":1}{"b":2}`:                  "goes on after its first value",
		`{"a":1} x`:                       "goes on after its first value",
		`{"a":01}`:                        "malformed",
		`{"a":NaN}`:                       "malformed",
		`{"a":1,}`:                        "malformed",
		`{a:1}`:                           "malformed",
		`{"a"`:                            "malformed",
		`]`:                               "malformed",
		``:                                "malformed",
		strings.Repeat("[", 17) + "1":     "more than 16 values are in one another",
		strings.Repeat("[", 10000):        "more than 16 values are in one another",
		`"` + strings.Repeat("x", 40<<10): "at most 32768 are taken",
	} {
		if got, err := Canonical([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %.40s %v, want %q", in, got, err, want)
		}
	}
}

// What is canonical stays as it is and means what was written.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"b":1,"a":[1,{"c":"\u00e9\n\ud83d\ude00"}]}`, `{"a":"\\u0000","b":"\u001f\u2028"}`, `[1.0,-0,1e9,true,null,""]`, `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := Canonical(data)
		if err != nil {
			return
		}
		twice, err := Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q is canonical as %q, and that as %q %v", data, once, twice, err)
		}
		read := func(data []byte) (v any) {
			d := json.NewDecoder(bytes.NewReader(data))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%q: %v", data, err)
			}
			return v
		}
		if want, got := read(data), read(once); !reflect.DeepEqual(want, got) {
			t.Fatalf("%q became %q", data, once)
		}
	})
}

func TestSealBindsWhatIsAsked(t *testing.T) {
	base, err := Seal(asked(events.KindApproval))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Seal(base)
	if err != nil || !reflect.DeepEqual(base, again) {
		t.Errorf("what is sealed twice is another: %+v %v", again, err)
	}
	for name, change := range map[string]func(*Request){
		"action":     func(r *Request) { r.Action = "tool:other" },
		"arguments":  func(r *Request) { r.Arguments = json.RawMessage(`{"name":"api-keys"}`) },
		"a number":   func(r *Request) { r.Arguments = json.RawMessage(`{"name":"api-key","n":1}`) },
		"head":       func(r *Request) { r.HeadSHA = "badcafe" },
		"repository": func(r *Request) { r.RepositoryID++ },
	} {
		r := asked(events.KindApproval)
		change(&r)
		if other, err := Seal(r); err != nil || other.Digest == base.Digest || other.ID == base.ID {
			t.Errorf("another %s is the same request: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Request){
		"form of JSON":       func(r *Request) { r.Arguments = json.RawMessage(` { "name" : "\u0061pi-key" } `) },
		"name of repository": func(r *Request) { r.Repository = "acme/renamed" },
		"words":              func(r *Request) { r.Justification = "Please." },
	} {
		r := asked(events.KindApproval)
		change(&r)
		if other, err := Seal(r); err != nil || other.Digest != base.Digest || other.ID != base.ID {
			t.Errorf("another %s is another request: %v", name, err)
		}
	}
	used := asked(events.KindApproval)
	used.Repeat = 1
	if other, err := Seal(used); err != nil || other.Digest != base.Digest || other.ID == base.ID {
		t.Errorf("a yes is used once, so the same asked again is another request: %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	for want, change := range map[string]func(*Request){
		"arguments: want a JSON object":              func(r *Request) { r.Arguments = json.RawMessage(`[1]`) },
		"arguments: the JSON has the key":            func(r *Request) { r.Arguments = json.RawMessage(`{"a":1,"a":2}`) },
		"justification has 501 characters":           func(r *Request) { r.Justification = strings.Repeat("ü", 501) },
		"action has 201 characters":                  func(r *Request) { r.Action = strings.Repeat("x", 201) },
		"run, action and title must be given":        func(r *Request) { r.Title = " " },
		"links: want an https URL":                   func(r *Request) { r.Links = []Link{{Text: "x", URL: "javascript:alert(1)"}} },
		"of at most 500 bytes in place 2":            func(r *Request) { r.Links = []Link{{URL: "https://a"}, {URL: "https://user:pass@a"}} },
		"links: 6 were given":                        func(r *Request) { r.Links = repeated(Link{URL: "https://a"}, 6) },
		"links: the text in place 1":                 func(r *Request) { r.Links = []Link{{Text: strings.Repeat("x", 101), URL: "https://a"}} },
		"options: an approval is a yes or a no":      func(r *Request) { r.Options = []string{"a", "b"} },
		`kind "wish"`:                                func(r *Request) { r.Kind = "wish" },
		"options: 1 were given":                      func(r *Request) { r.Kind, r.Options = events.KindQuestion, []string{"a"} },
		"options: 6 were given":                      func(r *Request) { r.Kind, r.Options = events.KindQuestion, strings.Split("abcdef", "") },
		"options: 0 were given":                      func(r *Request) { r.Kind = events.KindQuestion },
		"options: number 2 stands twice":             func(r *Request) { r.Kind, r.Options = events.KindQuestion, []string{"a", "a"} },
		"options: number 3 stands twice":             func(r *Request) { r.Kind, r.Options = events.KindQuestion, []string{"a b", "c", "a  b "} },
		"options: number 2 has 1 characters, want 1": func(r *Request) { r.Kind, r.Options = events.KindQuestion, []string{"a", " "} },
	} {
		r := asked(events.KindApproval)
		change(&r)
		if _, err := Seal(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func repeated[T any](v T, n int) (all []T) {
	for range n {
		all = append(all, v)
	}
	return all
}

// Whatever is not sealed could ask for one thing and show another.
func TestOnlyWhatIsSealedIsOpened(t *testing.T) {
	sealed, err := Seal(asked(events.KindApproval))
	if err != nil {
		t.Fatal(err)
	}
	sealed.Arguments = json.RawMessage(`{"name":"root-key"}`)
	_, _, err = Decide(Ticket{}, Opened{Request: sealed, Terms: &Terms{}}, start)
	if rejected, ok := events.AsRejected(err); !ok || rejected.Reason != "not_sealed" {
		t.Errorf("got %v", err)
	}
}
