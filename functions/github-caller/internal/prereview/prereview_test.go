package prereview

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/words"
)

// patch has the new file's lines 2 to 5 and 21 to 23.
const patch = "@@ -2,3 +2,4 @@ func a() {\n one\n-gone\n+two\n+three\n four\n@@ -20,2 +21,3 @@\n b\n+c\n d\n\\ No newline at end of file"

func TestEachFindingHasItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		item     string
		comments []Comment
		body     string
	}{
		"a line":                 {"- `a.go:3` **major**: wrong", []Comment{{"a.go", 3, 3, "**major**: wrong"}}, ""},
		"a line of context":      {"- `a.go:5`: wrong", []Comment{{"a.go", 5, 5, "wrong"}}, ""},
		"bold, with a dash":      {"* **`./a.go:3`** — wrong", []Comment{{"a.go", 3, 3, "wrong"}}, ""},
		"a range":                {"- `a.go:2-4` wrong", []Comment{{"a.go", 2, 4, "wrong"}}, ""},
		"a range over two hunks": {"- `a.go:4-22` wrong", []Comment{{"a.go", 22, 22, "wrong"}}, ""},
		"a range out of a hunk":  {"- `a.go:5-9` wrong", []Comment{{"a.go", 5, 5, "wrong"}}, ""},
		"a range backwards":      {"- `a.go:4-2` wrong", []Comment{{"a.go", 4, 4, "wrong"}}, ""},
		"more places":            {"- `a.go:3`, `b.go:1` **minor**: wrong", []Comment{{"a.go", 3, 3, "Also `b.go:1` **minor**: wrong"}}, ""},
		"over lines":             {"- `a.go:3` wrong:\n\n  it goes\n  on", []Comment{{"a.go", 3, 3, "wrong:\n\nit goes\non"}}, ""},
		"a suggestion":           {"- `a.go:3` so:\n  ```suggestion\n  if a < b {\n  ```", []Comment{{"a.go", 3, 3, "so:\n```suggestion\nif a < b {\n```"}}, ""},
		"code as it is":          {"- `a.go:3` ask @bob:\n  ```suggestion\n  @Override // fixes #7 <b> &#35;\n  ```\n  @bob", []Comment{{"a.go", 3, 3, "ask @\u200bbob:\n```suggestion\n@Override // fixes #7 <b> &#35;\n```\n@\u200bbob"}}, ""},
		"a command in code":      {"- `a.go:3` so:\n  ```suggestion\n  /lgtm\n  ```", []Comment{{"a.go", 3, 3, "so:\n```\n\u200b/lgtm\n```"}}, ""},
		"code that CR ends":      {"- `a.go:3` so:\n  ```suggestion\n  x\r```\r@bob", []Comment{{"a.go", 3, 3, "so:\n```suggestion\nx\n```\n@\u200bbob"}}, ""},
		"code in a quotation":    {"- `a.go:3` so:\n  > ```suggestion\n  @bob\n  > ```", []Comment{{"a.go", 3, 3, "so:\n> ```\n@\u200bbob\n> ```"}}, ""},
		"code for other lines":   {"- `a.go:5-9` so:\n  ```suggestion\n  x\n  ```", []Comment{{"a.go", 5, 5, "so:\n```\nx\n```"}}, ""},
		"two suggestions":        {"- `a.go:3` so:\n  ```suggestion\n  @a\n  ```\n  or:\n  ```suggestion\n  @b", []Comment{{"a.go", 3, 3, "so:\n```suggestion\n@a\n```\nor:\n```\n@\u200bb\n```"}}, ""},
		"no line of the diff":    {"- `a.go:1` **major**: wrong", nil, "- `a.go:1` **major**: wrong"},
		"a line that was before": {"- `a.go:20` wrong", nil, "- `a.go:20` wrong"},
		"no number":              {"- `a.go` wrong", nil, "- `a.go` wrong"},
		"a number too large":     {"- `a.go:99999999999999999999` wrong", nil, "- `a.go` wrong"},
		"line zero":              {"- `a.go:0` wrong", nil, "- `a.go` wrong"},
		"another file":           {"- `../a.go:3` wrong", nil, "- `../a.go:3` wrong"},
		"a file without a diff":  {"- `logo.png:3` wrong", nil, "- `logo.png:3` wrong"},
		"no place":               {"- wrong as a whole", nil, "- wrong as a whole"},
		"a suggestion elsewhere": {"- `a.go:9` so:\n  ```suggestion\n  x\n  ```", nil, "- `a.go:9` so:\n  ```\n  x\n  ```"},
		"a fence left open":      {"- `a.go:3` so:\n  ```go\n  x", []Comment{{"a.go", 3, 3, "so:\n```go\nx\n```"}}, ""},
		"a call and a command":   {"- `a.go:3` ask @acme/all\n  /lgtm\n  fixes #7", []Comment{{"a.go", 3, 3, "ask @\u200bacme/all\n\u200b/lgtm\nfixes issue 7"}}, ""},
		"HTML":                   {"- `a.go:3` <details> and `<b>`", []Comment{{"a.go", 3, 3, "&lt;details> and `<b>`"}}, ""},
		"HTML after a quotation": {"- `a.go:3` so:\n  > ```\n  <details>\n  > ```", []Comment{{"a.go", 3, 3, "> so:\n> > ```\n> &lt;details>\n> > ```"}}, ""},
		"what is no fence":       {"- `a.go:3` so\n      ```\n  ends", []Comment{{"a.go", 3, 3, "> so\n>     ```\n> ends"}}, ""},
		"code behind no fence":   {"- `a.go:5-9` so:\n\n      ```\n  ```suggestion\n  x\n  ```", []Comment{{"a.go", 5, 5, "> so:\n> \n>     ```\n> ```\n> x\n> ```"}}, ""},
		"code in a list":         {"- `a.go:5-9` so:\n  1. ```suggestion\n     <x>\n     ```\n  <y>", []Comment{{"a.go", 5, 5, "so:\n1. ```\n   <x>\n   ```\n&lt;y>"}}, ""},
	} {
		got := Make("Fit.\n\n## Findings\n"+c.item, map[string]string{"a.go": patch, "logo.png": ""}, "END")
		want := Review{Body: "Fit.\n\nEND", Comments: c.comments}
		if c.body != "" {
			want.Body, want.Others = "Fit.\n\n**Not on a line of the diff:**\n\n"+c.body+"\n\nEND", 1
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTheRestIsTheSummary(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing found":         {"Fit.", "Fit.\n\nEND"},
		"nothing at all":        {" \n", "There are no findings.\n\nEND"},
		"findings alone":        {"### findings:\n- `a.go:3` x", "The findings stand on their lines.\n\nEND"},
		"an empty list":         {"Fit.\n## Findings\n\nNone.", "Fit.\n\nNone.\n\nEND"},
		"words after the list":  {"Fit.\n## Findings\n- `a.go:3` x\nThat is all.\n## Open\n- load", "Fit.\nThat is all.\n## Open\n- load\n\nEND"},
		"a heading in a fence":  {"Fit:\n```\n## Findings\n- `a.go:3` x\n```", "Fit:\n```\n## Findings\n- `a.go:3` x\n```\n\nEND"},
		"a fence left open":     {"Fit:\n```go\nx", "Fit:\n```go\nx\n```\n\nEND"},
		"a comment, an element": {"Fit <!-- x\n<details><summary>\n<img src=x>", "Fit &lt;!-- x\n&lt;details>&lt;summary>\n&lt;img src=x>\n\nEND"},
		"no UTF-8":              {"Fit\xff\x00.", "Fit\uFFFD.\n\nEND"},
	} {
		if diff := cmp.Diff(c.want, Make(c.text, map[string]string{"a.go": patch}, "END").Body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatGitHubTakes(t *testing.T) {
	text := strings.Repeat("word ", 20_000) + "\n## Findings\n"
	for range maxComments + 10 {
		text += "- `a.go:3` " + strings.Repeat("x", 9_000) + "\n"
	}
	r := Make(text, map[string]string{"a.go": patch}, "END")
	if len(r.Comments) != maxComments || r.Others != 10 || utf8.RuneCountInString(r.Body) > maxBody+10 || !strings.HasSuffix(r.Body, "\n\nEND") {
		t.Errorf("%d comments, %d others, %d characters", len(r.Comments), r.Others, utf8.RuneCountInString(r.Body))
	}
	for _, c := range r.Comments {
		if n := utf8.RuneCountInString(c.Text); n > maxComment {
			t.Fatalf("a comment has %d characters", n)
		}
	}
	if r := Make(text, nil, "END"); len(r.Comments) != 0 || r.Others != maxComments+10 {
		t.Errorf("without patches: %d comments", len(r.Comments))
	}
}

// A suggestion that is cut in its middle is none: a click would commit the gap.
func TestNoSuggestionHasAGap(t *testing.T) {
	code := strings.Repeat("x = 1\n  ", 2_000)
	r := Make("## Findings\n- `a.go:3` so:\n  ```suggestion\n  "+code+"```", map[string]string{"a.go": patch}, "END")
	if len(r.Comments) != 1 || strings.Contains(r.Comments[0].Text, "suggestion") || !strings.Contains(r.Comments[0].Text, "[…]") {
		t.Errorf("%+v", r.Comments)
	}
}

// What a cut joins, or brings to the beginning of a line, would act: a command, a trailer, a name, a keyword.
func TestACutBringsNothingToLife(t *testing.T) {
	const line = "see /approve now, prefixes #7, mail a@bob.example, a Reviewed-by: b, &#35;7 <b>\n"
	for shift := range line {
		got := cut(strings.Repeat(line[shift:]+line[:shift], 20), 500)
		if diff := cmp.Diff(words.Apart(words.Harmless(got)), got); diff != "" {
			t.Errorf("at %d (-harmless +got):\n%s", shift, diff)
		}
		if n := utf8.RuneCountInString(got); n > 500 || n < 300 {
			t.Errorf("at %d it has %d characters", shift, n)
		}
	}
}

func FuzzMake(f *testing.F) {
	f.Add("Fit.\n## Findings\n- `a.go:3-4` x\n  ```suggestion\n", patch)
	f.Add("```\n~~~\n> ````\n", "@@ -1 +99999999999999999999 @@\n+x")
	f.Fuzz(func(t *testing.T, text, patch string) {
		r := Make(text, map[string]string{"a.go": patch}, "END")
		if !strings.HasSuffix(r.Body, "\n\nEND") || !utf8.ValidString(r.Body) {
			t.Errorf("%q", r.Body)
		}
		for i, part := range append([]Comment{{Text: r.Body}}, r.Comments...) {
			if words.Apart(part.Text) != part.Text {
				t.Errorf("part %d leaves a fence open: %s", i, fmt.Sprintf("%q", part.Text))
			}
			if i > 0 && (part.First < 1 || part.First > part.Last || part.Path != "a.go") {
				t.Errorf("%+v", part)
			}
		}
	})
}
