// Command approval-notifier is the platform's voice in chats and trackers: it makes every place show what approval-gate
// wants to be shown of a request. It decides nothing.
//
//	approval.changed ─► for each place at once: post │ edit │ nothing ─► approval.delivered │ approval.undeliverable
//
// An event says what a message shall say as of one version. It may come twice, late, or to two instances at once, so
// each place's message is a row (store.ChatMessage) that is held while its channel is called and knows the version that
// it shows; what is older is dropped. Places don't wait for each other: what one has said is recorded at once, and only
// those that have not worked yet are tried again. A place that has not worked for some time is told to be
// undeliverable, so that another one stands in, and is tried on: an HTTP approver by timers (again.go), however long it
// is down.
//
// The row is written before the message is. Should the process die after a message was posted and before that was
// recorded, the channel is asked whether it is there (chat.Finder). Telegram can't be asked: there the first click says
// where the message is (see approval-callback), and before one it is posted once more. Of two messages the second is
// kept current. The buttons of both mean the same until the request is decided; from then on both answer that it is.
//
// A notice (notice.requested) is a plain message in chats, which nothing follows.
//
// On GitHub only github-caller writes: there a message is a wanted comment.
package main

import (
	"context"
	"maps"
	"slices"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

const function = "approval-notifier"

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres, postgres://user:password@host/name
	ChatKeys    string `envconfig:"CHAT_KEYS"`                    // signs what the buttons of chats carry; the same in approval-callback
	CallbackURL string `envconfig:"CALLBACK_URL"`                 // by which channels reach approval-callback, https://host; Mattermost and HTTP approvers need it

	TelegramAPI   string `envconfig:"TELEGRAM_API_URL" default:"https://api.telegram.org"` // Telegram's Bot API
	TelegramToken string `envconfig:"TELEGRAM_BOT_TOKEN"`                                  // of the bot; empty = Telegram is not connected
	TelegramChat  string `envconfig:"TELEGRAM_CHAT"`                                       // the chat's id, with a topic -100123/45; for whom the policy names no other

	SlackAPI     string `envconfig:"SLACK_API_URL" default:"https://slack.com/api"` // Slack's Web API
	SlackToken   string `envconfig:"SLACK_BOT_TOKEN"`                               // of the App's bot; empty = Slack is not connected
	SlackChannel string `envconfig:"SLACK_CHANNEL"`                                 // the channel's id, C0123ABC; for whom the policy names no other

	MattermostAPI     string `envconfig:"MATTERMOST_URL"`       // of the server, without /api/v4
	MattermostToken   string `envconfig:"MATTERMOST_BOT_TOKEN"` // of the bot; empty = Mattermost is not connected
	MattermostChannel string `envconfig:"MATTERMOST_CHANNEL"`   // the channel's id, 26 letters and digits; for whom the policy names no other

	JiraAPI    string `envconfig:"JIRA_URL"`       // of the site, https://acme.atlassian.net
	JiraEmail  string `envconfig:"JIRA_EMAIL"`     // of the account whose token it is
	JiraToken  string `envconfig:"JIRA_API_TOKEN"` // of the account; empty = Jira is not connected
	JiraTarget string `envconfig:"JIRA_TARGET"`    // an issue to comment on (OPS-12), or a project to make issues in (OPS/Task); for whom the policy names no other

	Approvers        string `envconfig:"APPROVERS"`         // HTTP approvers: name and base URL, with a secret behind it if both sides sign; separated by commas
	ApproverNetworks string `envconfig:"APPROVER_NETWORKS"` // private networks in which approvers may be, 10.1.0.0/16, separated by commas
}

func main() { serve.Main(function, run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	channels, err := chat.Connect(chat.Settings{
		Keys: env.ChatKeys, TelegramAPI: env.TelegramAPI, TelegramToken: env.TelegramToken, SlackAPI: env.SlackAPI, SlackToken: env.SlackToken,
		MattermostAPI: env.MattermostAPI, MattermostToken: env.MattermostToken, JiraAPI: env.JiraAPI, JiraEmail: env.JiraEmail, JiraToken: env.JiraToken,
		Callback: env.CallbackURL, Approvers: env.Approvers, ApproverNetworks: env.ApproverNetworks,
	})
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, function, env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, channels: channels, send: s.Send, homes: map[string][]string{approval.GitHub: {""}}}
	h.home(approval.Telegram, env.TelegramChat)
	h.home(approval.Slack, env.SlackChannel)
	h.home(approval.Mattermost, env.MattermostChannel)
	h.home(approval.Jira, env.JiraTarget)
	if http, connected := channels[approval.HTTP].(*chat.HTTP); connected {
		for _, name := range slices.Sorted(maps.Keys(http.Approvers)) {
			h.home(approval.HTTP, name)
		}
	}
	h.routes(s)
	s.SendDue(db.Due)
	s.Postpone(db.Postpone)
	return nil
}
