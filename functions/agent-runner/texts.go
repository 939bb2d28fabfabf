package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/agentapi"
)

// Bounds of what is written to Git and GitHub. A pull request's body may have 65,536 characters.
const (
	maxSubject     = 72
	maxCommitText  = 8 << 10
	maxPullSummary = 60_000
)

// commitMessage takes its subject from the agent's summary and ends with the trailers that we look for later.
func commitMessage(a *agentapi.Assignment, summary string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(summary), "\n")
	subject := shortLine(strings.Trim(strings.TrimLeft(first, "# "), "*_ "), maxSubject)
	if subject == "" {
		subject = shortLine(fmt.Sprintf("Work on #%d: %s", a.GetIssueNumber(), a.GetIssueTitle()), maxSubject)
	}
	text := strings.TrimSpace(rest)
	if len(text) > maxCommitText {
		text = strings.ToValidUTF8(text[:maxCommitText], "") + " …"
	}
	if text != "" {
		text += "\n\n"
	}
	// An agent's text must not look like a trailer of ours.
	text = strings.ReplaceAll(text, runTrailer, strings.Replace(runTrailer, ":", " ", 1))
	return fmt.Sprintf("%s\n\n%sRefs #%d\n\n%s%s\n", subject, text, a.GetIssueNumber(), runTrailer, a.GetRunId())
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
	return shortLine(fmt.Sprintf("%s (#%d)", a.GetIssueTitle(), a.GetIssueNumber()), 250)
}

func pullText(a *agentapi.Assignment, summary string) string {
	if len(summary) > maxPullSummary {
		summary = strings.ToValidUTF8(summary[:maxPullSummary], "") + "\n\n[cut]"
	}
	return fmt.Sprintf("%s\n\nCloses #%d\n\n<sub>codexk8s run `%s`, stage `%s`, role `%s`</sub>",
		strings.TrimSpace(summary), a.GetIssueNumber(), a.GetRunId(), a.GetStage(), a.GetRole())
}

// shortLine makes one line of at most max characters.
func shortLine(text string, max int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if utf8.RuneCountInString(text) > max {
		text = string([]rune(text)[:max-1]) + "…"
	}
	return text
}
