package prompt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/plain"
)

// Bounds in bytes, so that one issue or review cannot fill the model's context. GitHub allows 65,536 characters for an
// issue body (https://docs.github.com/rest/issues/issues), which with four-byte characters is four times ours.
const (
	maxIssueBody  = 64 << 10
	maxReviewBody = 16 << 10
	maxComment    = 4 << 10
	maxDiffHunk   = 2 << 10
	maxComments   = 100
	maxLabels     = 100 // as many as GitHub lets an issue have
	maxTalk       = 50
	maxChecks     = 100
)

// fence puts text between an opening and a closing mark, each on a line of its own.
func fence(label, nonce, text string) string {
	return fmt.Sprintf("<<<DATA %s %s\n%s\nDATA %s %s>>>", label, nonce, text, label, nonce)
}

// unused derives a nonce from the given one until text does not contain it. A random nonce fits at once; the loop is
// for a caller whose nonce leaked. It ends because text is finite and every step is another hash.
func unused(nonce, text string) string {
	for strings.Contains(text, nonce) {
		sum := sha256.Sum256([]byte(nonce))
		nonce = hex.EncodeToString(sum[:16])
	}
	return nonce
}

// issueText is the issue as it stands in its fence: title, labels, empty line, body.
func issueText(i Issue) string {
	text := "Title: " + oneLine(i.Title) + "\n"
	if len(i.Labels) > 0 {
		var labels []string
		for _, l := range i.Labels[:min(len(i.Labels), maxLabels)] {
			labels = append(labels, oneLine(l))
		}
		text += "Labels: " + strings.Join(labels, ", ") + "\n"
	}
	return text + "\n" + cut(Visible(i.Body), maxIssueBody)
}

// pullText is the pull request as it stands in its fence. Of many checks the first count.
func pullText(p *Pull) string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Title: %s\n", oneLine(p.Title))
	for n, c := range p.Checks {
		if n == maxChecks {
			fmt.Fprintf(&b, "[%d more checks are left out here]\n", len(p.Checks)-n)
			break
		}
		fmt.Fprintf(&b, "Check %s: %s\n", oneLine(c.Name), oneLine(strings.TrimSuffix(c.State+", "+c.Said, ", ")))
	}
	return b.String() + "\n" + cut(Visible(p.Body), maxReviewBody)
}

// talkText is a discussion as it stands in its fence. Of a long one the newest remarks count.
func talkText(talk []Remark) string {
	var b strings.Builder
	if more := len(talk) - maxTalk; more > 0 {
		fmt.Fprintf(&b, "[%d earlier comments are left out here; read them on the issue]\n\n", more)
		talk = talk[more:]
	}
	for _, r := range talk {
		who := "Comment by " + oneLine(r.Author)
		if r.Author == "" {
			who = "Answer of an agent"
		}
		fmt.Fprintf(&b, "%s:\n%s\n\n", who, cut(Visible(r.Body), maxReviewBody))
	}
	return strings.TrimRight(b.String(), "\n")
}

// reviewText is the review as it stands in its fence: the review's own text, then each comment with its place.
func reviewText(r *Review) string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Review by %s:\n%s\n", oneLine(r.Author), cut(Visible(r.Body), maxReviewBody))
	for n, c := range r.Comments {
		if n == maxComments {
			fmt.Fprintf(&b, "\n[%d more comments are left out here; read them on the pull request]\n", len(r.Comments)-n)
			break
		}
		place := oneLine(c.Path)
		if c.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, c.Line)
		}
		fmt.Fprintf(&b, "\nComment by %s on %s:\n", oneLine(c.Author), place)
		if c.DiffHunk != "" {
			hunk, _ := plain.SpellOut(repaired(c.DiffHunk)) // people see all of a diff
			b.WriteString(indent(cut(hunk, maxDiffHunk)))
		}
		b.WriteString(cut(Visible(c.Body), maxComment) + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// Text is the decision as it stands in its fence.
func (d Decision) Text() string {
	text := "Asked: " + oneLine(d.Asked) + "\n"
	if d.Arguments != "" {
		text += "Arguments: " + d.Arguments + "\n"
	}
	text += "Outcome: " + oneLine(d.Outcome)
	if len(d.By) > 0 {
		text += " by " + oneLine(strings.Join(d.By, ", "))
	}
	if d.Answer != "" {
		text += "\nAnswer: " + Visible(d.Answer)
	}
	return text
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}

// oneLine makes a single line of a title, a name or a path.
func oneLine(s string) string {
	spelt, _ := plain.SpellOut(repaired(s))
	return strings.Join(strings.Fields(spelt), " ")
}

// cut keeps at most max bytes of s, whole characters only, and says how much is missing.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := max
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s\n[cut here: %d more bytes]", s[:end], len(s)-end)
}
