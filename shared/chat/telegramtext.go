package chat

import (
	"html"
	"regexp"
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// message is the text and the buttons of a request. HTML has the fewest characters to escape of Telegram's three
// markups:
// https://core.telegram.org/bots/api#html-style
func (c *Telegram) message(m events.ApprovalMessage) (object, error) {
	t, err := tagOf(m)
	if err != nil {
		return nil, err
	}
	l := lay(m)
	l.fit(telegramText-length(parsed(telegramHTML(l.bare())))-len(l.sections)*2, telegramText)
	rows := [][]object{}
	for _, b := range l.buttons {
		rows = append(rows, []object{{"text": b.text, "callback_data": seal(c.Keys, approval.Telegram, "", t.as(b.means))}})
	}
	if len(rows) > 2 && m.Kind != events.KindQuestion { // yes and no side by side
		rows = append([][]object{append(rows[0], rows[1]...)}, rows[2:]...)
	}
	return object{
		"text": telegramHTML(l), "parse_mode": "HTML", "link_preview_options": object{"is_disabled": true},
		"reply_markup": object{"inline_keyboard": rows},
	}, nil
}

// telegramHTML writes a layout. In code Telegram looks for no mention, link, command or hashtag; elsewhere it does, so
// there defuse breaks them.
func telegramHTML(l layout) string {
	var b strings.Builder
	bold := func(s string) { b.WriteString("<b>" + escapeHTML(defuse(s)) + "</b>") }
	bold(l.head)
	b.WriteString("\n")
	bold(l.title)
	if l.context != "" {
		b.WriteString("\n" + escapeHTML(defuse(l.context)))
	}
	for i, s := range l.sections {
		b.WriteString("\n\n")
		bold(s.head)
		element := "code"
		if i == 0 && s.head == l.words.arguments {
			element = "pre"
		}
		b.WriteString("\n<" + element + ">" + escapeHTML(s.text) + "</" + element + ">")
	}
	if len(l.links) > 0 {
		b.WriteString("\n\n")
		bold(l.words.links)
		for _, k := range l.links {
			b.WriteString("\n• " + escapeHTML(defuse(k.text)) + ` (<a href="` + escapeHTML(k.url) + `">` + escapeHTML(k.host) + "</a>)")
		}
	}
	if l.outcome != "" {
		b.WriteString("\n\n")
		bold(l.outcome)
	}
	b.WriteString("\n\n" + escapeHTML(l.foot))
	if l.issue != "" {
		words := l.words.issue
		if l.cut {
			words = l.words.all + " " + l.issue
		}
		b.WriteString("\n" + `<a href="` + escapeHTML(l.issue) + `">` + escapeHTML(words) + "</a>")
	}
	return b.String()
}

func escapeHTML(s string) string { return html.EscapeString(s) }

var element = regexp.MustCompile(`<[^>]*>`)

// parsed is what Telegram counts: the text without its markup.
func parsed(s string) string { return html.UnescapeString(element.ReplaceAllString(s, "")) }

// joiner is a character of no width, at which nothing may be broken or recognised.
const joiner = "\u2060"

var special = regexp.MustCompile(`@[\p{L}\p{N}_]|(?:^|[^\p{L}\p{N}_])[#/$][\p{L}\p{N}_]|[\p{L}\p{N}][.:][\p{L}\p{N}/]`)

// defuse breaks what Telegram would make a mention, a hashtag, a command, a cashtag or a link of.
// https://core.telegram.org/bots/api#messageentity
func defuse(s string) string {
	for {
		// Matches may overlap ("a.b.c"), so it goes on until there are none.
		next := special.ReplaceAllStringFunc(s, func(found string) string {
			runes := []rune(found)
			return string(runes[:len(runes)-1]) + joiner + string(runes[len(runes)-1:])
		})
		if next == s {
			return s
		}
		s = next
	}
}
