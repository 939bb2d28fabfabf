package stage

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"codexk8s.dev/shared/plain"
	agent "codexk8s.dev/shared/words"
)

// code shows a name as code in GitHub's Markdown, whatever characters it has.
func code(name string) string {
	if isPlain(name) {
		return "`" + name + "`"
	}
	name = strings.Join(strings.Fields(name), " ")
	fence := "`"
	for strings.Contains(name, fence) {
		fence += "`"
	}
	if fence != "`" {
		name = " " + name + " "
	}
	return fence + name + fence
}

var (
	tag    = regexp.MustCompile(`<([A-Za-z/!?])`)
	entity = regexp.MustCompile(`&(#?[A-Za-z0-9]+;)`)
)

// quote shows at most room characters of what somebody else wrote: as a quotation, so that whatever it leaves open (a
// fence, a list, a table) ends with it; without HTML, which would not; and without mentioning anybody. What does not
// fit is cut from the middle, because the beginning says what it is and the end how it ended.
func quote(text string, room int) string {
	text = strings.Map(printable, strings.ReplaceAll(text, "\r\n", "\n"))
	shown := quotation(text)
	if utf8.RuneCountInString(shown) <= room {
		return shown
	}
	for runes := []rune(text); utf8.RuneCountInString(shown) > room; {
		// Escaping makes the quotation longer than the text.
		keep := len(runes) * room / utf8.RuneCountInString(shown) * 9 / 10
		runes = cutMiddle(runes, keep)
		shown = quotation(agent.Harmless(string(runes))) // a cut may bring a command to the beginning of its line
	}
	return shown
}

// isPlain reports whether the name is code between two backquotes as it is.
func isPlain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r == '`' || unicode.IsSpace(r) })
}

func quotation(text string) string {
	if strings.ContainsAny(text, "&<") {
		text = entity.ReplaceAllString(text, "&amp;$1")
		text = tag.ReplaceAllString(text, "&lt;$1")
	}
	text = strings.TrimSpace(plain.Unmention(text))
	var b strings.Builder
	b.Grow(len(text) + 2*strings.Count(text, "\n") + 2)
	for line := range strings.SplitSeq(text, "\n") {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteByte('>')
		if line = strings.TrimRight(line, " "); line != "" {
			put(&b, " ", line)
		}
	}
	return b.String()
}

func printable(r rune) rune {
	switch {
	case r == '\r':
		return '\n'
	case r == '\n' || r == '\t' || !unicode.IsControl(r):
		return r
	}
	return -1
}

const gap = "\n\n… (left out) …\n\n"

func cutMiddle(text []rune, keep int) []rune {
	keep = max(0, keep-len([]rune(gap)))
	return []rune(string(text[:(keep+1)/2]) + gap + string(text[len(text)-keep/2:]))
}
