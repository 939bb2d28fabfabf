package chat

import (
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

const (
	// slackBlock is the most that a text of a block may have, in characters:
	// https://docs.slack.dev/reference/block-kit/blocks/section-block
	slackBlock = 3000
	// slackMessage is less than the length from which Slack refuses all blocks together (msg_blocks_too_long). It
	// documents none; messages of 9,600 characters were seen to pass, of 11,300 to fail.
	slackMessage = 8000
	slackHeader  = 150
	slackButton  = 75
	slackField   = "words"
)

// message is a request as blocks. What others wrote stands in rich text, whose elements Slack shows as they are: it
// looks for no mrkdwn, mention or link in them. https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
func (c *Slack) message(m events.ApprovalMessage) (object, error) {
	t, err := tagOf(m)
	if err != nil {
		return nil, err
	}
	l := lay(m)
	room := slackMessage - length(l.head+l.title+l.context+l.outcome+l.foot) - 200
	for _, s := range l.sections {
		room -= length(s.head)
	}
	for _, k := range l.links {
		room -= length(k.text+k.host) + len(k.url) + 10
	}
	l.fit(room, slackBlock-100)
	blocks := slackBlocks(l)
	if len(l.buttons) > 0 {
		buttons := make([]object, len(l.buttons))
		for i, b := range l.buttons {
			buttons[i] = object{
				"type": "button", "action_id": string(b.means), "text": slackPlain(b.text, slackButton),
				"value": seal(c.Keys, approval.Slack, "", t.as(b.means)),
			}
			if style := map[byte]string{approve: "primary", deny: "danger"}[b.means]; style != "" {
				buttons[i]["style"] = style
			}
		}
		blocks = append(blocks, object{"type": "actions", "elements": buttons})
	}
	return object{
		"text": escapeSlack(oneLine(l.head+": "+l.title, 300)), "blocks": blocks, "unfurl_links": false, "unfurl_media": false,
	}, nil
}

func slackBlocks(l layout) []object {
	blocks := []object{{"type": "header", "text": slackPlain(l.head, slackHeader)}}
	head := []object{slackBold(l.title)}
	if l.context != "" {
		head = append(head, slackText("\n"+l.context))
	}
	blocks = append(blocks, rich(slackLine(head...)))
	for i, s := range l.sections {
		kind := "rich_text_quote"
		if i == 0 && s.head == l.words.arguments {
			kind = "rich_text_preformatted"
		}
		blocks = append(blocks, rich(slackLine(slackBold(s.head)), object{"type": kind, "elements": []object{slackText(s.text)}}))
	}
	if len(l.links) > 0 {
		items := make([]object, len(l.links))
		for i, k := range l.links {
			items[i] = slackLine(slackText(k.text+" ("), slackLink(k.url, k.host), slackText(")"))
		}
		blocks = append(blocks, rich(slackLine(slackBold(l.words.links)), object{"type": "rich_text_list", "style": "bullet", "elements": items}))
	}
	if l.outcome != "" {
		blocks = append(blocks, rich(slackLine(slackBold(l.outcome))))
	}
	foot := []object{slackText(l.foot)}
	if l.issue != "" {
		words := l.words.issue
		if l.cut {
			foot = append(foot, slackText("\n"+l.words.all+" "))
			words = l.issue
		} else {
			foot = append(foot, slackText(" · "))
		}
		foot = append(foot, slackLink(l.issue, words))
	}
	return append(blocks, rich(slackLine(foot...)))
}

func rich(elements ...object) object { return object{"type": "rich_text", "elements": elements} }

func slackLine(elements ...object) object {
	return object{"type": "rich_text_section", "elements": elements}
}

func slackText(s string) object {
	if s == "" {
		s = " " // Slack takes no empty text
	}
	return object{"type": "text", "text": s}
}

func slackBold(s string) object {
	o := slackText(s)
	o["style"] = object{"bold": true}
	return o
}

func slackLink(address, text string) object {
	return object{"type": "link", "url": address, "text": text}
}

// slackPlain is text in which Slack looks for nothing, cut to a limit.
func slackPlain(s string, limit int) object {
	return object{"type": "plain_text", "text": oneLine(s, limit), "emoji": false}
}

// slackModal is a modal with blocks. https://docs.slack.dev/reference/views/modal-views
func slackModal(title, closing string, blocks ...object) object {
	return object{"type": "modal", "title": slackPlain(title, 24), "close": slackPlain(closing, 24), "blocks": blocks}
}

// escapeSlack is for text that is mrkdwn: the one above the blocks, which notifications show.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
func escapeSlack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
