package chat

import (
	"context"
	"errors"
	"net/http"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
)

// Channel is what every channel can do; the package's comment says what each method is for.
type Channel interface {
	Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error)
	Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error
	Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, text string) (Posted, error)
	Read(r *http.Request, body []byte, now time.Time) (Callback, error)
	Ask(ctx context.Context, cb Callback) error
	Tell(ctx context.Context, cb Callback, words string) error
}

// A Finder is a Channel that can be asked whether a message is there already, which a process that died after it had
// posted one could not record.
type Finder interface {
	Find(ctx context.Context, target string, m events.ApprovalMessage, since time.Time) (*Ref, error)
}

// Settings connect channels: one whose token is empty is not connected. Lists of secrets are as webhook.ParseSecrets
// reads them.
type Settings struct {
	Keys string // of our own, for the buttons

	TelegramAPI     string // base URL
	TelegramToken   string // of the bot
	TelegramSecrets string // secret_token of setWebhook; empty where no callbacks are read

	SlackAPI     string // base URL
	SlackToken   string // of the bot
	SlackSecrets string // signing secrets of the App; empty where no callbacks are read
}

// Connect returns the channels that are connected, by name.
func Connect(s Settings) (map[string]Channel, error) {
	channels := map[string]Channel{}
	keys, client := secrets(s.Keys), NewClient()
	if s.TelegramToken != "" {
		channels[approval.Telegram] = &Telegram{API: s.TelegramAPI, Token: s.TelegramToken, Secrets: secrets(s.TelegramSecrets), Keys: keys, Client: client}
	}
	if s.SlackToken != "" {
		channels[approval.Slack] = &Slack{API: s.SlackAPI, Token: s.SlackToken, Secrets: secrets(s.SlackSecrets), Keys: keys, Client: client}
	}
	if len(channels) > 0 && len(keys) == 0 {
		return nil, errors.New("CHAT_KEYS is empty: buttons of chats must be signed, or anybody could make up a click")
	}
	return channels, nil
}

// secrets are none for an empty setting: without one every callback is refused.
func secrets(setting string) webhook.Secrets {
	all, err := webhook.ParseSecrets(setting)
	if err != nil { // there are none in it
		return nil
	}
	return all
}

// AsRefused returns the *Refused inside err, if any.
func AsRefused(err error) (*Refused, bool) {
	var r *Refused
	return r, errors.As(err, &r)
}
