package words

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestWhatFollowsStandsApart(t *testing.T) {
	t.Parallel()
	for markdown, want := range map[string]string{
		"a < b, a <b>":                        "a < b, a &lt;b>",
		"`<b>` <b> ``<b>``":                   "`<b>` &lt;b> ``<b>``",
		"```go\n<b>\n```\n<b>":                "```go\n<b>\n```\n&lt;b>",
		"```go\n<b>":                          "```go\n<b>\n```",
		"1. ```\n   <b>\n   ```\n<b>":         "1. ```\n   <b>\n   ```\n&lt;b>",
		"so\n    ```\n<details>":              "> so\n>     ```\n> &lt;details>",
		"> ```\n<details>":                    "> > ```\n> &lt;details>",
		"- a\n\n  ```\n<details>\n  ```\n<b>": "> - a\n> \n>   ```\n> &lt;details>\n>   ```\n> &lt;b>",
		strings.Repeat(">", 50) + "`<b>`":     "> " + strings.Repeat(">", 50) + "`&lt;b>`",
		"`` <b> `":                            "> `` &lt;b> `",
	} {
		if diff := cmp.Diff(want, Apart(markdown)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", markdown, diff)
		}
	}
}

func FuzzApart(f *testing.F) {
	f.Add("> ```\n<details>\n1. ~~~\n\t```")
	f.Add("<!--\n`` <? ` \r\n\n    ```\n- - ```")
	f.Fuzz(func(t *testing.T, text string) {
		text = Harmless(text)
		shown := Apart(text)
		if !standsApart(shown) && !deep.MatchString(shown) {
			t.Errorf("%q is shown as %q", text, shown)
		}
	})
}

func TestFitIsSafeAndFits(t *testing.T) {
	t.Parallel()
	const text = "@a "
	doubled := func(s string) string { return strings.Repeat(s, 2) }
	for max := range 100 {
		got := Fit(strings.Repeat(text, 30), max, WithoutMiddle, doubled)
		if n := utf8.RuneCountInString(got); n > max || max >= 30 && n < max/2 {
			t.Errorf("%d characters where %d fit", n, max)
		}
	}
	if got := Fit(text, 0, Line, strings.ToUpper); got != "" {
		t.Errorf("got %q", got)
	}
}
