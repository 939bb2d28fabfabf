package prompt

import (
	"regexp"
	"strings"

	"github.com/yuin/goldmark/text"
	"golang.org/x/net/html"
)

// hiders are elements whose text people do not see; empty ones have none.
var hiders = set("audio canvas datalist iframe noembed noframes noscript rp script style svg template textarea title " +
	"video")
var empty = set("area base br col embed hr img input link meta source track wbr")

// scopes are elements beyond which an end tag does not reach:
// https://html.spec.whatwg.org/multipage/parsing.html#has-an-element-in-scope
var scopes = set("applet button marquee object ol select svg table template ul")

// layout are attributes that say little more than a number.
var layout = set("align colspan height open rowspan start valign width")
var little = regexp.MustCompile(`^[a-z0-9.%]{0,6}$`)

// unseen are styles that hide an element.
var unseen = regexp.MustCompile(`(?i)display\s*:\s*none|visibility\s*:\s*hidden|` +
	`opacity\s*:\s*0|font-size\s*:\s*0|color\s*:\s*(?:white|transparent|#fff)`)

func set(names string) map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields(names) {
		all[name] = true
	}
	return all
}

// unending is what hides all that follows: a comment or a tag that does not end where its Markdown does.
const unending = " "

// abrupt are comments that end before they have begun, which not every parser knows: here they go on to the next end.
var abrupt = strings.NewReplacer("<!-->", "<!--=", "<!--->", "<!---=")

// html marks what people see of a piece of raw HTML: text and plain tags. An element stays open beyond the piece, as
// it does on the page.
func (p *page) html(lines *text.Segments) {
	var raw strings.Builder
	var places []int // in the source, of each byte
	for _, line := range lines.Sliced(0, lines.Len()) {
		raw.Write(p.source[line.Start:line.Stop])
		for i := line.Start; i < line.Stop; i++ {
			places = append(places, i)
		}
	}
	at := 0
	for z := html.NewTokenizer(strings.NewReader(abrupt.Replace(raw.String()))); z.Next() != html.ErrorToken; {
		end := at + len(z.Raw())
		p.token(string(z.Raw()), z.Token(), places[at:end])
		at = end
	}
	if at < len(places) {
		p.cut(places[at])
		p.open(unending)
	}
}

// token marks a text, tag or comment, which stands at the places.
func (p *page) token(raw string, t html.Token, places []int) {
	begin, end := places[0], places[len(places)-1]+1
	p.end = end
	switch {
	case t.Type == html.CommentToken && !ended(raw):
		p.cut(begin)
		p.open(unending)
	case len(p.hiding) > 0:
		p.inside(t)
		p.cut(end)
	case hides(t):
		p.cut(begin)
		p.open(t.Data)
	case t.Type == html.TextToken || plainEnd(raw, t) || plainStart(t):
		for _, i := range places {
			p.see(i, i+1, 0)
		}
	default:
		p.cut(begin)
		p.cut(end)
	}
}

// ended says whether a comment or declaration is whole.
func ended(raw string) bool {
	if strings.HasPrefix(raw, "<!--") {
		return strings.HasSuffix(raw, "-->") || strings.HasSuffix(raw, "--!>")
	}
	return strings.HasSuffix(raw, ">")
}

// An element is one that hides its text, or that is open in such a one and keeps it open.
type element struct {
	name  string
	depth int // of the Markdown that it stands in
}

func (p *page) open(name string) { p.hiding = append(p.hiding, element{name, p.depth}) }

// inside keeps account of what hides, until nothing does. An end tag ends the last of the elements, if it has its name
// and is no deeper in the Markdown: there it ends what the Markdown has begun.
func (p *page) inside(t html.Token) {
	top := p.hiding[len(p.hiding)-1]
	switch {
	case isStart(t) && (t.Data == top.name || scopes[t.Data] || hides(t)):
		p.open(t.Data)
	case t.Type == html.EndTagToken && t.Data == top.name && p.depth <= top.depth:
		p.hiding = p.hiding[:len(p.hiding)-1]
	}
}

func isStart(t html.Token) bool {
	return t.Type == html.StartTagToken || t.Type == html.SelfClosingTagToken
}

func hides(t html.Token) bool {
	if !isStart(t) || empty[t.Data] {
		return false
	}
	for _, a := range t.Attr {
		if a.Key == "hidden" || a.Key == "style" && unseen.MatchString(a.Val) {
			return true
		}
	}
	return hiders[t.Data]
}

// plainStart says whether a tag of HTML says nothing but what it is, where it leads, and how large it is.
func plainStart(t html.Token) bool {
	for _, a := range t.Attr {
		leads := (a.Key == "href" || a.Key == "src") && !blank([]byte(a.Val))
		if !leads && !(layout[a.Key] && little.MatchString(a.Val)) {
			return false
		}
	}
	return isStart(t) && t.DataAtom != 0
}

func plainEnd(raw string, t html.Token) bool {
	return t.Type == html.EndTagToken && t.DataAtom != 0 && strings.TrimLeft(raw[len("</")+len(t.Data):], " \t\n") == ">"
}
