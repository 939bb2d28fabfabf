package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/shared/agentapi"
)

// Bounds of what is written to Git and GitHub. A pull request's body may have 65,536 characters.
const (
	maxSubject    = 72
	maxCommitText = 8 << 10
	maxPullBody   = 65_536 // characters, a person's and ours
)

// commitMessage takes its subject from the agent's summary and ends with the trailers that we look for later.
func commitMessage(a *agentapi.Assignment, summary string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(summary), "\n")
	subject := shortLine(strings.Trim(strings.TrimLeft(first, "# "), "*_ "), maxSubject)
	if subject == "" {
		subject = shortLine(fmt.Sprintf("Work on #%d: %s", a.GetIssueNumber(), harmless(a.GetIssueTitle())), maxSubject)
	}
	text := strings.TrimSpace(rest)
	if len(text) > maxCommitText {
		text = strings.ToValidUTF8(text[:maxCommitText], "") + " …"
	}
	if text != "" {
		text += "\n\n"
	}
	// An agent's text must not look like a trailer of ours.
	text = strings.ReplaceAll(text, checkout.RunTrailer, strings.Replace(checkout.RunTrailer, ":", " ", 1))
	return fmt.Sprintf("%s\n\n%sRefs #%d\n\n%s%s\n", subject, text, a.GetIssueNumber(), checkout.RunTrailer, a.GetRunId())
}

// withoutTrailers gets the summary back from a commit message of ours.
func withoutTrailers(message string) string {
	if at := strings.LastIndex(message, "\nRefs #"); at >= 0 {
		message = message[:at]
	}
	return strings.TrimSpace(message)
}

// pullTitle is the issue's: reviewers look for it.
func pullTitle(a *agentapi.Assignment) string {
	return shortLine(fmt.Sprintf("%s (#%d)", harmless(a.GetIssueTitle()), a.GetIssueNumber()), 250)
}

// pullBody is the description of a pull request with our part brought up to date. A person's words round it stay, and the sum
// fits: ours gives way, in its middle first, and then as a whole.
func pullBody(body string, a *agentapi.Assignment, summary string) string {
	whole := withSection(body, pullText(a, summary))
	over := utf8.RuneCountInString(whole) - maxPullBody
	if over <= 0 {
		return whole
	}
	room := utf8.RuneCountInString(strings.TrimSpace(summary)) - over
	if whole = withSection(body, pullText(a, withoutMiddle(summary, room))); utf8.RuneCountInString(whole) > maxPullBody {
		return body
	}
	return whole
}

func pullText(a *agentapi.Assignment, summary string) string {
	return fmt.Sprintf("%s\n\nCloses #%d\n\n<sub>codexk8s run `%s`, stage `%s`, role `%s`</sub>",
		strings.TrimSpace(summary), a.GetIssueNumber(), a.GetRunId(), a.GetStage(), a.GetRole())
}

// hiddenNote tells who reviews the work what people did not see of the issue, and the agent did.
func hiddenNote(hidden []string) string {
	if len(hidden) == 0 {
		return ""
	}
	const shown = 5
	var b strings.Builder
	b.WriteString("\n\nIssue or review hold text that people do not see on GitHub. The agent was told not to follow it; look whether it did:\n\n")
	for i, passage := range hidden {
		if i == shown {
			fmt.Fprintf(&b, "- … and %d more\n", len(hidden)-i)
			break
		}
		fmt.Fprintf(&b, "- `%s`\n", strings.Join(strings.Fields(strings.ReplaceAll(passage, "`", "'")), " "))
	}
	return strings.TrimRight(b.String(), "\n")
}

const cutMark = "\n\n[…]\n\n"

// withoutMiddle shortens text to at most max characters: its beginning says what it is, its end what to do.
func withoutMiddle(text string, max int) string {
	all := []rune(strings.TrimSpace(text))
	keep := max - utf8.RuneCountInString(cutMark)
	switch {
	case len(all) <= max:
		return string(all)
	case keep <= 0:
		return ""
	}
	return string(all[:keep-keep/2]) + cutMark + string(all[len(all)-keep/2:])
}

// shortLine makes one line of at most max characters.
func shortLine(text string, max int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if utf8.RuneCountInString(text) > max {
		text = string([]rune(text)[:max-1]) + "…"
	}
	return text
}
