package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// SlackURL is Slack's own Web API.
const SlackURL = "https://slack.com/api"

// Slack is an App in a workspace. A target is the id of a channel, "C0123ABC", or of a person, "U0123ABC", to whom it
// is sent directly.
// https://docs.slack.dev/reference/methods/chat.postMessage
type Slack struct {
	API     string          // base URL
	Token   string          // of the bot, "xoxb-…"
	Secrets webhook.Secrets // signing secrets of the App
	Keys    webhook.Secrets // of our own, for the buttons
	Client  *http.Client    // NewClient
}

// Post shows a message in a channel.
func (c *Slack) Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error) {
	body, err := c.message(m)
	if err != nil {
		return Posted{}, err
	}
	body["channel"], body["metadata"] = target, object{"event_type": slackEvent, "event_payload": object{"request": m.RequestID}}
	sent, err := c.call(ctx, "chat.postMessage", body)
	if err != nil {
		return Posted{}, fmt.Errorf("showing request %s in channel %s: %w", m.RequestID, target, err)
	}
	return Posted{Ref: Ref{Chat: sent.Channel, Message: sent.TS}}, nil
}

// slackEvent is the type of the metadata by which Find knows our messages; people don't see it.
// https://docs.slack.dev/messaging/message-metadata
const slackEvent = "codexk8s_approval"

// slackPage is how many messages Find looks at: those that were written since the message might have been.
const slackPage = 200

// Find looks for the message of a request that was posted since then; nil = there is none. Where the App may not read
// (it takes channels:history, and groups:history for private channels) it is Refused. The metadata need no scope of
// their own: metadata.message:read is for events about them. To a person's direct messages leads no id that we have
// before we have posted.
// https://docs.slack.dev/reference/methods/conversations.history
// https://docs.slack.dev/reference/scopes/metadata.message.read
func (c *Slack) Find(ctx context.Context, target string, m events.ApprovalMessage, since time.Time) (*Ref, error) {
	found, err := c.call(ctx, "conversations.history", object{
		"channel": target, "oldest": fmt.Sprintf("%d.000000", since.Unix()), "limit": slackPage, "include_all_metadata": true,
	})
	if err != nil {
		return nil, fmt.Errorf("looking for request %s in channel %s: %w", m.RequestID, target, err)
	}
	for _, sent := range found.Messages {
		if sent.Metadata.Type == slackEvent && sent.Metadata.Payload.Request == m.RequestID {
			return &Ref{Chat: target, Message: sent.TS}, nil
		}
	}
	return nil, nil
}

// Edit makes a message show its newest version.
func (c *Slack) Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error {
	body, err := c.message(m)
	if err != nil {
		return err
	}
	body["channel"], body["ts"] = ref.Chat, ref.Message
	if _, err := c.call(ctx, "chat.update", body); err != nil {
		return fmt.Errorf("changing message %s in channel %s: %w", ref.Message, ref.Chat, err)
	}
	return nil
}

// Remind answers in the message's thread, and shows the answer in the channel as well.
func (c *Slack) Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, text string) (Posted, error) {
	text = oneLine(text, slackBlock)
	body := object{
		"channel": ref.Chat, "thread_ts": ref.Message, "reply_broadcast": true, "text": escapeSlack(oneLine(text, 300)),
		"unfurl_links": false, "unfurl_media": false, "blocks": []object{rich(slackLine(slackText(text)))},
	}
	if _, err := c.call(ctx, "chat.postMessage", body); err != nil {
		return Posted{}, fmt.Errorf("reminding channel %s of request %s: %w", ref.Chat, m.RequestID, err)
	}
	return Posted{Ref: ref}, nil
}

// Say writes a plain message.
func (c *Slack) Say(ctx context.Context, target, text string) error {
	text = oneLine(text, slackBlock)
	body := object{
		"channel": target, "text": escapeSlack(oneLine(text, 300)), "unfurl_links": false, "unfurl_media": false,
		"blocks": []object{rich(slackLine(slackText(text)))},
	}
	if _, err := c.call(ctx, "chat.postMessage", body); err != nil {
		return fmt.Errorf("telling channel %s: %w", target, err)
	}
	return nil
}

// Ask opens a modal for the reason or the answer. Slack takes it within three seconds of the click.
// https://docs.slack.dev/reference/methods/views.open
func (c *Slack) Ask(ctx context.Context, cb Callback) error {
	w := cb.tag.words()
	title, label := w.denyWords, w.reason
	if cb.tag.means == ownWords {
		title, label = w.ownWords, w.answer
	}
	state, err := json.Marshal(slackState{Tag: seal(c.Keys, approval.Slack, "", cb.tag), Ref: cb.Ref})
	if err != nil {
		return fmt.Errorf("writing the modal's state: %w", err)
	}
	view := slackModal(title, w.cancel, object{
		"type": "input", "block_id": slackField, "label": slackPlain(label, 150),
		"element": object{"type": "plain_text_input", "action_id": slackField, "multiline": true, "max_length": maxWords},
	})
	view["private_metadata"], view["submit"] = string(state), slackPlain(w.send, 24)
	if _, err := c.call(ctx, "views.open", object{"trigger_id": cb.trigger, "view": view}); err != nil {
		return fmt.Errorf("opening a modal for request %s: %w", cb.Vote.RequestID, err)
	}
	return nil
}

