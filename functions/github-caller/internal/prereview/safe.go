package prereview

import (
	"regexp"
	"strings"

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

// safe is an agent's Markdown fit to stand among ours. Without suggestions, what would be one is code like any other.
func safe(text string, suggestions bool) string {
	var b strings.Builder
	open := ""
	for line := range strings.Lines(words.Harmless(text)) {
		body, end := strings.TrimRight(line, "\n"), ""
		if body != line {
			end = "\n"
		}
		before := open
		open = fenceAfter(open, body)
		switch m := fenced.FindStringSubmatch(body); {
		case before == "" && open != "" && strings.HasPrefix(strings.ToLower(m[2]), "suggestion") && !suggestions:
			body = open
		case before == "" && open == "":
			body = withoutTags(body)
		}
		b.WriteString(body + end)
	}
	return closed(strings.TrimSpace(b.String()))
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
