package prompt

import (
	"regexp"
	"slices"
	"strings"

	"codexk8s.dev/shared/plain"
)

// visible is text with everything marked that a person does not see when GitHub shows it. See reveal.
func visible(s string) string {
	text, _ := reveal(s)
	return text
}

// hiddenMarkup are passages of Markdown and HTML that GitHub does not show: comments, declarations, link definitions
// (https://spec.commonmark.org/0.31.2/#link-reference-definitions, of which "[//]: # (…)" is the well-known way to hide a
// remark), elements that say they are hidden, what only stands in a tag, long texts in place of images, and words behind
// the language of a code block. In a code block a person would see some of them; they are marked there too, since
// what counts as one is easier to forge than to tell.
var hiddenMarkup = regexp.MustCompile(`(?is)<!--.*?(?:-->|\z)` +
	`|<[!?][^>]*(?:>|\z)` +
	`|<(?:script|style|template|title|noscript|textarea)\b.*?(?:</(?:script|style|template|title|noscript|textarea)\s*>|\z)` +
	`|<[a-z][a-z0-9-]*\b[^<>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0|font-size\s*:\s*0|color\s*:\s*(?:white|transparent|#fff))[^<>]*>.*?(?:</[a-z][a-z0-9-]*\s*>|\n[ \t]*\n|\z)` +
	`|<[a-z][a-z0-9-]*\b[^<>]*\s(?:alt|title|aria-[a-z]+|data-[a-z-]+|content|value|placeholder|summary)\s*=[^<>]*>` +
	`|(?:^|\n)[ \t>]*\[[^\]\n]+\]:[ \t]*\n?[ \t]*[^\s]+(?:[ \t]*\n?[ \t]*(?:"[^"]*"|'[^']*'|\([^)]*\)))?` +
	`|!\[[^\]]{60,}\]` +
	"|(?:^|\n)[ \t>]*(?:```+|~~~+)[^\\s`]*[ \t]+[^\n`]+" +
	`|\\(?:phantom|[hv]phantom|color\{white\}|textcolor\{white\})\{[^}]*\}`)

// reveal marks what a person does not see: [hidden from people: …] around passages, \u{…} in place of characters without
// a visible form. It returns the passages and runs of characters too. Text that is no UTF-8 is repaired.
func reveal(s string) (text string, hidden []string) {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	s, hidden = plain.SpellOut(s)
	text = hiddenMarkup.ReplaceAllStringFunc(s, func(passage string) string {
		inner := strings.TrimLeft(passage, " \t\n>")
		hidden = append(hidden, inner)
		return passage[:len(passage)-len(inner)] + "[hidden from people: " + inner + "]"
	})
	return text, hidden
}

// maxPassage bounds one hidden passage where it is shown to people, in characters.
const maxPassage = 200

// dropped is text without what people do not see. What comes together by that is marked like any other.
func dropped(s string) string {
	var b strings.Builder
	runes := []rune(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
	for i, r := range runes {
		if !plain.Unseen(runes, i) {
			b.WriteRune(r)
		}
	}
	return hiddenMarkup.ReplaceAllString(b.String(), "")
}

// withoutHidden is the input with all untrusted text dropped.
func withoutHidden(in Input) Input {
	in.Issue.Title, in.Issue.Body = dropped(in.Issue.Title), dropped(in.Issue.Body)
	if in.Review == nil {
		return in
	}
	review := Review{Author: in.Review.Author, Body: dropped(in.Review.Body)}
	for _, c := range in.Review.Comments {
		c.Body = dropped(c.Body) // people see all of a diff
		review.Comments = append(review.Comments, c)
	}
	in.Review = &review
	return in
}

// hiddenIn lists what people did not see of all untrusted text, each once.
func hiddenIn(in Input) []string {
	texts := []string{in.Issue.Title, in.Issue.Body}
	if in.Review != nil {
		texts = append(texts, in.Review.Body)
		for _, c := range in.Review.Comments {
			texts = append(texts, c.Body)
		}
	}
	return Hidden(texts...)
}

// Hidden lists what people do not see of the texts when GitHub shows them, each passage once and cut to maxPassage characters.
func Hidden(texts ...string) (all []string) {
	for _, text := range texts {
		_, hidden := reveal(text)
		for _, passage := range hidden {
			if runes := []rune(passage); len(runes) > maxPassage {
				passage = string(runes[:maxPassage]) + " …"
			}
			if !slices.Contains(all, passage) {
				all = append(all, passage)
			}
		}
	}
	return all
}
