package prompt

import (
	"regexp"
	"slices"
	"strings"

	"codexk8s.dev/shared/plain"
)

// visible is text in which everything is marked that people do not see when GitHub shows it. See reveal.
func visible(s string) string {
	text, _ := reveal(s)
	return text
}

// hiddenMarkup are passages of Markdown and HTML that GitHub does not show: comments, declarations, link definitions
// (https://spec.commonmark.org/0.31.2/#link-reference-definitions, of which "[//]: # (…)" is the well-known way to hide
// a remark), footnotes that nothing refers to, elements that say they are hidden, text inside a tag, links without a
// text, titles of links, long texts in place of images, and words after the language of a code block. In a code block a
// person would see some of them; they are marked there too, because it is easier to fake a code block than to recognise
// one.
var hiddenMarkup = regexp.MustCompile(`(?is)<!--.*?(?:-->|\z)` +
	`|<[!?][^>]*(?:>|\z)` +
	`|<(?:script|style|template|title|noscript|textarea)\b.*?(?:</(?:script|style|template|title|noscript|textarea)\s*>|\z)` +
	`|<[a-z][a-z0-9-]*\b[^<>]*(?:\shidden\b|display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0|font-size\s*:\s*0|color\s*:\s*(?:white|transparent|#fff))[^<>]*>.*?(?:</[a-z][a-z0-9-]*\s*>|\n[ \t]*\n|\z)` +
	`|<[a-z][a-z0-9-]*\b[^<>]*\s(?:alt|title|aria-[a-z]+|data-[a-z-]+|content|value|placeholder|summary)\s*=[^<>]*>` +
	`|(?:^|\n)[ \t>]*\[\^[^\]\n]+\]:[^\n]*` +
	`|(?:^|\n)[ \t>]*\[[^\]\n]+\]:[ \t]*\n?[ \t]*[^\s]+(?:[ \t]*\n?[ \t]*(?:"[^"]*"|'[^']*'|\([^)]*\)))?` +
	`|!\[[^\]]{60,}\]` +
	`|\[\s*\]\([^)\s]{20,}[^)]*\)` +
	`|(?:\]\([ \t]*<?[^()\s]*>?)\s+(?:"[^"]+"|'[^']+')[ \t]*\)` +
	"|(?:^|\n)[ \t>]*(?:```+|~~~+)[^\\s`]*[ \t]+[^\n`]+" +
	`|\\(?:phantom|[hv]phantom|color\{white\}|textcolor\{white\})\{[^}]*\}`)

// reveal marks what a person does not see: [hidden from people: …] around passages, \u{…} in place of characters
// without a visible form. It returns the passages and runs of characters too. Text that is no UTF-8 is repaired.
func reveal(s string) (text string, hidden []string) {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	s, hidden = plain.SpellOut(s)
	text = replaceHidden(s, func(passage string) string {
		hidden = append(hidden, passage)
		return "[hidden from people: " + passage + "]"
	})
	return text, hidden
}

// title begins at the title of a link, which shows only when somebody points at it.
var title = regexp.MustCompile(`\s["']`)

// replaceHidden replaces each passage that GitHub does not show.
func replaceHidden(s string, by func(passage string) string) string {
	s = hiddenMarkup.ReplaceAllStringFunc(s, func(found string) string {
		passage := strings.TrimLeft(found, " \t\n>")
		end := ""
		if strings.HasPrefix(passage, "](") {
			at := title.FindStringIndex(passage)
			passage, end = passage[at[0]+1:len(passage)-1], ")"
		}
		if note, _, _ := strings.Cut(passage, "]:"); strings.HasPrefix(note, "[^") && strings.Count(s, note+"]") > 1 {
			return found // shown at the end of the page, as the text refers to it
		}
		return strings.TrimSuffix(found, passage+end) + by(passage) + end
	})
	return replaceExcess(s, by)
}

// dashes is the second line of a table: https://github.github.com/gfm/#tables-extension-
var dashes = regexp.MustCompile(`^[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$`)

// replaceExcess replaces what follows the last column in a row of a table: GitHub leaves it out.
func replaceExcess(s string, by func(passage string) string) string {
	lines := strings.Split(s, "\n")
	columns := 0 // of the table that the line is in
	for i, line := range lines {
		switch {
		case strings.Trim(line, " \t>") == "":
			columns = 0
		case columns == 0 && i > 0 && strings.Contains(line, "|") && dashes.MatchString(line) && columnsOf(line) == columnsOf(lines[i-1]):
			columns = columnsOf(line)
		case columns > 0:
			ends := cells(line)
			if len(ends) <= columns {
				continue
			}
			from := ends[columns-1] + 1
			if passage := strings.Trim(line[from:], " \t|"); passage != "" {
				lines[i] = line[:from] + " " + by(passage)
			}
		}
	}
	return strings.Join(lines, "\n")
}

func columnsOf(row string) int { return len(cells(row)) }

// cells are the ends of a row's cells, of which the last may have no bar.
func cells(row string) (ends []int) {
	begin := len(row) - len(strings.TrimLeft(row, " \t>"))
	if strings.HasPrefix(row[begin:], "|") {
		begin++
	}
	for i := begin; i < len(row); i++ {
		switch row[i] {
		case '\\':
			i++
		case '|':
			ends = append(ends, i)
		}
	}
	if len(ends) == 0 || strings.TrimSpace(row[ends[len(ends)-1]+1:]) != "" {
		ends = append(ends, len(row))
	}
	return ends
}

// maxPassage bounds one hidden passage where it is shown to people, in characters.
const maxPassage = 200

// dropped is text without what people do not see. Hidden text that only appears once the rest is joined is marked as
// usual.
func dropped(s string) string {
	var b strings.Builder
	runes := []rune(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
	for i, r := range runes {
		if !plain.Unseen(runes, i) {
			b.WriteRune(r)
		}
	}
	return replaceHidden(b.String(), func(string) string { return "" })
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

// hiddenIn lists what people do not see in all untrusted text, each passage once.
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

// Hidden lists what people do not see when GitHub shows the texts, each passage once and cut to maxPassage characters.
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
