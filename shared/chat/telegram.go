package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// TelegramURL is Telegram's own Bot API.
const TelegramURL = "https://api.telegram.org"

// Telegram is a bot. A target is a chat's id, "-1001234567890", with a topic "-1001234567890/42", or a public name
// "@releases".
// https://core.telegram.org/bots/api
type Telegram struct {
	API     string          // base URL
	Token   string          // of the bot, "123456:ABC…"
	Secrets webhook.Secrets // secret_token of setWebhook; several while one is being changed
	Keys    webhook.Secrets // of our own, for the buttons
	Client  *http.Client    // NewClient
}

const (
	telegramText  = 4096 // characters, in UTF-16 units: https://core.telegram.org/bots/api#sendmessage
	telegramToast = 200  // https://core.telegram.org/bots/api#answercallbackquery
)

// Post shows a message in a chat.
func (c *Telegram) Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error) {
	body, err := c.message(m)
	if err != nil {
		return Posted{}, err
	}
	chat, topic, _ := strings.Cut(target, "/")
	body["chat_id"] = chatID(chat)
	if thread, err := strconv.ParseInt(topic, 10, 64); err == nil {
		body["message_thread_id"] = thread
	}
	sent, err := c.call(ctx, "sendMessage", body)
	if err != nil {
		return Posted{}, fmt.Errorf("showing request %s in chat %s: %w", m.RequestID, target, err)
	}
	return Posted{Ref: Ref{Chat: sent.place(), Message: strconv.FormatInt(sent.ID, 10)}}, nil
}

// Edit makes a message show its newest version. One that shows it already is a success.
func (c *Telegram) Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error {
	body, err := c.message(m)
	if err != nil {
		return err
	}
	chat, _, _ := strings.Cut(ref.Chat, "/")
	body["chat_id"], body["message_id"] = chatID(chat), number(ref.Message)
	if _, err := c.call(ctx, "editMessageText", body); err != nil && !errors.Is(err, errUnmodified) {
		return fmt.Errorf("changing message %s in chat %s: %w", ref.Message, ref.Chat, err)
	}
	return nil
}

// Remind answers the message with a short one, which people are notified of.
func (c *Telegram) Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, text string) (Posted, error) {
	chat, topic, _ := strings.Cut(ref.Chat, "/")
	body := object{
		"chat_id": chatID(chat), "text": cutTo(defuse(oneLine(text, telegramText)), telegramText),
		"reply_parameters": object{"message_id": number(ref.Message), "allow_sending_without_reply": true},
	}
	if topic != "" {
		body["message_thread_id"] = number(topic)
	}
	if _, err := c.call(ctx, "sendMessage", body); err != nil {
		return Posted{}, fmt.Errorf("reminding chat %s of request %s: %w", ref.Chat, m.RequestID, err)
	}
	return Posted{Ref: ref}, nil
}

// Say writes a plain message.
func (c *Telegram) Say(ctx context.Context, target, text string) error {
	chat, topic, _ := strings.Cut(target, "/")
	body := object{"chat_id": chatID(chat), "text": cutTo(defuse(oneLine(text, telegramText)), telegramText)}
	if topic != "" {
		body["message_thread_id"] = number(topic)
	}
	if _, err := c.call(ctx, "sendMessage", body); err != nil {
		return fmt.Errorf("telling chat %s: %w", target, err)
	}
	return nil
}

// Ask writes a message to which the person can reply with words. The reply names it, and it names the request.
// https://core.telegram.org/bots/api#forcereply
func (c *Telegram) Ask(ctx context.Context, cb Callback) error {
	w := cb.tag.words()
	request := w.replyReason
	if cb.tag.means == ownWords {
		request = w.replyAnswer
	}
	who := "tg://user?id=" + cb.Vote.By.Account
	text := fmt.Sprintf("<a href=\"%s\">%s</a>: %s\n<code>%s</code>", who, escapeHTML(defuse(oneLine(cb.Vote.By.Name, 60))), request,
		seal(c.Keys, approval.Telegram, cb.Ref.Chat, cb.tag))
	chat, topic, _ := strings.Cut(cb.Ref.Chat, "/")
	body := object{
		"chat_id": chatID(chat), "text": text, "parse_mode": "HTML",
		"reply_parameters": object{"message_id": number(cb.Ref.Message), "allow_sending_without_reply": true},
		"reply_markup":     object{"force_reply": true, "selective": true},
	}
	if topic != "" {
		body["message_thread_id"] = number(topic)
	}
	if _, err := c.call(ctx, "sendMessage", body); err != nil {
		return fmt.Errorf("asking for a reason in chat %s: %w", cb.Ref.Chat, err)
	}
	return nil
}

// Tell has nothing to do: the response has said it.
func (c *Telegram) Tell(context.Context, Callback, string) error { return nil }

// chatID is how the API takes a chat: a number or a name.
func chatID(text string) any {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id
	}
	return text
}

