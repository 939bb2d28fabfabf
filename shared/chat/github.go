package chat

import (
	"strings"

	"codexk8s.dev/shared/events"
)

// githubText is GitHub's limit of a comment, less some for what its writer adds, in characters.
const githubText = 65_000

// GitHubComment is a request as a comment on its issue, in GitHub's Markdown: github-caller writes it. What others have
// written stands in code, where GitHub looks for no mention, link, image or HTML.
func GitHubComment(m events.ApprovalMessage) string {
	l := lay(m)
	l.fit(githubText-length(githubMarkdown(l.bare()))-32*len(l.sections), githubText)
	return githubMarkdown(l)
}

func githubMarkdown(l layout) string {
	var b strings.Builder
	b.WriteString("**" + l.head + "**: " + codeSpan(l.title) + "\n")
	if l.context != "" {
		b.WriteString("\n" + codeSpan(l.context) + "\n")
	}
	for _, s := range l.sections {
		b.WriteString("\n**" + s.head + "**\n" + fenced(s.text) + "\n")
	}
	if len(l.links) > 0 {
		b.WriteString("\n**" + l.words.links + "**\n")
		for _, k := range l.links {
			b.WriteString("- " + codeSpan(k.text) + " " + codeSpan(k.url) + "\n")
		}
	}
	if l.outcome != "" {
		b.WriteString("\n" + codeSpan(l.outcome) + "\n")
	}
	b.WriteString("\n" + l.foot + "\n")
	if len(l.buttons) > 0 {
		b.WriteString("\n" + commands(l) + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// commands are what people write where there are no buttons. With the digest they mean this request, whatever else is
// open.
func commands(l layout) string {
	var all []string
	for _, b := range l.buttons {
		switch b.means {
		case approve:
			all = append(all, "`/approve "+l.digest+"`")
		case denyWords:
			all = append(all, "`/deny "+l.digest+" …`")
		case ownWords:
			all = append(all, "`/answer "+l.digest+" …`")
		case '1', '2', '3', '4', '5':
			all = append(all, "`/answer "+l.digest+" "+string(b.means)+"`")
		}
	}
	return strings.Join(all, " · ")
}

// fenced is a text as a block of code, whatever fences it has itself.
func fenced(s string) string {
	fence := backticks(s, 3)
	return fence + "text\n" + s + "\n" + fence
}
