package prereview

import (
	"regexp"
	"strings"

	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/words"
)

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
		open = words.FenceAfter(open, body)
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
	whole := strings.TrimSpace(b.String() + harmless(plainly.String()+strings.Join(code, "")))
	if b.Len() > 0 && words.Apart(whole) != whole {
		return safe(text, false)
	}
	return whole
}

// lineEnds are those that Markdown knows.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// harmless is Markdown without suggestions, apart from what follows.
func harmless(text string) string {
	return words.Apart(offered.ReplaceAllString(words.Harmless(text), "$1"))
}

// offered is what GitHub may take for the beginning of a suggestion, in a list and a quotation too.
var offered = regexp.MustCompile("(?im)^([\\s>*+.)0-9-]*(?:`{3,}|~{3,}))[ \\t]*suggestion[^`\\n]*$")