// number is the number that a text of ours holds; Telegram knows no message 0.
func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// telegramMessage is what we read of https://core.telegram.org/bots/api#message.
type telegramMessage struct {
	ID     int64         `json:"message_id"`
	Thread int64         `json:"message_thread_id"`
	Topic  bool          `json:"is_topic_message"`
	From   *telegramUser `json:"from"`
	Sender *struct{}     `json:"sender_chat"` // a channel or an anonymous administrator: nobody in person
	Date   int64         `json:"date"`
	Chat   struct {
		ID   int64  `json:"id"`
		Type string `json:"type"`
	} `json:"chat"`
	Text    string           `json:"text"`
	ReplyTo *telegramMessage `json:"reply_to_message"`
}

type telegramUser struct {
	ID       int64  `json:"id"`
	Bot      bool   `json:"is_bot"`
	First    string `json:"first_name"`
	Last     string `json:"last_name"`
	Username string `json:"username"`
}

// place is the chat, with the topic if the message is in one.
func (m telegramMessage) place() string {
	chat := strconv.FormatInt(m.Chat.ID, 10)
	if m.Topic && m.Thread != 0 {
		return chat + "/" + strconv.FormatInt(m.Thread, 10)
	}
	return chat
}

// telegramAnswer is https://core.telegram.org/bots/api#making-requests.
type telegramAnswer struct {
	OK          bool            `json:"ok"`
	Result      json.RawMessage `json:"result"`
	Code        int             `json:"error_code"`
	Description string          `json:"description"`
	Parameters  struct {
		MigrateTo  int64 `json:"migrate_to_chat_id"`
		RetryAfter int   `json:"retry_after"`
	} `json:"parameters"`
}

// call makes a call whose result is a message.
func (c *Telegram) call(ctx context.Context, method string, body object) (telegramMessage, error) {
	a, err := call(ctx, c.Client, http.MethodPost, strings.TrimRight(c.API, "/")+"/bot"+c.Token+"/"+method, http.Header{}, body)
	if err != nil {
		return telegramMessage{}, fmt.Errorf("calling Telegram's %s: %w", method, err)
	}
	var said telegramAnswer
	if err := json.Unmarshal(a.body, &said); err != nil {
		return telegramMessage{}, fmt.Errorf("telegram's %s answered %d and no JSON", method, a.status)
	}
	if !said.OK {
		return telegramMessage{}, said.failure(method)
	}
	var m telegramMessage
	if err := json.Unmarshal(said.Result, &m); err != nil || m.ID == 0 {
		return telegramMessage{}, fmt.Errorf("telegram's %s answered without a message", method)
	}
	return m, nil
}

// errUnmodified is Telegram's for an edit that changes nothing: what was wanted is there.
var errUnmodified = errors.New("the message shows this already")

// failure sorts what Telegram says. Its codes are few; the words tell the cases apart, as Telegram has had them for
// years.
func (a telegramAnswer) failure(method string) error {
	words := strings.ToLower(a.Description)
	refused := func(why string) error {
		return &Refused{Channel: approval.Telegram, Reason: why, Said: fmt.Sprintf("%s: %d %s", method, a.Code, oneLine(a.Description, 300))}
	}
	if to := a.Parameters.MigrateTo; to != 0 {
		return &Refused{Channel: approval.Telegram, Reason: reason.ChatMoved, MovedTo: strconv.FormatInt(to, 10), Said: oneLine(a.Description, 300)}
	}
	switch {
	case a.Code == http.StatusTooManyRequests:
		after := time.Duration(min(max(a.Parameters.RetryAfter, 1), int(maxWait.Seconds()))) * time.Second
		return &Later{Channel: approval.Telegram, After: after, Said: oneLine(a.Description, 300)}
	case a.Code == http.StatusConflict || a.Code >= 500 || a.Code < 400:
		return fmt.Errorf("telegram's %s answered %d %s", method, a.Code, oneLine(a.Description, 300))
	case a.Code == http.StatusUnauthorized, a.Code == http.StatusNotFound: // a token that is none is "404 Not Found"
		return refused(reason.Unauthorized)
	}
	if strings.Contains(words, "message is not modified") {
		return errUnmodified
	}
	for _, known := range []struct{ words, reason string }{
		{"blocked by the user", reason.BotBlocked},
		{"user is deactivated", reason.BotBlocked},
		{"can't initiate conversation", reason.BotBlocked},
		{"was kicked", reason.BotKicked},
		{"is not a member", reason.BotKicked},
		{"chat not found", reason.NotFound},
		{"chat was deactivated", reason.NotFound},
		{"group is deactivated", reason.NotFound},
		{"message to edit not found", reason.NotFound},
		{"message_id_invalid", reason.NotFound},
		{"message thread not found", reason.NotFound},
		{"topic_deleted", reason.NotFound},
		{"topic_closed", reason.NotFound},
		{"message is too long", reason.TooLarge},
		{"message_too_long", reason.TooLarge},
		{"not enough rights", reason.Unauthorized},
		{"have no rights", reason.Unauthorized},
		{"chat_write_forbidden", reason.Unauthorized},
	} {
		if strings.Contains(words, known.words) {
			return refused(known.reason)
		}
	}
	return refused(reason.Rejected)
}