// Tell says something to the person who clicked, who alone sees it. It needs no token, so it works where chat.update
// can't.
// https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
func (c *Slack) Tell(ctx context.Context, cb Callback, words string) error {
	if words == "" || cb.back == "" {
		return nil
	}
	if !c.isSlack(cb.back) {
		return &Refused{Channel: approval.Slack, Reason: reason.NotAllowed, Said: "the response_url is not Slack's"}
	}
	a, err := call(ctx, c.Client, http.MethodPost, cb.back, http.Header{}, object{
		"response_type": "ephemeral", "replace_original": false, "text": escapeSlack(oneLine(words, slackBlock)),
	})
	if err != nil {
		return fmt.Errorf("answering a click in Slack: %w", err)
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("answering a click in Slack: %w", slackFailure("response_url", a.status, a.header, said(a.body)))
	}
	return nil
}

// isSlack: the address comes in a signed payload, and still goes nowhere else.
func (c *Slack) isSlack(address string) bool {
	u, err := url.Parse(address)
	own, bad := url.Parse(c.API)
	return err == nil && bad == nil && (u.Scheme == "https" && u.Host == "hooks.slack.com" || u.Scheme == own.Scheme && u.Host == own.Host)
}

// slackState is what a modal brings back.
type slackState struct {
	Tag string `json:"tag"`
	Ref Ref    `json:"ref"`
}

// slackAnswer is what we read of any method's answer.
type slackAnswer struct {
	OK       bool   `json:"ok"`
	Error    string `json:"error"`
	Channel  string `json:"channel"`
	TS       string `json:"ts"`
	Metadata struct {
		Messages []string `json:"messages"`
	} `json:"response_metadata"`
	Messages []struct {
		TS       string `json:"ts"`
		Metadata struct {
			Type    string `json:"event_type"`
			Payload struct {
				Request string `json:"request"`
			} `json:"event_payload"`
		} `json:"metadata"`
	} `json:"messages"`
}

func (c *Slack) call(ctx context.Context, method string, body object) (slackAnswer, error) {
	a, err := call(ctx, c.Client, http.MethodPost, strings.TrimRight(c.API, "/")+"/"+method, http.Header{"Authorization": {"Bearer " + c.Token}}, body)
	if err != nil {
		return slackAnswer{}, fmt.Errorf("calling Slack's %s: %w", method, err)
	}
	var answered slackAnswer
	if a.status != http.StatusOK {
		return slackAnswer{}, slackFailure(method, a.status, a.header, said(a.body))
	}
	if err := json.Unmarshal(a.body, &answered); err != nil {
		return slackAnswer{}, fmt.Errorf("slack's %s answered no JSON", method)
	}
	if !answered.OK {
		words := strings.TrimSpace(answered.Error + " " + oneLine(strings.Join(answered.Metadata.Messages, "; "), 300))
		return slackAnswer{}, slackFailure(method, a.status, a.header, words)
	}
	return answered, nil
}

// slackReasons are the errors that stay, by what to do about them; what is not here and no weather is Rejected.
// https://docs.slack.dev/reference/methods/chat.postMessage#errors https://docs.slack.dev/reference/methods/chat.update#errors
var slackReasons = map[string]string{
	"channel_not_found": reason.NotFound, "user_not_found": reason.NotFound, "users_not_found": reason.NotFound,
	"is_archived": reason.NotFound, "message_not_found": reason.NotFound, "thread_not_found": reason.NotFound,
	"not_in_channel": reason.BotKicked, "cannot_dm_bot": reason.BotBlocked, "messages_tab_disabled": reason.BotBlocked, "user_disabled": reason.BotBlocked,
	"invalid_auth": reason.Unauthorized, "not_authed": reason.Unauthorized, "account_inactive": reason.Unauthorized,
	"token_revoked": reason.Unauthorized, "token_expired": reason.Unauthorized,
	"missing_scope": reason.Unauthorized, "no_permission": reason.Unauthorized, "not_allowed_token_type": reason.Unauthorized, "org_login_required": reason.Unauthorized,
	"restricted_action": reason.Unauthorized, "restricted_action_read_only_channel": reason.Unauthorized, "restricted_action_thread_only_channel": reason.Unauthorized,
	"access_denied": reason.Unauthorized, "cant_update_message": reason.Unauthorized, "ekm_access_denied": reason.Unauthorized,
	"msg_too_long": reason.TooLarge, "msg_blocks_too_long": reason.TooLarge,
}

// slackWeather are errors that pass.
var slackWeather = map[string]bool{
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true, "team_added_to_org": true, "accesslimited": true, "": true,
}

// slackFailure sorts an answer. The words begin with Slack's code.
func slackFailure(method string, status int, header http.Header, words string) error {
	code, _, _ := strings.Cut(words, " ")
	switch {
	case status == http.StatusTooManyRequests, code == "ratelimited", code == "rate_limited":
		return &Later{Channel: approval.Slack, After: retryAfter(header), Said: method + ": " + words}
	case status >= 500, status < 300 && slackWeather[code]:
		return fmt.Errorf("slack's %s answered %d %s", method, status, words)
	}
	why, known := slackReasons[code]
	if !known {
		why = reason.Rejected
	}
	return &Refused{Channel: approval.Slack, Reason: why, Said: fmt.Sprintf("%s: %d %s", method, status, words)}
}
