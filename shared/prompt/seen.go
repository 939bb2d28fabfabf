package prompt

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extended "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// The rule of what is hidden: the text is parsed as GitHub does, and its tree says which bytes a reader sees. Letters
// and digits anywhere else are hidden, whatever the syntax. Some bytes count as seen, so that ordinary text has nothing
// to mark: an address without blanks, the language of code, the name of a footnote, a short text in place of an image,
// tags of HTML without a text of their own. An element that hides does so until its end tag. Where parsers may differ
// (GitHub's is another), more is hidden rather than less.

// markdown is what GitHub shows: https://github.github.com/gfm/, and footnotes.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote)).Parser()

// marks of a byte of the source.
const (
	seen    byte = 1 << iota
	code         // shown as it stands
	formula      // where % begins a comment
	edge         // a hidden passage begins or ends before it
)

// A page knows which bytes of Markdown people see.
type page struct {
	source []byte
	marks  []byte    // of each byte of the source, and of its end
	shown  int       // the last place that people see, since the link began
	end    int       // of what was visited last
	hiding []element // open elements that hide their text
	depth  int       // of the node that is visited
	mute   int       // the open images, if the text of the first is long
}

// markup is needed to hide anything: headings, lists and emphasis alone show all their words.
const markup = "<[`~|\\$"

// whitespace is what GitHub takes for blanks and ends of lines, and the parser doesn't
// (https://spec.commonmark.org/0.31.2/#characters-and-lines). Nothing changes its place.
var whitespace = strings.NewReplacer("\v", " ", "\f", " ")

// hiddenPassages calls hide with both ends of each passage of the Markdown that people do not see, in order.
func hiddenPassages(s string, hide func(from, to int)) {
	if !strings.ContainsAny(s, markup) {
		return
	}
	if rest, ok := strings.CutPrefix(s, "\uFEFF"); ok { // GitHub skips it
		s = "   " + rest
	}
	p := page{source: []byte(whitespace.Replace(s)), marks: make([]byte, len(s)+1)}
	if parsed := p.source[:sensible(s)]; len(parsed) > 0 {
		_ = ast.Walk(markdown.Parse(text.NewReader(parsed)), p.visit) // never an error
	}
	p.conceal()
	p.passages(hide)
}

// maxCharacters is the longest text that GitHub takes: https://docs.github.com/rest/issues/issues
const maxCharacters = 65_536

// maxLinks bounds the steps on which the parser looks for the ends of addresses that have none.
const maxLinks = 1 << 20

// sensible is the length of the part that is parsed. What goes beyond it is hidden: it comes from no page of GitHub, or
// serves no other end than to keep the parser busy.
func sensible(s string) int {
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return r < unicode.MaxASCII && unicode.IsSpace(r) }) {
		if len(word)*strings.Count(word, "](") > maxLinks {
			return 0
		}
	}
	n := 0
	for i := range s {
		if n++; n > maxCharacters {
			return i
		}
	}
	return len(s)
}

// visit marks what people see of a node.
func (p *page) visit(n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		p.depth--
		p.leave(n)
		return ast.WalkContinue, nil
	}
	p.depth++
	switch n := n.(type) {
	case *ast.Text:
		p.text(n)
	case *ast.AutoLink:
		p.autoLink(n)
	case *ast.CodeBlock:
		p.lines(n.Lines(), code)
	case *ast.FencedCodeBlock:
		p.fenced(n)
	case *ast.RawHTML:
		p.html(n.Segments)
	case *ast.HTMLBlock:
		if n.HasClosure() {
			n.Lines().Append(n.ClosureLine)
		}
		p.html(n.Lines())
	case *ast.LinkReferenceDefinition:
		p.cut(n.Lines().At(0).Start)
		p.cut(n.Lines().At(n.Lines().Len() - 1).Stop)
	case *ast.ListItem:
		p.bullet(n.Pos())
	case *ast.Link:
		p.shown, p.end = -1, n.Pos()+len("[")
	case *ast.Image:
		p.end = n.Pos() + len("![")
		if p.mute > 0 || long(n) {
			p.mute++
		}
	case *extended.TaskCheckBox:
		p.see(n.Pos(), n.Pos()+len("[x]"), 0)
	case *extended.FootnoteLink, *extended.Footnote:
		p.note(n.Pos())
	case *extended.TableRow:
		p.cut(n.Pos())
	}
	return ast.WalkContinue, nil
}

func (p *page) leave(n ast.Node) {
	switch n := n.(type) {
	case *ast.Link:
		if p.shown >= 0 { // people do not see a link without a text
			p.address(n.Destination, n.Title, n.Reference)
		}
	case *ast.Image:
		p.mute = max(p.mute-1, 0)
		p.address(n.Destination, n.Title, n.Reference)
		p.shown = max(p.shown, n.Pos())
	}
}

