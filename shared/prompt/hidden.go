package prompt

import (
	"slices"
	"strings"

	"codexk8s.dev/shared/plain"
)

// Visible is text in which everything is marked that people do not see when GitHub shows it. See reveal.
func Visible(s string) string {
	text, _ := reveal(s)
	return text
}

// reveal marks what a person does not see: [hidden from people: …] around passages, \u{…} in place of characters
// without a visible form. It returns the runs of characters and the passages, too. Text that is no UTF-8 is repaired.
func reveal(s string) (text string, hidden []string) {
	var passages []string
	text, hidden = plain.SpellOut(replaceHidden(repaired(s), func(passage string) string {
		spelt, _ := plain.SpellOut(passage)
		passages = append(passages, spelt)
		return "[hidden from people: " + passage + "]"
	}))
	return text, append(hidden, passages...)
}

// repaired is UTF-8 with one form of the ends of lines.
func repaired(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.Contains(s, "\r") {
		return s
	}
	return lineEnds.Replace(s)
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// replaceHidden replaces each passage that GitHub does not show.
func replaceHidden(s string, by func(passage string) string) string {
	var b strings.Builder
	end := 0
	hiddenPassages(s, func(from, to int) {
		b.WriteString(s[end:from] + by(s[from:to]))
		end = to
	})
	if end == 0 {
		return s
	}
	return b.String() + s[end:]
}

// maxPassage bounds one hidden passage where it is shown to people, in characters.
const maxPassage = 200

// dropped is text without what people do not see. Characters without a visible form go last, and then what they had
// kept apart. Hidden text that only appears once the rest is joined is marked as usual.
func dropped(s string) string {
	drop := func(string) string { return "" }
	s = replaceHidden(repaired(s), drop)
	seen := withoutUnseen(s)
	if len(seen) == len(s) {
		return s
	}
	return replaceHidden(seen, drop)
}

// withoutUnseen is text without the characters that have no visible form.
func withoutUnseen(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		if !plain.Unseen(runes, i) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// withoutHidden is the input with all untrusted text dropped.
func withoutHidden(in Input) Input {
	in.Issue.Title, in.Issue.Body = withoutUnseen(repaired(in.Issue.Title)), dropped(in.Issue.Body)
	if in.Pull != nil {
		pull := *in.Pull
		pull.Title, pull.Body = withoutUnseen(repaired(pull.Title)), dropped(pull.Body)
		in.Pull = &pull
	}
	if in.Review != nil {
		review := Review{Author: in.Review.Author, Body: dropped(in.Review.Body)}
		for _, c := range in.Review.Comments {
			c.Body = dropped(c.Body) // people see all of a diff
			review.Comments = append(review.Comments, c)
		}
		in.Review = &review
	}
	var talk []Remark
	for _, r := range in.Talk {
		talk = append(talk, Remark{r.Author, dropped(r.Body)})
	}
	in.Talk = talk
	return in
}

// hiddenIn lists what people do not see in all untrusted text, each passage once.
func hiddenIn(in Input) []string {
	texts := []string{in.Issue.Body}
	if in.Pull != nil {
		texts = append(texts, in.Pull.Body)
	}
	if in.Review != nil {
		texts = append(texts, in.Review.Body)
		for _, c := range in.Review.Comments {
			texts = append(texts, c.Body)
		}
	}
	for _, r := range in.Talk {
		texts = append(texts, r.Body)
	}
	return Hidden(in.Issue.Title, texts...)
}

// Hidden lists what people do not see when GitHub shows a title and the texts below it, each passage once and cut to
// maxPassage characters. A title is text and no Markdown: there only characters can be hidden.
func Hidden(title string, texts ...string) (all []string) {
	_, found := plain.SpellOut(repaired(title))
	for _, text := range texts {
		_, hidden := reveal(text)
		found = append(found, hidden...)
	}
	for _, passage := range found {
		if runes := []rune(passage); len(runes) > maxPassage {
			passage = string(runes[:maxPassage]) + " …"
		}
		if !slices.Contains(all, passage) {
			all = append(all, passage)
		}
	}
	return all
}
