package fakegithub

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"strconv"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Comments break lines where their authors did and link the numbers of issues, files do not. Raw HTML is left out, and
// so are links to scripts.
var (
	comments = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithHardWraps()),
		goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(references{}, 500))))
	documents = goldmark.New(goldmark.WithExtensions(extension.GFM))
)

// Markdown renders what somebody wrote on a page of the repository.
func (f *frame) Markdown(text string) (template.HTML, error) {
	about := parser.NewContext()
	about.Set(onPage, f)
	return render(comments, text, parser.WithContext(about))
}

// document renders a file.
func document(text string) (template.HTML, error) { return render(documents, text) }

func render(how goldmark.Markdown, text string, options ...parser.ParseOption) (template.HTML, error) {
	var out bytes.Buffer
	if err := how.Convert([]byte(text), &out, options...); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil
}

// onPage is where a text's context has the page that it is on.
var onPage = parser.NewContextKey()

// references makes links of #1 and the like, where there is such an issue or pull request
// (https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls).
type references struct{}

var reference = regexp.MustCompile(`(?:^|[^\p{L}\p{N}&#/])(#([1-9][0-9]{0,8}))\b`)

// Transform works on the finished tree, since a parser that looks at each # would cut character references like &#64;
// in two.
func (references) Transform(document *ast.Document, source text.Reader, about parser.Context) {
	var words []*ast.Text
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never an error
		switch n := n.(type) {
		case *ast.Link, *ast.CodeSpan:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if entering {
				words = append(words, n)
			}
		}
		return ast.WalkContinue, nil
	})
	f := about.Get(onPage).(*frame)
	for _, w := range words {
		link(w, source.Source(), f)
	}
}

// link puts links, and the text between them, before what is left of the text.
func link(w *ast.Text, source []byte, f *frame) {
	start := w.Segment.Start
	for _, at := range reference.FindAllSubmatchIndex(w.Segment.Value(source), -1) {
		number := text.NewSegment(start+at[4], start+at[5])
		if n, err := strconv.Atoi(string(number.Value(source))); err != nil || n > f.Last {
			continue
		}
		to := ast.NewLink()
		to.Destination = fmt.Appendf(nil, "/%s/issues/%s", f.Repository, number.Value(source))
		to.AppendChild(to, ast.NewTextSegment(text.NewSegment(start+at[2], start+at[3])))
		before := ast.NewTextSegment(w.Segment.WithStop(start + at[2]))
		w.Parent().InsertBefore(w.Parent(), w, before)
		w.Parent().InsertBefore(w.Parent(), w, to)
		w.Segment = w.Segment.WithStart(start + at[3])
	}
}
