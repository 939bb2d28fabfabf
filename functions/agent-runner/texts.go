package main

import (
	"fmt"
	"strings"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/words"
)

// Bounds of a commit's message, in characters.
const (
	maxSubject    = 72
	maxCommitText = 8 << 10
)

// commitMessage takes its subject from the agent's summary and ends with the trailers that we look for later.
func commitMessage(a *agentapi.Assignment, summary string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(summary), "\n")
	subject := strings.Trim(strings.TrimLeft(first, "# "), "*_ ")
	if subject == "" {
		subject = fmt.Sprintf("Work on #%d: %s", a.GetIssueNumber(), a.GetIssueTitle())
	}
	subject = words.Fit(subject, maxSubject, words.Line, words.Harmless)
	text := words.Fit(rest, maxCommitText, words.WithoutMiddle, words.Harmless)
	if text != "" {
		text += "\n\n"
	}
	// An agent's text must not look like a trailer of ours.
	text = strings.ReplaceAll(text, checkout.RunTrailer, strings.Replace(checkout.RunTrailer, ":", " ", 1))
	return fmt.Sprintf("%s\n\n%sRefs #%d\n\n%s%s\n", subject, text, a.GetIssueNumber(), checkout.RunTrailer, a.GetRunId())
}

// withoutTrailers is the summary in a commit message of ours.
func withoutTrailers(message string) string {
	if at := strings.LastIndex(message, "\nRefs #"); at >= 0 {
		message = message[:at]
	}
	return strings.TrimSpace(message)
}

// hiddenNote tells the reviewers what people did not see in the issue, but the agent did.
func hiddenNote(hidden []string) string {
	if len(hidden) == 0 {
		return ""
	}
	const shown = 5
	var b strings.Builder
	b.WriteString("\n\nThe issue or the review holds text that GitHub does not show. The agent was told not to follow it; look whether it did:\n\n")
	for i, passage := range hidden {
		if i == shown {
			fmt.Fprintf(&b, "- … and %d more\n", len(hidden)-i)
			break
		}
		fmt.Fprintf(&b, "- `%s`\n", strings.Join(strings.Fields(strings.ReplaceAll(passage, "`", "'")), " "))
	}
	return strings.TrimRight(b.String(), "\n")
}
