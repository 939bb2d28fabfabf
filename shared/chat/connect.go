package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
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

// A Speaker is a Channel that can also be told something that needs no answer, in plain text. It is a chat: a tracker's
// issue or an approver is no place for that.
type Speaker interface {
	Say(ctx context.Context, target, text string) error
}

// Settings connect channels: one whose token is empty is not connected. Lists of secrets are as webhook.ParseSecrets
// reads them, and empty where no callbacks are read.
type Settings struct {
	Keys     string           // of our own, for the buttons
	Callback string           // base URL by which channels reach approval-callback
	Now      func() time.Time // the platform's clock; nil = time.Now

	TelegramAPI     string // base URL
	TelegramToken   string // of the bot
	TelegramSecrets string // secret_token of setWebhook

	SlackAPI     string // base URL
	SlackToken   string // of the bot
	SlackSecrets string // signing secrets of the App

	MattermostAPI      string // base URL of the server
	MattermostToken    string // of the bot
	MattermostCommands string // tokens of the slash command

	JiraAPI     string // base URL of the site
	JiraEmail   string // of the account whose token it is
	JiraToken   string
	JiraSecrets string // of the webhook

	Approvers        string // HTTP approvers, as ParseApprovers reads them
	ApproverNetworks string // prefixes separated by commas, in which they may be beside the Internet
}

// Connect returns the channels that are connected, by name.
func Connect(s Settings) (map[string]Channel, error) {
	channels := map[string]Channel{}
	keys, client, now := secrets(s.Keys), NewClient(), s.Now
	if now == nil {
		now = time.Now
	}
	approvers, err := ParseApprovers(s.Approvers)
	if err != nil {
		return nil, err
	}
	var networks []netip.Prefix
	for text := range strings.FieldsFuncSeq(s.ApproverNetworks, func(r rune) bool { return r == ',' || r == ' ' }) {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("APPROVER_NETWORKS: %q is no network, want one such as 10.1.0.0/16: %w", text, err)
		}
		networks = append(networks, network)
	}
	if s.TelegramToken != "" {
		channels[approval.Telegram] = &Telegram{API: s.TelegramAPI, Token: s.TelegramToken, Secrets: secrets(s.TelegramSecrets), Keys: keys, Client: client}
	}
	if s.SlackToken != "" {
		channels[approval.Slack] = &Slack{API: s.SlackAPI, Token: s.SlackToken, Secrets: secrets(s.SlackSecrets), Keys: keys, Client: client}
	}
	if s.MattermostToken != "" {
		channels[approval.Mattermost] = &Mattermost{
			API: s.MattermostAPI, Token: s.MattermostToken, Callback: strings.TrimRight(s.Callback, "/") + "/mattermost",
			Commands: secrets(s.MattermostCommands), Keys: keys, Client: client, Now: now,
		}
	}
	if s.JiraToken != "" {
		channels[approval.Jira] = &Jira{API: s.JiraAPI, Email: s.JiraEmail, Token: s.JiraToken, Secrets: secrets(s.JiraSecrets), Client: client}
	}
	if len(approvers) > 0 {
		channels[approval.HTTP] = &HTTP{Approvers: approvers, Callback: s.Callback, Keys: keys, Client: NewGuardedClient(networks), Now: now}
	}
	if len(channels) > 0 && len(keys) == 0 {
		return nil, errors.New("CHAT_KEYS is empty: buttons of chats must be signed, or anybody could make up a click")
	}
	if s.Callback == "" && (channels[approval.Mattermost] != nil || channels[approval.HTTP] != nil) {
		return nil, errors.New("CALLBACK_URL is empty: Mattermost and HTTP approvers are told with each request where to call")
	}
	return channels, nil
}

var approverName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ParseApprovers reads HTTP approvers, "desk https://desk.example.com, cab https://cab.example.com s3cret": name, base
// URL, and the secrets by which both sides sign, if there are any. The error does not repeat a secret.
func ParseApprovers(setting string) (map[string]Approver, error) {
	all := map[string]Approver{}
	for entry := range strings.FieldsFuncSeq(setting, func(r rune) bool { return r == ',' || r == '\n' }) {
		words := strings.Fields(entry)
		if len(words) == 0 {
			continue
		}
		name := words[0]
		if !approverName.MatchString(name) || len(words) < 2 || all[name].URL != "" {
			return nil, fmt.Errorf("entry %d of APPROVERS: want a name of its own (small letters, digits, dashes), a space and a URL", len(all)+1)
		}
		at, err := url.Parse(words[1])
		if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" {
			return nil, fmt.Errorf("approver %s in APPROVERS: its address is no URL that begins with https:// or http://", name)
		}
		a := Approver{URL: words[1]}
		for _, secret := range words[2:] {
			a.Secrets = append(a.Secrets, []byte(secret))
		}
		all[name] = a
	}
	return all, nil
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
