// Package prereview makes a review for GitHub of what a reviewing agent has written: its last message, a summary and
// below the heading "## Findings" one item for each finding,
//
//   - `path/to/file:12` **major**: what is wrong
//
// A finding on a line of the diff becomes a comment there. GitHub refuses the whole review for one comment elsewhere,
// so every other finding, whatever is wrong with its place, goes into the summary: nothing that the agent has found is
// lost.
//
// The text is not trusted, as the agent has read what anybody wrote. It is made harmless (package words), its HTML and
// unclosed fences can't swallow what follows, and it is cut to what GitHub takes. A "suggestion" to be committed by a
// click stands only on the lines that it would replace.
//
// The package is pure.
package prereview

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/words"
)

// Bounds in characters, below GitHub's 65,536 for each text; and how many comments one review has at most.
const (
	maxBody     = 60_000
	maxComment  = 8_000
	maxComments = 50
)

// A Finding is one item of the agent's list.
type Finding struct {
	Path        string // "" = the item names no place
	First, Last int    // lines of the new file; 0 = the whole file
	Text        string
}

// A Comment stands on lines of the diff.
type Comment struct {
	Path        string
	First, Last int // the same for one line
	Text        string
}

// A Review is what GitHub is to show.
type Review struct {
	Body     string
	Comments []Comment
	Others   int // findings in the body
}

// Make is the review of a text. patches are the changed files with GitHub's diff of each; nil = comments can't be
// placed. end stands below everything.
func Make(text string, patches map[string]string, end string) Review {
	summary, found := Read(text)
	var r Review
	var others []string
	for _, f := range found {
		first, last, ok := spot(patches[f.Path], f.First, f.Last)
		if !ok || len(r.Comments) == maxComments {
			others = append(others, item(f))
			continue
		}
		r.Comments = append(r.Comments, Comment{f.Path, first, last, onLines(f.Text, first == f.First && last == f.Last)})
	}
	r.Others = len(others)
	body := words.Closed(summary)
	switch {
	case body != "" || len(others) > 0:
	case len(r.Comments) > 0:
		body = "The findings stand on their lines."
	default:
		body = "There are no findings."
	}
	if len(others) > 0 {
		body += "\n\n**Not on a line of the diff:**\n\n" + strings.Join(others, "\n")
	}
	r.Body = cut(body, maxBody) + "\n\n" + end
	return r
}

// cut is text without suggestions, shortened in its middle.
func cut(text string, max int) string {
	return words.Fit(text, max, words.WithoutMiddle, func(text string) string { return safe(text, false) })
}

// onLines is the text of a comment. A suggestion is whole, and of the lines that the comment is on, or none: it takes
// one click to commit it.
func onLines(text string, itsOwn bool) string {
	if whole := safe(text, itsOwn); utf8.RuneCountInString(whole) <= maxComment {
		return whole
	}
	return cut(text, maxComment)
}

// item is a finding in a list, as the agent wrote it.
func item(f Finding) string {
	text := words.Closed(f.Text)
	if f.Path != "" {
		text = "`" + place(f) + "` " + text
	}
	return "- " + strings.ReplaceAll(text, "\n", "\n  ")
}

func place(f Finding) string {
	switch {
	case f.Last == 0:
		return f.Path
	case f.First == f.Last:
		return fmt.Sprintf("%s:%d", f.Path, f.Last)
	}
	return fmt.Sprintf("%s:%d-%d", f.Path, f.First, f.Last)
}

var (
	heading = regexp.MustCompile(`^ {0,3}#{1,6}\s+(.*?)[\s#:]*$`)
	bullet  = regexp.MustCompile(`^ {0,3}[-*+]\s+(.*)$`)
	located = regexp.MustCompile("^(?:\\*\\*)?`([^`:]+)(?::(\\d+)(?:[-–](\\d+))?)?`(?:\\*\\*)?[\\s:—–-]*(.*)$")
	further = regexp.MustCompile(`(?i)^,\s`)
)

// Read tells the summary from the findings. What stands among or after them and is no item belongs to the summary.
func Read(text string) (summary string, found []Finding) {
	var before, item []string
	listed, listing := false, false
	end := func() {
		if len(item) > 0 {
			found = append(found, finding(item))
		}
		item = nil
	}
	fence := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = strings.TrimRight(line, " \t\n")
		inside := fence != ""
		fence = words.FenceAfter(fence, line)
		h, b := heading.FindStringSubmatch(line), bullet.FindStringSubmatch(line)
		switch {
		case !inside && h != nil:
			end()
			listing = strings.EqualFold(h[1], "Findings")
			listed = listed || listing
			if !listing {
				before = append(before, line)
			}
		case !inside && listing && b != nil:
			end()
			item = []string{b[1]}
		case len(item) > 0 && (inside || line == "" || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") || fence != ""):
			item = append(item, line)
		default:
			end()
			before = append(before, line)
		}
	}
	end()
	return strings.TrimSpace(strings.Join(before, "\n")), found
}

// finding reads an item, whose first line is without its bullet.
func finding(lines []string) Finding {
	f := Finding{Text: strings.TrimSpace(strings.Join(append([]string{lines[0]}, dedent(lines[1:])...), "\n"))}
	m := located.FindStringSubmatch(lines[0])
	if m == nil {
		return f
	}
	f.Path = strings.TrimPrefix(strings.TrimSpace(m[1]), "./")
	f.Last = number(m[2])
	f.First = f.Last
	if until := number(m[3]); until > f.First && f.First > 0 {
		f.Last = until
	}
	_, rest, _ := strings.Cut(f.Text, "\n")
	said := m[4]
	if further.MatchString(said) { // more places of the same kind
		said = "Also" + said[1:]
	}
	f.Text = strings.TrimSpace(said + "\n" + rest)
	return f
}

// number is that of a line; 0 = none that a file has.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// dedent takes off what all lines begin with in blanks.
func dedent(lines []string) (out []string) {
	least := -1
	for _, l := range lines {
		if n := len(l) - len(strings.TrimLeft(l, " \t")); l != "" && (least < 0 || n < least) {
			least = n
		}
	}
	for _, l := range lines {
		out = append(out, l[min(max(least, 0), len(l)):])
	}
	return out
}

var hunk = regexp.MustCompile(`^@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@`)

// spot finds the lines in the diff of their file. Of a range that is not in one hunk it is the end that is there.
func spot(patch string, first, last int) (from, to int, ok bool) {
	if last <= 0 || patch == "" {
		return 0, 0, false
	}
	in := map[int]int{} // the hunk of each line of the new file
	line, hunks := 0, 0
	for text := range strings.Lines(patch) {
		switch m := hunk.FindStringSubmatch(text); {
		case m != nil:
			line = number(m[1])
			hunks++
		case hunks == 0 || strings.HasPrefix(text, "-") || strings.HasPrefix(text, `\`):
		default:
			in[line] = hunks
			line++
		}
	}
	switch {
	case in[last] != 0 && in[first] == in[last]:
		return first, last, true
	case in[last] != 0:
		return last, last, true
	case in[first] != 0:
		return first, first, true
	}
	return 0, 0, false
}
