// Package artefact says whether a document is finished: whether somebody has written what its headings promise. It
// judges the form alone, what can be told without understanding it:
//
//   - there is text
//   - no template's place, {{…}} or <…>, is left to fill in
//   - no line or cell is put off with TODO, TBD or FIXME
//   - no heading stands without text, its own or that of a heading below it
//
// Code shows what other files hold, so nothing in it is a fault, and an HTML comment, which no reader sees, is no text.
//
// The agent's pod looks at the files that its stage makes, while the agent can still mend them, and github-caller at
// what is on GitHub afterwards, so both must judge alike. The package is pure.
package artefact

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extended "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"codexk8s.dev/shared/plain"
)

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()

// maxFaults is how many are named of one document.
const maxFaults = 10

// maxQuoted is how many bytes of the document a fault quotes.
const maxQuoted = 80

var (
	place  = regexp.MustCompile(`\{\{[^{}]*\}\}|<(?:…|\.\.\.)>`)
	putOff = regexp.MustCompile(`\A[\s*_~\[(]*(TODO|TBD|FIXME)\b`)
)

// Faults says why a document in Markdown is not finished, each in a few words for people and agents, such as "line 7:
// TODO"; none if it is.
func Faults(document []byte) []string {
	if len(bytes.TrimSpace(document)) == 0 {
		return []string{"it is empty"}
	}
	r := reader{source: document}
	root := markdown.Parse(text.NewReader(document))
	r.headings(root)
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			r.look(n)
		}
		return ast.WalkContinue, nil
	})
	return r.faults[:min(len(r.faults), maxFaults)]
}

// reader goes through one document.
type reader struct {
	source []byte
	faults []string
}

func (r *reader) fault(n ast.Node, format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf("line %d: ", r.line(n))+fmt.Sprintf(format, args...))
}

// line is where a block begins, from 1.
func (r *reader) line(n ast.Node) int {
	for ; n != nil; n = n.FirstChild() {
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			return 1 + bytes.Count(r.source[:n.Lines().At(0).Start], []byte("\n"))
		}
		if t, ok := n.(*ast.Text); ok {
			return 1 + bytes.Count(r.source[:t.Segment.Start], []byte("\n"))
		}
	}
	return 1
}

// headings finds those without text: the next heading is of the same level or a higher one, or the document ends.
func (r *reader) headings(root ast.Node) {
	var open *ast.Heading // the last heading, as long as nothing followed
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		switch {
		case ok:
			if open != nil && h.Level <= open.Level {
				r.bare(open)
			}
			open = h
		case !hidden(n):
			open = nil
		}
	}
	if open != nil {
		r.bare(open)
	}
}

func (r *reader) bare(h *ast.Heading) {
	r.fault(h, "the heading %q has no text", plain.Cut(r.text(h), maxQuoted))
}

// hidden reports whether the block is an HTML comment, or a line between sections.
func hidden(n ast.Node) bool {
	html, ok := n.(*ast.HTMLBlock)
	return ok && html.HTMLBlockType == ast.HTMLBlockType2 || n.Kind() == ast.KindThematicBreak || n.Kind() == ast.KindLinkReferenceDefinition
}

// look finds what is left to fill in, in one block of text.
func (r *reader) look(n ast.Node) {
	switch n.(type) {
	case *ast.Paragraph, *ast.TextBlock, *ast.Heading, *extended.TableCell:
	default:
		return
	}
	for line := range strings.Lines(r.text(n)) {
		if left := place.FindString(line); left != "" {
			r.fault(n, "%s is not filled in", plain.Cut(left, maxQuoted))
		}
		if word := putOff.FindStringSubmatch(line); word != nil {
			r.fault(n, "%s", word[1])
		}
	}
}

// text is what the block says, without code.
func (r *reader) text(n ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch t := n.(type) {
		case *ast.CodeSpan:
			if entering {
				b.WriteString("`…`")
			}
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if entering {
				b.Write(t.Segment.Value(r.source))
				if t.SoftLineBreak() || t.HardLineBreak() {
					b.WriteString("\n")
				}
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}
