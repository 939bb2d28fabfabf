package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// Mattermost is a bot. A target is a channel's id, 26 letters and digits.
//
// Mattermost signs nothing. What a button carries (its context) is kept by the server and shown to no client, so its
// tag, which we sign, proves that the server sent it. What a dialog carries (its state) goes through the client. So
// that is bound to the person who clicked, to the message and to an hour.
// https://developers.mattermost.com/integrate/plugins/interactive-messages/
type Mattermost struct {
	API      string          // base URL of the server, without /api/v4
	Token    string          // of the bot
	Callback string          // our URL, to which buttons and dialogs are sent
	Commands webhook.Secrets // tokens of the slash command by which codes come; none = there is no such command
	Keys     webhook.Secrets // of our own, for buttons and dialogs
	Client   *http.Client    // NewClient
	Now      func() time.Time
}

const (
	// mattermostPost is a post's limit, in characters; attachments have none of their own, but nobody reads more.
	mattermostPost = 16_383
	dialogTime     = time.Hour
)

// Post shows a message in a channel.
func (c *Mattermost) Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error) {
	props, err := c.props(m)
	if err != nil {
		return Posted{}, err
	}
	sent, err := c.call(ctx, http.MethodPost, "posts", object{"channel_id": target, "props": props})
	if err != nil {
		return Posted{}, fmt.Errorf("showing request %s in channel %s: %w", m.RequestID, target, err)
	}
	return Posted{Ref: Ref{Chat: sent.Channel, Message: sent.ID}}, nil
}

// Edit makes a message show its newest version.
func (c *Mattermost) Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error {
	props, err := c.props(m)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, http.MethodPut, "posts/"+ref.Message+"/patch", object{"props": props}); err != nil {
		return fmt.Errorf("changing post %s in channel %s: %w", ref.Message, ref.Chat, err)
	}
	return nil
}

// Find looks for the post of a request that was written since then; nil = there is none.
// https://developers.mattermost.com/api-documentation/#/operations/GetPostsForChannel
func (c *Mattermost) Find(ctx context.Context, target string, m events.ApprovalMessage, since time.Time) (*Ref, error) {
	found, err := c.call(ctx, http.MethodGet, fmt.Sprintf("channels/%s/posts?since=%d", url.PathEscape(target), since.UnixMilli()), nil)
	if err != nil {
		return nil, fmt.Errorf("looking for request %s in channel %s: %w", m.RequestID, target, err)
	}
	for _, sent := range found.Posts {
		if sent.Props.Request == m.RequestID && sent.Deleted == 0 {
			return &Ref{Chat: target, Message: sent.ID}, nil
		}
	}
	return nil, nil
}

// Remind answers in the message's thread.
func (c *Mattermost) Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, text string) (Posted, error) {
	body := object{"channel_id": ref.Chat, "root_id": ref.Message, "message": codeSpan(oneLine(text, 4000))}
	if _, err := c.call(ctx, http.MethodPost, "posts", body); err != nil {
		return Posted{}, fmt.Errorf("reminding channel %s of request %s: %w", ref.Chat, m.RequestID, err)
	}
	return Posted{Ref: ref}, nil
}

// Say writes a plain post.
func (c *Mattermost) Say(ctx context.Context, target, text string) error {
	if _, err := c.call(ctx, http.MethodPost, "posts", object{"channel_id": target, "message": codeSpan(oneLine(text, 4000))}); err != nil {
		return fmt.Errorf("telling channel %s: %w", target, err)
	}
	return nil
}

// Ask opens a dialog for the reason or the answer. Mattermost takes it within three seconds of the click.
// https://developers.mattermost.com/integrate/plugins/interactive-dialogs/
func (c *Mattermost) Ask(ctx context.Context, cb Callback) error {
	w := cb.tag.words()
	title, label := w.denyWords, w.reason
	if cb.tag.means == ownWords {
		title, label = w.ownWords, w.answer
	}
	until := strconv.FormatInt(c.Now().Add(dialogTime).Unix(), 10)
	state := seal(c.Keys, approval.Mattermost, dialogOf(cb.Vote.By.Account, cb.Ref, until), cb.tag) + "." + cb.Ref.Message + "." + until
	_, err := c.call(ctx, http.MethodPost, "actions/dialogs/open", object{
		"trigger_id": cb.trigger, "url": c.Callback, "dialog": object{
			"callback_id": "codexk8s", "title": oneLine(title, 24), "submit_label": w.send, "state": state,
			"elements": []object{{"display_name": oneLine(label, 24), "name": slackField, "type": "textarea", "max_length": maxWords}},
		},
	})
	if err != nil {
		return fmt.Errorf("opening a dialog for request %s: %w", cb.Vote.RequestID, err)
	}
	return nil
}

// dialogOf is what a dialog's state is bound to.
func dialogOf(user string, ref Ref, until string) string {
	return strings.Join([]string{"dialog", user, ref.Chat, ref.Message, until}, "\n")
}

