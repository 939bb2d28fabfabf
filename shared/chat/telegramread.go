package chat

import (
	"crypto/hmac"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// telegramKeeps is how long Telegram tries to deliver an update: https://core.telegram.org/bots/api#getting-updates
const telegramKeeps = 24 * time.Hour

// telegramUpdate is what we read of https://core.telegram.org/bots/api#update. Edited messages are not asked for and
// not read.
type telegramUpdate struct {
	ID      int64            `json:"update_id"`
	Message *telegramMessage `json:"message"`
	Query   *struct {
		ID      string           `json:"id"`
		From    telegramUser     `json:"from"`
		Message *telegramMessage `json:"message"`
		Data    string           `json:"data"`
	} `json:"callback_query"`
}

// Read takes an update: a click on one of our buttons, a reply to a message of Ask, or "/start CODE" to the bot itself.
func (c *Telegram) Read(r *http.Request, body []byte, now time.Time) (Callback, error) {
	if err := bounded(body); err != nil {
		return Callback{}, err
	}
	if err := sameSecret(c.Secrets, r.Header.Get("X-Telegram-Bot-Api-Secret-Token"), "X-Telegram-Bot-Api-Secret-Token"); err != nil {
		return Callback{}, err
	}
	var u telegramUpdate
	if err := plain.Unmarshal(body, &u); err != nil {
		return Callback{}, malformed("an update of Telegram: %v", err)
	}
	switch {
	case u.Query != nil && u.Query.Message != nil:
		return c.readClick(u, now), nil
	case u.Message != nil && u.Message.From != nil:
		return c.readMessage(*u.Message, now), nil
	}
	return Callback{Kind: Nothing, Why: "not_for_us"}, nil
}

// sameSecret compares a header with each secret, in constant time.
func sameSecret(secrets webhook.Secrets, got, header string) error {
	if got == "" {
		return forged(reason.NoSignature, "the header "+header+" is missing")
	}
	same := false
	for _, s := range secrets {
		if len(s) > 0 && hmac.Equal(s, []byte(got)) {
			same = true
		}
	}
	if !same {
		return forged(reason.WrongSignature, "the header "+header+" fits none of our secrets")
	}
	return nil
}

func (c *Telegram) readClick(u telegramUpdate, now time.Time) Callback {
	q := u.Query
	cb := Callback{Kind: Nothing, Ref: Ref{Chat: q.Message.place(), Message: strconv.FormatInt(q.Message.ID, 10)}}
	cb.answer = func(words string, counted bool) Response {
		return respond(object{
			"method": "answerCallbackQuery", "callback_query_id": q.ID, "text": cutTo(words, telegramToast), "show_alert": !counted && words != "",
		})
	}
	by := q.From.voter(cb.Ref.Chat)
	t, err := open(c.Keys, approval.Telegram, "", q.Data)
	switch {
	case err != nil:
		cb.Why, cb.Vote.By = reason.UnknownButton, by
		return cb
	case q.From.Bot:
		cb.Why, cb.Vote.By = reason.ByAProgram, by
		return cb
	}
	cb.tag, cb.Vote = t, t.vote(approval.Telegram)
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "telegram:"+oneLine(q.ID, 100), by, at(now) // Telegram does not say when it was clicked
	cb.Kind = Voted
	if t.asks() {
		cb.Kind = Asked
	}
	return cb
}

var linkCommand = regexp.MustCompile(`^/(?:start|link)(?:@\w+)?\s+([A-Za-z0-9_-]{4,64})\s*$`)

func (c *Telegram) readMessage(m telegramMessage, now time.Time) Callback {
	cb := Callback{Kind: Nothing, Why: "not_for_us", Ref: Ref{Chat: m.place(), Message: strconv.FormatInt(m.ID, 10)}}
	cb.Vote.By = m.From.voter(cb.Ref.Chat)
	command := linkCommand.FindStringSubmatch(m.Text)
	if command == nil && (m.ReplyTo == nil || m.ReplyTo.From == nil || !c.isUs(m.ReplyTo.From)) {
		return cb // people talking
	}
	cb.answer = func(words string, _ bool) Response {
		if words == "" {
			return Response{Status: http.StatusOK}
		}
		return respond(object{
			"method": "sendMessage", "chat_id": m.Chat.ID, "text": cutTo(words, telegramText),
			"reply_parameters": object{"message_id": m.ID, "allow_sending_without_reply": true},
		})
	}
	switch {
	case m.From.Bot || m.Sender != nil:
		cb.Why = reason.ByAProgram
	case now.Sub(time.Unix(m.Date, 0)) > telegramKeeps:
		cb.Why = reason.Stale
	case command != nil && m.Chat.Type != "private":
		cb.Why = reason.CodeInPublic // others have seen it
	case command != nil:
		cb.Kind, cb.Why, cb.Code = Linked, "", command[1]
	default:
		c.readReply(&cb, m)
	}
	return cb
}

// readReply takes the words that somebody answered a message of Ask with. What the message says is ours: Telegram shows
// us what we sent.
func (c *Telegram) readReply(cb *Callback, m telegramMessage) {
	t, err := open(c.Keys, approval.Telegram, cb.Ref.Chat, sealed.FindString(m.ReplyTo.Text))
	if err != nil || !t.asks() {
		cb.Why = reason.ReplyElsewhere // to a request itself, or to a reminder: which choice it means is not said
		return
	}
	by := cb.Vote.By
	cb.tag, cb.Vote = t, t.vote(approval.Telegram)
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "telegram:"+cb.Ref.Chat+":"+cb.Ref.Message, by, at(time.Unix(m.Date, 0))
	if cb.Vote.Text = inWords(m.Text); cb.Vote.Text == "" {
		cb.Kind, cb.Why = Nothing, reason.NoWords // a picture, a sticker, a voice
		return
	}
	cb.Kind, cb.Why = Voted, ""
}

// isUs reports whether a user is the bot: its id is the first part of its token.
func (c *Telegram) isUs(u *telegramUser) bool {
	id, _, _ := strings.Cut(c.Token, ":")
	return u.Bot && strconv.FormatInt(u.ID, 10) == id
}

func (u telegramUser) voter(chat string) events.Voter {
	name := strings.TrimSpace(u.First + " " + u.Last)
	if u.Username != "" {
		name += " (@" + u.Username + ")"
	}
	return events.Voter{Channel: approval.Telegram, Account: strconv.FormatInt(u.ID, 10), Name: oneLine(name, 100), Chat: chat}
}

// inWords is a reason or an answer as it is kept.
func inWords(s string) string {
	runes := []rune(strings.TrimSpace(plain.Text(s)))
	return string(runes[:min(len(runes), maxWords)])
}