// see marks a part of the source as seen, unless something hides it.
func (p *page) see(from, to int, as byte) {
	p.end = to
	if len(p.hiding) > 0 || p.mute > 0 {
		return
	}
	for i := from; i < to; i++ {
		p.marks[i] |= seen | as
	}
	p.shown = from
}

// cut lets a passage begin or end, unless it is part of a longer one.
func (p *page) cut(at int) {
	if len(p.hiding) == 0 && p.mute == 0 {
		p.marks[at] |= edge
	}
}

func (p *page) text(n *ast.Text) {
	as := byte(0)
	if n.Parent().Kind() == ast.KindCodeSpan {
		as = code
	}
	p.see(n.Segment.Start, n.Segment.Stop, as)
}

func (p *page) lines(lines *text.Segments, as byte) {
	for _, line := range lines.Sliced(0, lines.Len()) {
		p.see(line.Start, line.Stop, as)
	}
}

// autoLink is an address that is its own text; it stands at its node or one character behind.
func (p *page) autoLink(n *ast.AutoLink) {
	label := n.Label(p.source)
	for at := n.Pos(); at <= n.Pos()+1; at++ {
		if p.has(at, string(label)) {
			p.see(at, at+len(label), 0)
			return
		}
	}
}

// bullet is the bullet or number of a list's item.
func (p *page) bullet(at int) {
	for at > 0 && isDigit(p.source[at-1]) {
		at--
	}
	if end := p.skip(at, "0123456789"); end < len(p.source) && strings.IndexByte("-+*.)", p.source[end]) >= 0 {
		p.see(at, end+1, 0)
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// note is the name of a footnote, which people see as a number.
func (p *page) note(at int) {
	at = p.skip(at, "!")
	if name, _, ok := bytes.Cut(p.source[at:min(at+maxLabel, len(p.source))], []byte("]")); ok && !blank(name) {
		p.see(at, at+len(name), 0)
	}
}

// maxLabel bounds the name of a footnote, in bytes: https://spec.commonmark.org/0.31.2/#link-label
const maxLabel = 1000

// maxDescription bounds a text in place of an image that counts as seen, in bytes.
const maxDescription = 60

// long says whether the text in place of an image is so long that it may say more than what the image shows.
func long(image ast.Node) bool {
	size := 0
	_ = ast.Walk(image, func(n ast.Node, _ bool) (ast.WalkStatus, error) { // never an error
		size++ // bounds the walk, too
		if t, ok := n.(*ast.Text); ok {
			size += t.Segment.Len() / 2 // it is visited twice
		}
		if size >= maxDescription {
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	return size >= maxDescription
}

// address sees where a link leads to, which stands behind its text, without its title.
func (p *page) address(to, title []byte, reference *ast.ReferenceLink) {
	at := p.skip(p.end, "*_~` \t\n>")
	if !p.has(at, "]") {
		return
	}
	at++
	p.cut(at)
	if reference != nil {
		if label := "[" + string(reference.Value) + "]"; p.has(at, label) && !blank(reference.Value) {
			p.see(at, at+len(label), 0)
		}
		return
	}
	if !p.has(at, "(") {
		return
	}
	p.see(at, at+1, 0)
	if at = p.skip(at+1, " \t\n><"); !p.has(at, string(to)) {
		return
	}
	if !blank(to) {
		p.see(at, at+len(to), 0)
	}
	at = p.skip(at+len(to), "> \t\n")
	if title != nil && p.has(at+1, string(title)) {
		at = p.skip(at+1+len(title)+1, "> \t\n")
	}
	if p.has(at, ")") {
		p.see(at, at+1, 0)
	}
}

func (p *page) has(at int, s string) bool {
	return at < len(p.source) && bytes.HasPrefix(p.source[at:], []byte(s))
}

// skip is the first place from there on that has none of the characters.
func (p *page) skip(at int, characters string) int {
	for at < len(p.source) && strings.IndexByte(characters, p.source[at]) >= 0 {
		at++
	}
	return at
}

func blank(s []byte) bool { return bytes.ContainsFunc(s, unicode.IsSpace) }

// passages are the parts between what is seen that have a letter or a digit.
func (p *page) passages(hide func(from, to int)) {
	from := 0
	for i, mark := range p.marks {
		if i < len(p.source) && mark&(seen|edge) == 0 {
			continue
		}
		if begin, end := trimmed(p.source, from, i); bytes.ContainsFunc(p.source[begin:end], isWord) {
			hide(begin, end)
		}
		from = i
		if mark&seen != 0 {
			from++
		}
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// trimmed is a passage without what frames it: blanks, bars of tables, marks of quotations.
func trimmed(s []byte, from, to int) (int, int) {
	for from < to && strings.IndexByte(" \t\n>|", s[from]) >= 0 {
		from++
	}
	for from < to {
		end := from + len(bytes.TrimRight(s[from:to], " \t\n|"))
		line := from + bytes.LastIndexByte(s[from:end], '\n') + 1
		if to = end; line == from || len(bytes.Trim(s[line:end], " \t>")) > 0 {
			break
		}
		to = line
	}
	return from, to
}
