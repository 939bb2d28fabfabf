package plain

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"as it is, größe 🚀":   "as it is, größe 🚀",
		"a\x00b\x00":          "ab",
		"\xff\xfea\xc3":       "\uFFFDa\uFFFD",
		"\xed\xa0\x80":        "\uFFFD", // a surrogate, as CESU-8 has it
		"line\r\n\ttab\x1b[0": "line\r\n\ttab\x1b[0",
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"a🚀b", 4, "a"}, // never a part of a character
		{"a🚀b", 5, "a🚀"},
		{"\x00\x00abc", 3, "abc"},
	} {
		if got := Cut(c.in, c.limit); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	type document struct {
		Text string
		List []string
		Map  map[string]string
		Raw  json.RawMessage
	}
	data := `{"Text":"a\u0000b \\u0000 \\\u0000 \ud800","List":["\u0000","\xff"],"Map":{"k\u0000":"v\u0000"},"Raw":{"x":"\u0000` + "\xff" + `"}}`
	data = strings.ReplaceAll(data, `\xff`, "\xff")
	want := document{
		Text: "ab \\u0000 \\ \uFFFD", List: []string{"", "\uFFFD"}, Map: map[string]string{"k": "v"}, Raw: json.RawMessage("{\"x\":\"\uFFFD\"}"),
	}
	var got document
	if err := Unmarshal([]byte(data), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := Unmarshal([]byte("{\"Text\":\"\x00\"}"), &got); err == nil {
		t.Error("a bare zero byte is no JSON, and was accepted")
	}
}

// What Unmarshal accepts is what json.Unmarshal accepts, and nothing that it yields holds a zero byte.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`"a\u0000"`, `"\\u0000"`, `"\\\u0000\\"`, `["\u00000"]`, `"\`, `{"\u0000":1}`, "\"\xff\"", `"\u000`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var theirs, ours any
		err := json.Unmarshal(data, &theirs)
		if got := Unmarshal(data, &ours); (got == nil) != (err == nil) {
			t.Fatalf("%q: %v, and encoding/json %v", data, got, err)
		}
		again, _ := json.Marshal(ours)
		if strings.Contains(strings.ReplaceAll(string(again), `\\`, ""), `\u0000`) {
			t.Fatalf("%q: a zero byte is left: %q", data, again)
		}
	})
}

// What is no JSON is not made JSON by what is taken out of it.
func TestABrokenEscapeStaysBroken(t *testing.T) {
	var got string
	for _, data := range []string{`"\u00\u000000"`, `"\u000\u00000"`, `"\u0000`, `"\\u0000\u00"`} {
		if err := Unmarshal([]byte(data), &got); err == nil {
			t.Errorf("%s became %q", data, got)
		}
	}
}
