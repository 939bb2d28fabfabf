package words

import (
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

var (
	fenced = regexp.MustCompile("^[\\s>]*((?:(?:[-*+]|\\d{1,9}[.)])\\s+)*)(`{3,}|~{3,})\\s*(.*)$")
	tag    = regexp.MustCompile(`<([A-Za-z/!?])`)
	span   = regexp.MustCompile("`+[^`]*`+")
)

// Apart is an agent's Markdown as it stands among ours: it shows HTML as text, and what it leaves open ends with it, so
// it neither hides nor swallows what follows. Code stays as it is. Where the lines alone don't tell what is code, a
// parser of GitHub's Markdown has the last word, and what it finds to be more than text is shown as a quotation.
func Apart(markdown string) string {
	var b strings.Builder
	open := ""
	for line := range strings.Lines(markdown) {
		body := strings.TrimRight(line, "\n")
		before := open
		if open = FenceAfter(open, body); before == "" && open == "" {
			line = withoutTags(body) + line[len(body):]
		}
		b.WriteString(line)
	}
	if shown := Closed(b.String()); standsApart(shown) {
		return shown
	}
	return Quote(tag.ReplaceAllString(markdown, "&lt;$1"))
}

// FenceAfter is the fence of code that is open after the line, if that one was open before; "" = none.
func FenceAfter(open, line string) string {
	m := fenced.FindStringSubmatch(line)
	switch {
	case m == nil:
		return open
	case open == "":
		if m[2][0] == '`' && strings.Contains(m[3], "`") {
			return "" // code in a line
		}
		return m[2]
	case m[1] == "" && m[2][0] == open[0] && len(m[2]) >= len(open) && m[3] == "":
		return ""
	}
	return open
}

// Closed ends a fence that the Markdown leaves open.
func Closed(markdown string) string {
	open := ""
	for line := range strings.Lines(markdown) {
		open = FenceAfter(open, strings.TrimRight(line, "\n"))
	}
	if open == "" {
		return markdown
	}
	return strings.TrimRight(markdown, "\n") + "\n" + open
}

// withoutTags shows HTML as text, outside of code: an element that is left open would hide what follows.
func withoutTags(line string) string {
	var b strings.Builder
	at := 0
	for _, code := range span.FindAllStringIndex(line, -1) {
		b.WriteString(tag.ReplaceAllString(line[at:code[0]], "&lt;$1") + line[code[0]:code[1]])
		at = code[1]
	}
	return b.String() + tag.ReplaceAllString(line[at:], "&lt;$1")
}

// deep are more quotations and lists in one another than anybody writes, for which the parser needs seconds.
var deep = regexp.MustCompile(`(?m)^(?:[ \t]*(?:[>*+-]|\d{1,9}[.)])){40}`)

var gfm = goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()

// standsApart reports whether the Markdown has no HTML, and a paragraph after it is one.
func standsApart(markdown string) bool {
	if !strings.ContainsAny(markdown, "<`~") {
		return true // only HTML and fences go on after an empty line
	}
	if deep.MatchString(markdown) {
		return false
	}
	const after = "\n\nafter"
	source := []byte(markdown + after)
	page := gfm.Parse(text.NewReader(source))
	last, ok := page.LastChild().(*ast.Paragraph)
	if !ok || last.Lines().Len() != 1 || last.Lines().At(0).Start != len(markdown)+len(after)-len("after") {
		return false
	}
	html := false
	_ = ast.Walk(page, func(n ast.Node, _ bool) (ast.WalkStatus, error) { // never an error
		switch n.(type) {
		case *ast.HTMLBlock, *ast.RawHTML:
			html = true
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	return !html
}
