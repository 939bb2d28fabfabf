package prereview

import (
	"regexp"
	"strings"

	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/words"
)

var (
	fenced = regexp.MustCompile("^[\\s>]*(`{3,}|~{3,})\\s*(.*)$")
	tag    = regexp.MustCompile(`<([A-Za-z/!?])`)
	span   = regexp.MustCompile("`+[^`]*`+")
)

// fenceAfter is the fence that is open after the line; "" = none.
func fenceAfter(open, line string) string {
	m := fenced.FindStringSubmatch(line)
	switch {
	case m == nil:
		return open
	case open == "":
		if m[1][0] == '`' && strings.Contains(m[2], "`") {
			return "" // code in a line
		}
		return m[1]
	case m[1][0] == open[0] && len(m[1]) >= len(open) && m[2] == "":
		return ""
	}
	return open
}

// closed ends a fence that the text leaves open.
func closed(text string) string {
	open := ""
	for line := range strings.Lines(text) {
		open = fenceAfter(open, strings.TrimRight(line, "\n"))
	}
	if open == "" {
		return text
	}
	return strings.TrimRight(text, "\n") + "\n" + open
}

// suggestion begins what a click commits. At the beginning of its line nothing but its own end ends it: it is in no
// list and no quotation.
var suggestion = regexp.MustCompile("^(?:`{3,}|~{3,})\\s*suggestion\\s*$")

// safe is an agent's Markdown fit to stand among ours. With suggestions, what they would have committed stays as it is:
// code calls nobody, and a mark that breaks a name there would break the program. One with a line that bots obey, in
// code too, is no suggestion. Nor is any without suggestions: it is code like other code.
func safe(text string, suggestions bool) string {
	var b, plainly strings.Builder
	var code []string // of the suggestion that is open, with its fence
	open := ""
	for line := range strings.Lines(lineEnds.Replace(plain.Text(text))) {
		body := strings.TrimRight(line, "\n")
		before := open
		open = fenceAfter(open, body)
		switch {
		case suggestions && before == "" && open != "" && suggestion.MatchString(body):
			code = []string{line}
		case code == nil:
			plainly.WriteString(line)
		case open != "":
			code = append(code, line)
		case words.Commands(strings.Join(code[1:], "")):
			plainly.WriteString(strings.Join(code, "") + line)
			code = nil
		default:
			b.WriteString(harmless(plainly.String()) + strings.Join(code, "") + line)
			plainly.Reset()
			code = nil
		}
	}
	return strings.TrimSpace(b.String() + harmless(plainly.String()+strings.Join(code, "")))
}

// lineEnds are those that Markdown knows.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// harmless is Markdown without suggestions, with all of its fences closed.
func harmless(text string) string {
	var b strings.Builder
	open := ""
	for line := range strings.Lines(words.Harmless(text)) {
		body := strings.TrimRight(line, "\n")
		before := open
		open = fenceAfter(open, body)
		switch m := fenced.FindStringSubmatch(body); {
		case before == "" && open != "" && strings.HasPrefix(strings.ToLower(m[2]), "suggestion"):
			line = open + line[len(body):]
		case before == "" && open == "":
			line = withoutTags(body) + line[len(body):]
		}
		b.WriteString(line)
	}
	return closed(b.String())
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