// Tell has nothing to do: the response has said it.
func (c *Mattermost) Tell(context.Context, Callback, string) error { return nil }

// props are the attachment with the text and the buttons, and what Find knows our posts by.
func (c *Mattermost) props(m events.ApprovalMessage) (object, error) {
	t, err := tagOf(m)
	if err != nil {
		return nil, err
	}
	l := lay(m)
	l.fit(mattermostPost-length(mattermostText(l.bare()))-20*len(l.sections), mattermostPost/2)
	actions := make([]object, len(l.buttons))
	for i, b := range l.buttons {
		style := map[byte]string{approve: "good", deny: "danger"}[b.means]
		if style == "" {
			style = "default"
		}
		actions[i] = object{
			"id": string(b.means), "type": "button", "name": b.text, "style": style, "integration": object{
				"url": c.Callback, "context": object{"tag": seal(c.Keys, approval.Mattermost, "", t.as(b.means))},
			},
		}
	}
	shown := object{"fallback": l.head + ": " + l.title, "text": mattermostText(l), "actions": actions}
	return object{"attachments": []object{shown}, "codexk8s_request": m.RequestID}, nil
}

// mattermostText writes a layout in Markdown. What others wrote stands in code, where Mattermost looks for no mention
// or link.
func mattermostText(l layout) string {
	var b strings.Builder
	b.WriteString("**" + l.head + "**\n" + codeSpan(l.title))
	if l.context != "" {
		b.WriteString("\n" + codeSpan(l.context))
	}
	for _, s := range l.sections {
		fence := backticks(s.text, 3)
		b.WriteString("\n\n**" + s.head + "**\n" + fence + "\n" + s.text + "\n" + fence)
	}
	if len(l.links) > 0 {
		b.WriteString("\n\n**" + l.words.links + "**")
		for _, k := range l.links {
			b.WriteString("\n* " + codeSpan(k.text) + " ([" + k.host + "](" + parenless(k.url) + "))")
		}
	}
	if l.outcome != "" {
		b.WriteString("\n\n" + codeSpan(l.outcome))
	}
	b.WriteString("\n\n" + l.foot)
	if l.issue != "" {
		words := l.words.issue
		if l.cut {
			words = l.words.all + " " + l.issue
		}
		b.WriteString("\n[" + words + "](" + parenless(l.issue) + ")")
	}
	return b.String()
}

// backticks are more in a row than the text has anywhere.
func backticks(text string, least int) string {
	fence := strings.Repeat("`", least)
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence
}

// codeSpan is one line of code.
func codeSpan(line string) string {
	fence := backticks(line, 1)
	if fence != "`" {
		return fence + " " + line + " " + fence
	}
	return fence + line + fence
}

// parenless is an address that ends no link of Markdown before its own end.
func parenless(address string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E", `"`, "%22").Replace(address)
}

type mattermostAnswer struct {
	ID      string `json:"id"`
	Channel string `json:"channel_id"`
	Message string `json:"message"` // of an error
	Posts   map[string]struct {
		ID      string `json:"id"`
		Deleted int64  `json:"delete_at"`
		Props   struct {
			Request string `json:"codexk8s_request"`
		} `json:"props"`
	} `json:"posts"` // of a list
}

func (c *Mattermost) call(ctx context.Context, method, path string, body any) (mattermostAnswer, error) {
	address := strings.TrimRight(c.API, "/") + "/api/v4/" + path
	a, err := call(ctx, c.Client, method, address, http.Header{"Authorization": {"Bearer " + c.Token}}, body)
	if err != nil {
		return mattermostAnswer{}, fmt.Errorf("calling Mattermost: %w", err)
	}
	var answered mattermostAnswer
	bad := json.Unmarshal(a.body, &answered)
	if a.status < 300 {
		if bad != nil {
			return mattermostAnswer{}, fmt.Errorf("mattermost answered %d and no JSON", a.status)
		}
		return answered, nil
	}
	return mattermostAnswer{}, mattermostFailure(a, answered)
}

// mattermostFailure sorts an error by its status and its id.
// https://developers.mattermost.com/api-documentation/#/#errors
func mattermostFailure(a answer, e mattermostAnswer) error {
	words := fmt.Sprintf("%d %s %s", a.status, oneLine(e.ID, 100), oneLine(e.Message, 200))
	why := map[int]string{401: reason.Unauthorized, 403: reason.Unauthorized, 404: reason.NotFound, 413: reason.TooLarge}[a.status]
	switch {
	case a.status == http.StatusTooManyRequests:
		return &Later{Channel: approval.Mattermost, After: retryAfter(a.header), Said: words}
	case a.status >= 500:
		return fmt.Errorf("mattermost answered %s", words)
	case why != "":
	case strings.Contains(e.ID, "deleted"):
		why = reason.NotFound
	case strings.Contains(e.ID, "message_length"), strings.Contains(e.ID, "props"):
		why = reason.TooLarge
	default:
		why = reason.Rejected
	}
	return &Refused{Channel: approval.Mattermost, Reason: why, Said: words}
}
