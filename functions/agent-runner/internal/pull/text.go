package pull

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/words"
)

// maxBody is how many characters a pull request's body may have, a person's and ours.
const maxBody = 65_536

// title is the issue's: reviewers look for it.
func title(a *agentapi.Assignment) string {
	number := fmt.Sprintf(" (#%d)", a.GetIssueNumber())
	return words.Fit(a.GetIssueTitle(), 250-len(number), words.Line, words.Harmless) + number
}

// body is the description of a pull request with our part brought up to date. A person's text around it stays, and the
// whole fits: ours is shortened, in its middle first, or left out.
func body(old string, a *agentapi.Assignment, summary string) string {
	room := maxBody - utf8.RuneCountInString(withSection(old, text(a, "")))
	if room < 0 {
		return old
	}
	return withSection(old, text(a, words.Fit(summary, room, words.WithoutMiddle, safe)))
}

// safe keeps a summary from acting, and from hiding what we write below it.
func safe(summary string) string { return words.Apart(words.Harmless(summary)) }

func text(a *agentapi.Assignment, summary string) string {
	relation := "Closes"
	if a.GetGoesOn() {
		relation = "Part of"
	}
	return fmt.Sprintf("%s\n\n%s #%d\n\n<sub>codexk8s run `%s`, stage `%s`, role `%s`</sub>",
		summary, relation, a.GetIssueNumber(), a.GetRunId(), a.GetStage(), a.GetRole())
}

// Marks of our part of the description; people may write around it.
const (
	sectionBegin = "<!-- codexk8s:begin -->"
	sectionEnd   = "<!-- codexk8s:end -->"
)

// withSection replaces the text between our marks and leaves the rest of body alone. If a person removed one of the
// marks it is unknown what is ours, so a new section is appended.
func withSection(body, text string) string {
	for _, mark := range []string{sectionBegin, sectionEnd} {
		text = strings.ReplaceAll(text, mark, "")
	}
	section := sectionBegin + "\n" + text + "\n" + sectionEnd
	before, rest, found := strings.Cut(body, sectionBegin)
	_, after, ended := strings.Cut(rest, sectionEnd)
	if !found || !ended {
		body = strings.ReplaceAll(body, sectionBegin, "")
		return strings.TrimLeft(strings.TrimRight(body, "\n")+"\n\n"+section, "\n")
	}
	return before + section + after
}
