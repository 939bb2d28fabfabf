package fakechat

import (
	"errors"
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"
)

// slackBlock is any block or element of Block Kit that the fake knows.
// https://docs.slack.dev/reference/block-kit/blocks
type slackBlock struct {
	Type     string       `json:"type"`
	BlockID  string       `json:"block_id"`
	ActionID string       `json:"action_id"`
	Elements []slackBlock `json:"elements"`
	Element  *slackBlock  `json:"element"`
	Text     any          `json:"text"` // an object, or in rich text a string
	Label    slackWords   `json:"label"`
	URL      string       `json:"url"`
	Value    string       `json:"value"`
	Style    any          `json:"style"` // a name, or in rich text an object
	Max      int          `json:"max_length"`
}

type slackWords struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func (w slackWords) limit(n int) error {
	switch {
	case w.Type != "plain_text":
		return errors.New("must be plain_text")
	case w.Text == "":
		return errors.New("must be more than 0 characters")
	case utf8.RuneCountInString(w.Text) > n:
		return fmt.Errorf("must be less than %d characters", n+1)
	}
	return nil
}

// slackShown is what blocks look like.
type slackShown struct {
	html, text   strings.Builder
	buttons      []Button
	size         int
	input, label string // block_id/action_id and label of an input
}

// slackRender checks blocks as Slack does, and shows them.
func slackRender(blocks []slackBlock) (*slackShown, error) {
	out := &slackShown{}
	if len(blocks) > 50 {
		return out, errors.New("no more than 50 items allowed")
	}
	for i, b := range blocks {
		if err := out.block(b); err != nil {
			return out, fmt.Errorf("%w [json-pointer:/blocks/%d]", err, i)
		}
	}
	return out, nil
}

func (s *slackShown) block(b slackBlock) error {
	switch b.Type {
	case "header", "section":
		w := wordsOf(b.Text)
		if err := w.limit(map[string]int{"header": 150, "section": 3000}[b.Type]); err != nil {
			return err
		}
		s.write("<b>", w.Text, "</b>\n")
	case "rich_text":
		for _, e := range b.Elements {
			if err := s.richPart(e); err != nil {
				return err
			}
		}
	case "actions":
		if len(b.Elements) == 0 || len(b.Elements) > 25 {
			return errors.New("1 to 25 elements allowed")
		}
		seen := map[string]bool{}
		for _, e := range b.Elements {
			w := wordsOf(e.Text)
			if e.Type != "button" || e.ActionID == "" || seen[e.ActionID] || len(e.ActionID) > 255 || len(e.Value) > 2000 {
				return errors.New("invalid button")
			}
			if err := w.limit(75); err != nil {
				return err
			}
			seen[e.ActionID] = true
			style, _ := e.Style.(string)
			s.buttons = append(s.buttons, Button{Label: w.Text, Style: style, data: e.Value})
		}
	case "input":
		if err := b.Label.limit(2000); err != nil || b.Element == nil || b.Element.Type != "plain_text_input" || b.Element.Max > 3000 {
			return errors.New("invalid input")
		}
		s.input, s.label = b.BlockID+"/"+b.Element.ActionID, b.Label.Text
	default:
		return errors.New("unsupported block: " + b.Type)
	}
	return nil
}

func (s *slackShown) richPart(e slackBlock) error {
	before, after := "", "\n"
	switch e.Type {
	case "rich_text_section":
	case "rich_text_quote":
		before, after = "<blockquote>", "</blockquote>\n"
	case "rich_text_preformatted":
		before, after = "<pre>", "</pre>\n"
	case "rich_text_list":
		for _, item := range e.Elements {
			s.write("• ", "", "")
			if err := s.richPart(item); err != nil {
				return err
			}
		}
		return nil
	default:
		return errors.New("unsupported rich text: " + e.Type)
	}
	s.write(before, "", "")
	for _, x := range e.Elements {
		text, _ := x.Text.(string)
		switch {
		case text == "":
			return errors.New("must be more than 0 characters")
		case x.Type == "link" && x.URL != "" && len(x.URL) <= 3000:
			s.size += len(x.URL)
			s.write(`<a rel="noreferrer" href="`+template.HTMLEscapeString(x.URL)+`">`, text, "</a>")
		case x.Type == "text":
			if style, ok := x.Style.(map[string]any); ok && style["bold"] == true {
				s.write("<b>", text, "</b>")
			} else {
				s.write("", text, "")
			}
		default:
			return errors.New("unsupported element: " + x.Type)
		}
	}
	s.write("", "", after)
	return nil
}

// write shows text, never as markup.
func (s *slackShown) write(before, text, after string) {
	s.size += utf8.RuneCountInString(text)
	s.html.WriteString(before + template.HTMLEscapeString(text) + after)
	s.text.WriteString(text)
	if strings.HasSuffix(after, "\n") {
		s.text.WriteString("\n")
	}
}

func wordsOf(text any) slackWords {
	o, _ := text.(map[string]any)
	kind, _ := o["type"].(string)
	words, _ := o["text"].(string)
	return slackWords{kind, words}
}
