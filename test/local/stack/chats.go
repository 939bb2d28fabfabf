package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"codexk8s.dev/shared/approval"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// The demonstration's chats, where no real ones are given.
const (
	TelegramChat      = "-1001"
	SlackChannel      = "C0DEMO"
	MattermostChannel = "demonstrationchannel123456"
	JiraTarget        = "DEMO/Task"
	ApproverName      = "desk"
)

// people of the fake chats; the number is the end of their account's id there.
var people = []fakechat.Person{{Name: Owner, ID: 11}, {Name: Reader, ID: 12}, {Name: Stranger, ID: 13}}

// startChats starts the fake chats, unless all that they play is there for real.
func (s *Stack) startChats() (err error) {
	if o := s.options.Outside; o.TelegramToken != "" && o.SlackToken != "" && o.MattermostToken != "" && o.JiraToken != "" && o.Approvers != "" {
		return nil
	}
	s.Chat, err = fakechat.New(fakechat.Options{
		Addr: s.address(chatPort, "the fake chats"), Secret: s.kept.ChatKey, People: people,
		Client: &http.Client{Timeout: time.Minute}, // a function may start for the click, on a busy machine
	})
	if err != nil {
		return fmt.Errorf("starting the fake chats: %w", err)
	}
	return nil
}

// chatSecrets are the credentials of the chats, real or played.
func (s *Stack) chatSecrets() map[string]string {
	o := s.options.Outside
	all := map[string]string{
		"keys":                      s.kept.ChatKey,
		"telegram-bot-token":        cmp.Or(o.TelegramToken, fakechat.Token),
		"telegram-webhook-secrets":  cmp.Or(o.TelegramSecrets, s.kept.ChatKey),
		"slack-bot-token":           cmp.Or(o.SlackToken, fakechat.Token),
		"slack-signing-secrets":     cmp.Or(o.SlackSecrets, s.kept.ChatKey),
		"mattermost-bot-token":      cmp.Or(o.MattermostToken, fakechat.Token),
		"mattermost-command-tokens": cmp.Or(o.MattermostCommands, s.kept.ChatKey),
		"jira-api-token":            cmp.Or(o.JiraToken, fakechat.Token),
		"jira-webhook-secrets":      cmp.Or(o.JiraSecrets, s.kept.ChatKey),
		"approvers":                 o.Approvers,
	}
	if o.Approvers == "" {
		all["approvers"] = ApproverName + " " + s.Chat.URL() + "/approver"
	}
	return all
}

// chatSettings say where requests are shown, and where people's answers go.
func (s *Stack) chatSettings(to map[string]string) {
	o := s.options.Outside
	to["callback-url"] = cmp.Or(o.CallbackURL, fmt.Sprintf("http://127.0.0.1:%d", s.clicks))
	to["telegram-chat"], to["slack-channel"] = TelegramChat, SlackChannel
	if o.TelegramToken != "" {
		to["telegram-chat"] = o.TelegramChat
	}
	if o.SlackToken != "" {
		to["slack-channel"] = o.SlackChannel
	}
	to["mattermost-url"], to["mattermost-channel"] = o.MattermostURL, o.MattermostChannel
	if o.MattermostToken == "" {
		to["mattermost-url"], to["mattermost-channel"] = s.Chat.URL()+"/mattermost", MattermostChannel
	}
	to["jira-url"], to["jira-email"], to["jira-target"] = o.JiraURL, o.JiraEmail, o.JiraTarget
	if o.JiraToken == "" {
		to["jira-url"], to["jira-email"], to["jira-target"] = s.Chat.URL()+"/jira", "bot@acme.example", JiraTarget
	}
	to["approver-networks"] = o.ApproverNetworks
	if o.Approvers == "" {
		to["approver-networks"] = "127.0.0.0/8"
	}
}

// chatEnv leads the two functions that speak with chats to the fake ones whose addresses are no settings.
func (s *Stack) chatEnv(env map[string]map[string]string) {
	fake := map[string]string{}
	if s.options.Outside.TelegramToken == "" {
		fake["TELEGRAM_API_URL"] = s.Chat.URL() + "/telegram"
	}
	if s.options.Outside.SlackToken == "" {
		fake["SLACK_API_URL"] = s.Chat.URL() + "/slack/api"
	}
	env["approval-notifier"], env["approval-callback"] = fake, fake
}

// Callbacks is where chats call that are no fake ones; "" = there are none.
func (s *Stack) Callbacks() string {
	if o := s.options.Outside; o.TelegramToken+o.SlackToken+o.MattermostToken+o.JiraToken+o.Approvers == "" {
		return ""
	}
	return s.Platform.URL("approval-callback")
}

// ContractURL is where the platform serves the contract of HTTP approvers.
func (s *Stack) ContractURL() string { return s.Platform.URL("approval-callback") + "/openapi.json" }

// connectChats has the fake chats call the platform, and links the accounts of the demonstration's people to their
// users, as each of them would with a code. The stranger stays one.
func (s *Stack) connectChats(ctx context.Context) error {
	if s.Chat == nil {
		return nil
	}
	s.Chat.CallTo(s.Platform.URL("approval-callback"))
	if s.GitHub == nil {
		return nil
	}
	db, err := pgx.Connect(ctx, s.Platform.DatabaseURL())
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = db.Close(ctx) }()
	for _, p := range people[:2] {
		if err := s.link(ctx, db, p); err != nil {
			return fmt.Errorf("linking the chat accounts of %s: %w", p.Name, err)
		}
	}
	return nil
}

// link is no call of shared/store: the release that is started may be an earlier one, with fewer columns than the store
// of today writes. Who is no member of the projects here has no say, and is not linked.
func (s *Stack) link(ctx context.Context, db *pgx.Conn, p fakechat.Person) error {
	id, err := s.accountID(ctx, p.Name)
	if err != nil {
		return err
	}
	var all pgx.Batch
	all.Queue(`
		UPDATE members
		SET github_id = $2
		WHERE login = $1 AND github_id IS NULL
	`, strings.ToLower(p.Name), id)
	for channel, account := range map[string]string{
		approval.Telegram: fmt.Sprint(p.ID), approval.Slack: fmt.Sprintf("U%d", p.ID),
		approval.Mattermost: fmt.Sprintf("user%022d", p.ID), approval.Jira: fmt.Sprintf("account-%d", p.ID),
	} {
		all.Queue(`
			INSERT INTO chat_accounts (channel, account, github_id, login, name, linked_at)
			SELECT $3, $4, github_id, login, $5, now()
			FROM members
			WHERE login = $1 AND github_id = $2
			LIMIT 1
			ON CONFLICT (channel, account) DO UPDATE
			SET github_id = excluded.github_id, login = excluded.login
		`, strings.ToLower(p.Name), id, channel, account, p.Name)
	}
	return db.SendBatch(ctx, &all).Close()
}

// accountID is the fake GitHub's number of a login.
func (s *Stack) accountID(ctx context.Context, login string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(s.GitHub.APIURL(), "/")+"/users/"+login, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+OwnerToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking the fake GitHub for @%s: %w", login, err)
	}
	defer resp.Body.Close()
	var account struct {
		ID int64 `json:"id"`
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &account)
	}
	if err != nil || account.ID == 0 {
		return 0, fmt.Errorf("the fake GitHub knows no @%s: %s", login, resp.Status)
	}
	return account.ID, nil
}
