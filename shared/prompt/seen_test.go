package prompt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	renderer "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"
)

// pieces of Markdown, and then of HTML, that hide text when they come together. An empty one is two words of text.
var (
	pieces = []string{"", "", "", "", "", "\n", "\n\n", "\n\n", "- ", "2. ", "> ", "    ", "\t", "# ", "[", "]", "![", "](",
		"](/u", "](</u", ">", ")", " \"", "\")", "(", " '", "'", "]: /u", "[x]", "[x]: ", "[^a]", "[^a]: ", "[^", "`", "```", "```\n",
		"~~~ ", "|", "|-", "\n-|-\n", "*", "**", "_", "~~", "\\", "&lt;", " http://x.y/", "---\n", "[x] ", "[x](", " ",
		"[t](/u \"", "\n[x]: /u (", "```sh "}
	tags = []string{"<!--", "-->", "<p hidden>", "</p>", "<div>", "</div>", "\n<div hidden>\n\n", "<b>", "</b>",
		"<img alt=\"", "\">", "<script>", "</script>", "<?", "?>", "<![CDATA[", "]]>", "<a\n", " title='", "'>", "<", "\n<div a=\"\n\n",
		"<style>", "</style>", "<rp>", "</rp>", "<template>", "</template>", "<span style='display:none'>", "</span>",
		"\n\n<div>\n<!--\n\n", "<table>", "</table>", "<li hidden>", "</li>", "<blockquote hidden>\n\n", "</blockquote>"}
)

// composed is Markdown made of one piece for each choice, and its words, which occur once.
func composed(choices []byte, from []string) (markdown string, words []string) {
	var b strings.Builder
	for _, choice := range choices {
		piece := from[int(choice)%len(from)]
		if piece == "" {
			one, two := fmt.Sprintf("w%da", len(words)), fmt.Sprintf("w%db", len(words))
			piece, words = one+" "+two, append(words, one, two)
		}
		b.WriteString(piece)
	}
	return b.String(), words
}

var toHTML = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote),
	goldmark.WithRendererOptions(renderer.WithUnsafe()))

// rendered is what a browser shows of Markdown, and the texts in place of its images.
func rendered(t *testing.T, markdown string) (shown, images string) {
	var out bytes.Buffer
	if err := toHTML.Convert([]byte(markdown), &out); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	var text, alt strings.Builder
	var visit func(*html.Node)
	visit = func(n *html.Node) {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
		for _, a := range n.Attr {
			if n.Data == "img" && a.Key == "alt" {
				alt.WriteString(a.Val + "\n")
			}
		}
		if n.Type == html.ElementNode && hides(html.Token{Type: html.StartTagToken, Data: n.Data, Attr: n.Attr}) {
			return
		}
		for c := range n.ChildNodes() {
			visit(c)
		}
	}
	visit(root)
	return text.String(), alt.String()
}

// checkSeen fails unless each word is left in the Markdown if people see it, and if they do not, is not. An image's
// text may do either. With tags, more may be hidden: an element that hides ends with its tag, and with nothing else.
func checkSeen(t *testing.T, choices []byte, from []string, exact bool) {
	t.Helper()
	markdown, words := composed(choices, from)
	shown, images := rendered(t, markdown)
	left := replaceHidden(markdown, func(string) string { return " " })
	for _, word := range words {
		is, want := strings.Contains(left, word), strings.Contains(shown, word)
		if is != want && !strings.Contains(images, word) && (exact || is) {
			t.Fatalf("%q: people see %s: %v; in %q it is left: %v", markdown, word, want, left, is)
		}
	}
}

// What counts as seen is the text of the rendered page.
func TestWhatIsSeenIsTheTextOfThePage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3_000 {
		choices := make([]byte, 1+random.IntN(30))
		for i := range choices {
			choices[i] = byte(random.UintN(256))
		}
		checkSeen(t, choices, pieces, true)
		checkSeen(t, choices, append(pieces, tags...), false)
	}
}

func FuzzNothingUnseenIsLeft(f *testing.F) {
	f.Add([]byte("\x0e\x00\x13\x00\x15"), true)
	f.Fuzz(func(t *testing.T, choices []byte, clean bool) {
		choices = choices[:min(len(choices), 100)]
		if clean {
			checkSeen(t, choices, pieces, true)
			return
		}
		checkSeen(t, choices, append(pieces, tags...), false)
	})
}

func BenchmarkReveal(b *testing.B) {
	issue := strings.Repeat("## Steps\n\n1. Open `price.go`\n2. See [the docs](https://x.y/z) and **round** up.\n\n"+
		"```go\nfmt.Println(1)\n```\n\n", 10)
	for b.Loop() {
		reveal(issue)
	}
}
