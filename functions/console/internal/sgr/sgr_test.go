package sgr_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"codexk8s.dev/functions/console/internal/sgr"
)

func TestHTML(t *testing.T) {
	for line, want := range map[string]string{
		"plain":                       "plain",
		"a\tb":                        "a\tb",
		"<script>alert(1)</script>":   "&lt;script&gt;alert(1)&lt;/script&gt;",
		"\x1b[31mred\x1b[0m black":    `<span class="f1">red</span> black`,
		"\x1b[1;91;44mx\x1b[mz":       `<span class="sb f9 b4">x</span>z`,
		"\x1b[31m\x1b[32mgreen":       `<span class="f2">green</span>`,
		"\x1b[38;5;31mmany\x1b[0m":    "many",
		"\x1b[38;2;1;31;4mmillions":   "millions",
		"\x1b[4:3mcurly":              `<span class="si su">curly</span>`,
		"\u009b32mone character":      `<span class="f2">one character</span>`,
		"\x1b[2Kerased\x1b[1;1H":      "erased",
		"\x1b[31":                     "",
		"end\x1b":                     "end",
		"\x1b]8;;javascript:x\x1b\\a": "a",
		"\x1b]8;;data:x\aa\x1b]8;;\a": "a",
		"\x1b]52;c;cHduZWQ=\ax":       "x",
		"\x1b]0;never ends":           "",
		"\x1b(Bset":                   "set",
		"nul\x00bel\a\r":              "nulbel",
		"turned \u202Egpj.exe":        "turned &lt;U+202E&gt;gpj.exe",
		"\xff":                        "\uFFFD",
		`"quotes'&`:                   "&#34;quotes&#39;&amp;",
		"\x1b[1\" onclick=\"x\"mevil": `nclick=&#34;x&#34;mevil`,
	} {
		if got := string(sgr.HTML(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

var span = regexp.MustCompile(`</span>|<span class="[a-z0-9 ]+">`)

// FuzzHTML: whatever is printed, the only elements are our spans, they are closed, and what is seen is the text.
func FuzzHTML(f *testing.F) {
	for _, seed := range []string{"x", "\x1b[31mred", "<b>\x1b[0;1m&amp;", "\x1b]8;;http://x\x1b\\y", "\u202e\x9b\x1b[", strings.Repeat("\x1b[31m\x1b[0mx", 50)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := string(sgr.HTML(line))
		if !utf8.ValidString(got) {
			t.Fatalf("%q: not UTF-8: %q", line, got)
		}
		if strings.Count(got, "<span") != strings.Count(got, "</span>") {
			t.Fatalf("%q: spans are not closed: %q", line, got)
		}
		text := span.ReplaceAllString(got, "")
		if strings.ContainsAny(text, `<>"'`) {
			t.Fatalf("%q: markup of the line's: %q", line, got)
		}
		seen := html.UnescapeString(text)
		if want := sgr.Text(line); seen != want {
			t.Fatalf("%q: shows %q, want %q", line, seen, want)
		}
		if i := strings.IndexFunc(seen, func(r rune) bool { return r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }); i >= 0 {
			t.Fatalf("%q: control characters stay: %q", line, seen)
		}
	})
}
