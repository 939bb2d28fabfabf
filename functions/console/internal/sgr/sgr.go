// Package sgr shows a line of a log as HTML: its colours become classes of a style sheet, and nothing else of what a
// terminal would do is done.
//
// What an agent prints is hostile text. So everything is escaped first, the only element is span, the only attribute is
// class, and its values are this package's own words. Select Graphic Rendition (CSI … m) is understood as far as a
// terminal of 16 colours does; colours out of 256 or 16 million are left as plain text. All other control sequences are
// dropped: links (OSC 8) too, because their address is not what is seen. Control characters go, but for the tab; marks
// that turn the direction of text around are shown by their number, because they make a line read as what it is not.
//
// The package is pure. https://ecma-international.org/publications-and-standards/standards/ecma-48/ (5.4, 8.3.117)
package sgr

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const escape = '\x1b'

// HTML is the line as HTML.
func HTML(line string) template.HTML {
	var w writer
	for rest := line; rest != ""; {
		rest = w.next(rest)
	}
	w.close()
	return template.HTML(w.out.String()) // everything in it went through html.EscapeString or is a constant of ours
}

// Text is the line without control sequences, as HTML shows it.
func Text(line string) string {
	w := writer{plain: true}
	for rest := line; rest != ""; {
		rest = w.next(rest)
	}
	return w.out.String()
}

type writer struct {
	out   strings.Builder
	plain bool // write text, no HTML
	style style
	open  string // classes of the span that is open; "" = none
}

// style is what Select Graphic Rendition has set.
type style struct {
	bold, faint, italic, underline bool
	fore, back                     int // 0 = none, else the colour's number and one
}

// next writes what the text begins with, and returns the rest.
func (w *writer) next(text string) string {
	if text[0] == escape {
		kind, arguments, rest := sequence(text)
		if kind == 'm' {
			w.style.set(arguments)
		}
		return rest
	}
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == 0x9b: // CSI in one character
		kind, arguments, rest := control(text[size:])
		if kind == 'm' {
			w.style.set(arguments)
		}
		return rest
	case r == '\t':
		w.write("\t")
	case unicode.IsControl(r):
	case unicode.Is(unicode.Bidi_Control, r):
		w.write(fmt.Sprintf("<U+%04X>", r))
	case r == utf8.RuneError && size < 2:
		w.write("\uFFFD")
	default:
		w.write(text[:size])
	}
	return text[size:]
}

// sequence reads a control sequence that begins with ESC: what kind it is, its arguments, and what follows. One that
// does not end takes all the rest.
func sequence(text string) (kind byte, arguments, rest string) {
	if len(text) < 2 {
		return 0, "", ""
	}
	switch text[1] {
	case '[':
		return control(text[2:])
	case ']', 'P', '_', '^', 'X': // strings, which end with BEL or ESC \
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] == '\a':
				return 0, "", text[i+1:]
			case text[i] == escape && i+1 < len(text) && text[i+1] == '\\':
				return 0, "", text[i+2:]
			}
		}
		return 0, "", ""
	}
	i := 1
	for i < len(text) && text[i] >= 0x20 && text[i] <= 0x2f {
		i++
	}
	if i < len(text) && text[i] >= 0x30 && text[i] <= 0x7e {
		i++
	}
	return 0, "", text[i:]
}

// control reads what follows CSI.
func control(text string) (kind byte, arguments, rest string) {
	i := 0
	for i < len(text) && text[i] >= 0x20 && text[i] <= 0x3f {
		i++
	}
	if i == len(text) || text[i] < 0x40 || text[i] > 0x7e {
		return 0, "", text[i:]
	}
	return text[i], text[:i], text[i+1:]
}

func (s *style) set(arguments string) {
	codes := strings.FieldsFunc(arguments, func(r rune) bool { return r == ';' || r == ':' })
	if len(codes) == 0 {
		*s = style{}
	}
	for i := 0; i < len(codes); i++ {
		n, err := strconv.Atoi(codes[i])
		if err != nil {
			continue
		}
		switch {
		case n == 38 || n == 48: // a colour out of many: its arguments are no codes
			if i+1 < len(codes) && codes[i+1] == "5" {
				i += 2
			} else {
				i += 4
			}
		default:
			s.code(n)
		}
	}
}

func (s *style) code(n int) {
	switch {
	case n == 0:
		*s = style{}
	case n == 1:
		s.bold = true
	case n == 2:
		s.faint = true
	case n == 3:
		s.italic = true
	case n == 4:
		s.underline = true
	case n == 22:
		s.bold, s.faint = false, false
	case n == 23:
		s.italic = false
	case n == 24:
		s.underline = false
	case n >= 30 && n <= 37:
		s.fore = n - 30 + 1
	case n >= 90 && n <= 97:
		s.fore = n - 90 + 9
	case n == 39:
		s.fore = 0
	case n >= 40 && n <= 47:
		s.back = n - 40 + 1
	case n >= 100 && n <= 107:
		s.back = n - 100 + 9
	case n == 49:
		s.back = 0
	}
}

// classes are the style's in the style sheet.
func (s style) classes() string {
	var all []string
	for _, c := range []struct {
		name string
		on   bool
	}{{"sb", s.bold}, {"sd", s.faint}, {"si", s.italic}, {"su", s.underline}} {
		if c.on {
			all = append(all, c.name)
		}
	}
	if s.fore > 0 {
		all = append(all, fmt.Sprintf("f%d", s.fore-1))
	}
	if s.back > 0 {
		all = append(all, fmt.Sprintf("b%d", s.back-1))
	}
	return strings.Join(all, " ")
}

func (w *writer) write(text string) {
	if w.plain {
		w.out.WriteString(text)
		return
	}
	if want := w.style.classes(); want != w.open {
		w.close()
		if want != "" {
			w.out.WriteString(`<span class="` + want + `">`)
		}
		w.open = want
	}
	w.out.WriteString(html.EscapeString(text))
}

func (w *writer) close() {
	if w.open != "" {
		w.out.WriteString("</span>")
	}
	w.open = ""
}
