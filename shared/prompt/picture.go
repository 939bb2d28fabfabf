package prompt

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// fenced is a block of code. People see the words after its language nowhere, and the text of a map or model only as a
// picture.
func (p *page) fenced(n *ast.FencedCodeBlock) {
	if n.Info != nil && !blank(n.Info.Segment.Value(p.source)) {
		p.see(n.Info.Segment.Start, n.Info.Segment.Stop, code)
	}
	switch strings.ToLower(string(n.Language(p.source))) {
	case "geojson", "topojson", "stl":
		if n.Lines().Len() > 0 {
			p.cut(n.Lines().At(n.Lines().Len() - 1).Stop)
		}
	case "mermaid":
		p.diagram(n.Lines())
	case "math":
		p.lines(n.Lines(), formula)
	default:
		p.lines(n.Lines(), code)
	}
}

// Comments in a diagram, and texts for who cannot see it: https://mermaid.js.org/config/accessibility.html
var (
	aside  = regexp.MustCompile(`^\s*(?:%%|acc(?:Title|Descr)\b)`)
	opened = regexp.MustCompile(`^\s*(?:%%|acc(?:Title|Descr)\s*)\{[^}]*$`)
)

func (p *page) diagram(lines *text.Segments) {
	open := false
	for _, line := range lines.Sliced(0, lines.Len()) {
		switch s := line.Value(p.source); {
		case open:
			open = !bytes.Contains(s, []byte("}"))
		case aside.Match(s):
			open = opened.Match(s)
		default:
			p.see(line.Start, line.Stop, code)
		}
	}
}

// concealed are parts of formulas that are not shown, and declarations, which are no text for every parser.
var concealed = regexp.MustCompile(`(?i)\\(?:[hv]?phantom|(?:text)?color\{white\})\{[^}]*\}|<![a-z][^>]*>`)

// inFormula are formulas of lines of their own:
// https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting
var inFormula = regexp.MustCompile(`(?s)\$\$.*?\$\$`)

// conceal takes back what is not seen of text.
func (p *page) conceal() {
	if bytes.IndexByte(p.source, '\\') >= 0 || bytes.Contains(p.source, []byte("<!")) { // else it only takes time
		for _, at := range concealed.FindAllIndex(p.source, -1) {
			p.hide(at[0], at[1])
		}
	}
	for _, at := range inFormula.FindAllIndex(p.source, -1) {
		for i := at[0]; i < at[1]; i++ {
			p.marks[i] |= formula
		}
	}
	for i := 1; i < len(p.source); i++ {
		if p.source[i] != '%' || p.marks[i]&formula == 0 || p.source[i-1] == '\\' {
			continue
		}
		begin := i
		for p.marks[i]&formula != 0 && p.source[i] != '\n' {
			i++
		}
		p.hide(begin, i)
	}
}

// hide takes back that a part of the text is seen; code shows all.
func (p *page) hide(from, to int) {
	if p.marks[from]&(seen|code) != seen {
		return
	}
	for i := from; i < to; i++ {
		p.marks[i] &^= seen
	}
	p.marks[from] |= edge
	p.marks[to] |= edge
}
