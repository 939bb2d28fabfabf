package prompt

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
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
	s, hidden = spellOut(s)
	text = hiddenMarkup.ReplaceAllStringFunc(s, func(passage string) string {
		inner := strings.TrimLeft(passage, " \t\n>")
		hidden = append(hidden, inner)
		return passage[:len(passage)-len(inner)] + "[hidden from people: " + inner + "]"
	})
	return text, hidden
}

// spellOut writes characters without a visible form as \u{…}, and returns the runs of them.
func spellOut(s string) (string, []string) {
	var b strings.Builder
	var runs []string
	runes := []rune(s)
	before := false
	for i, r := range runes {
		now := invisible(r) && !joins(runes, i)
		if !now {
			b.WriteRune(r)
			before = false
			continue
		}
		if !before {
			runs = append(runs, "")
		}
		spelt := fmt.Sprintf(`\u{%X}`, r)
		b.WriteString(spelt)
		runs[len(runs)-1] += spelt
		before = true
	}
	return b.String(), runs
}

// invisible says whether r has no visible form of its own: controls, format characters, all that Unicode says may be
// ignored when a font does not know it (fillers of Hangul, selectors of variations, tags), and the empty Braille cell.
// https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
func invisible(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return r == 0x2800 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins says whether the character at i does what it is for: emoji are made with a joiner or one selector, and several
// scripts with joiners. Elsewhere, or one after the other, they carry what nobody sees.
func joins(runes []rune, i int) bool {
	if i == 0 {
		return false
	}
	before := runes[i-1]
	switch runes[i] {
	case 0xFE0E, 0xFE0F: // text or emoji
		return unicode.In(before, unicode.So, unicode.Sk, unicode.Sm, unicode.Po) && before != 0x2800 ||
			unicode.IsDigit(before) && i+1 < len(runes) && runes[i+1] == 0x20E3
	case 0x200C, 0x200D:
		return i+1 < len(runes) && before > unicode.MaxLatin1 && runes[i+1] > unicode.MaxLatin1 &&
			(before == 0xFE0F || !invisible(before)) && !invisible(runes[i+1])
	}
	return false
}

// maxPassage bounds one hidden passage where it is shown to people, in characters.
const maxPassage = 200

// dropped is text without what people do not see. What comes together by that is marked like any other.
func dropped(s string) string {
	var b strings.Builder
	runes := []rune(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
	for i, r := range runes {
		if !invisible(r) || joins(runes, i) {
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
