package words

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Line makes one line of at most max characters.
func Line(text string, max int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if utf8.RuneCountInString(text) > max {
		text = string([]rune(text)[:max-1]) + "…"
	}
	return text
}

// Fit is what safe makes of a text, in at most max characters. cut shortens the text itself, and not what safe has made
// of it: what a cut joins, or brings to the beginning of a line, may act by itself.
func Fit(text string, max int, cut func(text string, max int) string, safe func(string) string) string {
	for room := max; room > 0; {
		made := safe(cut(text, room))
		n := utf8.RuneCountInString(made)
		if n <= max {
			return made
		}
		room = room*max/n - 1
	}
	return ""
}

// CutMark is where WithoutMiddle cut something.
const CutMark = "\n\n[…]\n\n"

// WithoutMiddle shortens text to at most max characters and keeps both ends: the beginning says what it is, the end
// what to do.
func WithoutMiddle(text string, max int) string {
	all := []rune(strings.TrimSpace(text))
	keep := max - utf8.RuneCountInString(CutMark)
	switch {
	case len(all) <= max:
		return string(all)
	case keep <= 0:
		return ""
	}
	return string(all[:keep-keep/2]) + CutMark + string(all[len(all)-keep/2:])
}

// MaxNamed bounds the lines of a List.
const MaxNamed = 20

// List is a Markdown list.
func List(lines []string) string { return "- " + strings.Join(Few(lines, MaxNamed), "\n- ") }

// Few bounds a list that is shown.
func Few(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(lines[:most:most], fmt.Sprintf("… and %d more", len(lines)-most))
}

// Quote is somebody else's text in Markdown.
func Quote(text string) string { return "> " + strings.ReplaceAll(text, "\n", "\n> ") }
