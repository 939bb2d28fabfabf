// Command approval-callback is where chats and trackers report what people do there. Besides webhook-adapter it is the
// only function that the internet may reach.
//
//	POST /telegram … → genuine? → what does it mean? → store the vote → answer
//	                                                        └→ Broker, in the background
//
// It decides nothing. A vote is an event as soon as it is stored, and approval-gate says whether it counts. But the
// person who clicked is answered right away, so the same pure decision is asked what it would say about the request as
// it is now: a person who is not linked, not permitted or late learns it from the click. If that can't be known in time
// the answer says nothing, and the edited message does.
//
// Each channel has its time for an answer (Slack three seconds). What could not be stored by then was not stored: a
// channel that tries again is answered 503; in others the person is told to click again.
//
// GET /openapi.json is the public contract for approvers of somebody's own.
package main

import (
	"context"

	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

const function = "approval-callback"

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres, postgres://user:password@host/name
	ChatKeys    string `envconfig:"CHAT_KEYS"`                    // as approval-notifier's
	CallbackURL string `envconfig:"CALLBACK_URL"`                 // as approval-notifier's

	TelegramAPI     string `envconfig:"TELEGRAM_API_URL" default:"https://api.telegram.org"` // as approval-notifier's
	TelegramToken   string `envconfig:"TELEGRAM_BOT_TOKEN"`                                  // as approval-notifier's
	TelegramSecrets string `envconfig:"TELEGRAM_WEBHOOK_SECRETS"`                            // secret_token of setWebhook; two while one is being changed

	SlackAPI     string `envconfig:"SLACK_API_URL" default:"https://slack.com/api"` // as approval-notifier's
	SlackToken   string `envconfig:"SLACK_BOT_TOKEN"`                               // as approval-notifier's
	SlackSecrets string `envconfig:"SLACK_SIGNING_SECRETS"`                         // signing secrets of the App; two while one is being changed

	MattermostAPI      string `envconfig:"MATTERMOST_URL"`            // as approval-notifier's
	MattermostToken    string `envconfig:"MATTERMOST_BOT_TOKEN"`      // as approval-notifier's
	MattermostCommands string `envconfig:"MATTERMOST_COMMAND_TOKENS"` // of the slash command by which accounts are linked

	JiraAPI     string `envconfig:"JIRA_URL"`             // as approval-notifier's
	JiraEmail   string `envconfig:"JIRA_EMAIL"`           // as approval-notifier's
	JiraToken   string `envconfig:"JIRA_API_TOKEN"`       // as approval-notifier's
	JiraSecrets string `envconfig:"JIRA_WEBHOOK_SECRETS"` // of the webhook; two while one is being changed

	Approvers string `envconfig:"APPROVERS"` // as approval-notifier's
}

func main() { serve.Main(function, run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	channels, err := chat.Connect(chat.Settings{
		Keys: env.ChatKeys, TelegramAPI: env.TelegramAPI, TelegramToken: env.TelegramToken, TelegramSecrets: env.TelegramSecrets,
		SlackAPI: env.SlackAPI, SlackToken: env.SlackToken, SlackSecrets: env.SlackSecrets, Callback: env.CallbackURL,
		MattermostAPI: env.MattermostAPI, MattermostToken: env.MattermostToken, MattermostCommands: env.MattermostCommands,
		JiraAPI: env.JiraAPI, JiraEmail: env.JiraEmail, JiraToken: env.JiraToken, JiraSecrets: env.JiraSecrets, Approvers: env.Approvers,
	})
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, function, env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, bodies: serve.NewBodies(largeBodies), send: s.Send, later: s.Go, within: answerIn}
	h.routes(s, channels)
	s.SendDue(db.Due)
	return nil
}
