// Package words prepares an agent's text for people and machines elsewhere: harmless, of a length that fits, as
// Markdown.
package words

import (
	"regexp"
	"strings"

	"codexk8s.dev/shared/plain"
)

// Harmless disarms what in an agent's text would act by itself in a commit, a pull request or a comment, and leaves the
// words, fit to be stored: a zero byte that is dropped later would join what it kept apart. The author may have
// told the agent what to say, so its text:
//
//   - closes no issue (https://docs.github.com/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue);
//     ours does, by a line that is added after
//   - calls nobody
//   - gives no command to a bot, at the beginning of a line (https://docs.prow.k8s.io/docs/components/plugins/approve/approvers/)
//   - skips no check (https://docs.github.com/actions/how-tos/manage-workflow-runs/skip-workflow-runs, and what other CI systems know)
//   - names no author, signer or release by a trailer (https://git-scm.com/docs/git-interpret-trailers)
//   - hides nothing from its reviewers
func Harmless(text string) string {
	text = strings.ReplaceAll(plain.Text(text), "<!--", "&lt;!--")
	text = entities.ReplaceAllString(text, "&amp;$1")
	text = targets.ReplaceAllStringFunc(text, withoutTarget)
	text = closings.ReplaceAllStringFunc(text, withoutReference)
	text = plain.Unmention(text)
	text = commands.ReplaceAllString(text, "$1\u200b$2")
	text = brackets.ReplaceAllStringFunc(text, withoutSkip)
	text = noCI.ReplaceAllString(text, "$1")
	return trailers.ReplaceAllString(text, "$1$2 ")
}

var (
	// entities are characters that only the reader's browser turns into a sign with a meaning.
	entities = regexp.MustCompile(`&(#[xX]?[0-9a-fA-F]+;|(?:commat|num|colon|sol|period|bsol|lsqb|lbrack|lowbar|ast|[a-z]+sp(?:1[34])?|Tab|NewLine|[A-Za-z]*Space|shy|zwn?j);)`)
	// closings are GitHub's keywords before an issue, with markup between them that the reader does not see. A backslash
	// before a sign is markup too.
	closings = regexp.MustCompile("(?i)(^|[^a-z0-9])(close[sd]?|fix(?:e[sd])?|resolve[sd]?)((?:[\\s\\p{Z}\\p{Cf}:*_~\"'(\\[`\\\\]|<[^<>]*>|\\[[^\\[\\]\\n]{0,200}\\]\\()*)" +
		"(?:" + address + `|([\w.\\-]+/[\w.\\-]+)#([0-9]+)|(?:#|gh-)([0-9]+))`)
	// targets are links to an issue under words of any kind: inline, by reference, as HTML. A keyword may stand before
	// those words, far from the address.
	targets  = regexp.MustCompile(`(?i)(\]\(\s*|\]:[\s>]*|href\s*=\s*["']?\s*)` + address)
	commands = regexp.MustCompile(`(?im)^([ \t>*-]*)(/[a-z][a-z0-9_-]*(?:[ \t\r]|$)|bors (?:r[+=-]|d[+=-]|delegate|merge|try|p=|retry))`)
	brackets = regexp.MustCompile(`\[[^\[\]\n]{2,60}\]`)
	noCI     = regexp.MustCompile(`(?i)\*\*\*\s*(NO[_ -]?CI)\s*\*\*\*`)
	trailers = regexp.MustCompile(`(?im)^([ \t>*_]*)([a-z][a-z-]*-by|(?:skip|request)-checks|on-behalf-of|release-as|change-id|codexk8s-run)[ \t]*:`)
)

// Commands reports whether bots would obey a line of the text.
func Commands(text string) bool { return commands.MatchString(text) }

// address is an issue's page, its repository and its number.
const address = `<?(?:https?\\?:\\?/\\?/[^\s/]+|[\w\\-]+(?:\.[\w\\-]+)+)/([\w.\\-]+/[\w.\\-]+)/(?:issues|pulls?|discussions)\\?/([0-9]+)(?:[#?][^\s)\]>"']*)?>?`

// withoutTarget writes the issue in words, where a link to it would lead.
func withoutTarget(found string) string {
	m := targets.FindStringSubmatch(found)
	return m[1] + "issue " + m[3] + " of " + unescaped(m[2])
}

func unescaped(markdown string) string { return strings.ReplaceAll(markdown, `\`, "") }

// withoutReference writes the issue in words: "fixes #7" is "fixes issue 7".
func withoutReference(found string) string {
	m := closings.FindStringSubmatch(found)
	words := "issue " + m[5] + m[7] + m[8]
	if repository := m[4] + m[6]; repository != "" {
		words += " of " + unescaped(repository)
	}
	return m[1] + m[2] + unescaped(m[3]) + words
}

// skipped are what CI systems are told to skip, in brackets: "[skip ci]", "[actions skip]", "[no ci]".
var skipped = regexp.MustCompile(`(?i)\b(ci|cd|actions?|workflows?|checks?|tests?|builds?|deploy(?:ment|s)?|releases?|previews?|pages|travis|appveyor|azp|azpipelines|azurepipelines|circleci|netlify|vercel|render|drone|buildkite|gitlab|jenkins|codecov)\b`)

var skips = regexp.MustCompile(`(?i)(?:^|[^a-z])(skip|no)(?:$|[^a-z])`)

func withoutSkip(found string) string {
	inner := strings.NewReplacer("_", " ", "-", " ").Replace(found[1 : len(found)-1])
	if !skips.MatchString(inner) || !skipped.MatchString(inner) {
		return found
	}
	return "(" + found[1:len(found)-1] + ")"
}
