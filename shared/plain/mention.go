package plain

import (
	"regexp"
	"strings"
)

// mention is a name that GitHub links and tells. An underscore before it may be emphasis, which is gone when the text
// is shown.
// https://docs.github.com/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#mentioning-people-and-teams
var mention = regexp.MustCompile(`(^|[^A-Za-z0-9])@(\w)`)

// Unmention breaks the names of people and teams in Markdown with a character that is not seen, so that GitHub calls
// nobody.
func Unmention(markdown string) string {
	if !strings.Contains(markdown, "@") {
		return markdown
	}
	return mention.ReplaceAllString(markdown, "$1@\u200b$2")
}
