package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
	"github.com/jackc/pgx/v5"
	"github.com/kelseyhightower/envconfig"
	"sigs.k8s.io/yaml"
)

// Outside are the real systems that replace fakes. Each part counts on its own; the zero value replaces none.
type Outside struct {
	DatabaseURL string `envconfig:"DATABASE_URL"` // Postgres, instead of one of its own below the state directory

	// A cluster in which agents run. Its pods need an image and must reach the two gateways, which stay on this
	// machine.
	Kubeconfig    string `envconfig:"KUBECONFIG"`        // file that names a cluster in which agents run, instead of this machine
	AgentImage    string `envconfig:"AGENT_IMAGE"`       // with KUBECONFIG: of agent-runner
	GatewayURL    string `envconfig:"AGENT_GATEWAY_URL"` // with KUBECONFIG: of agent-gateway on this machine, as pods reach it
	LLMURL        string `envconfig:"LLM_URL"`           // with KUBECONFIG: of llm-caller on this machine, as pods reach it; ends in /v1
	ListenAddress string `envconfig:"LISTEN_ADDRESS"`    // with KUBECONFIG: where these two listen, if the URLs lead to something in front
	GatewayPeers  string `envconfig:"GATEWAY_PEERS"`     // as agent-launcher's; empty = the addresses of the two URLs
	GatewayPorts  string `envconfig:"GATEWAY_PORTS"`     // as agent-launcher's; empty = the ports of the two URLs
	DNSPeers      string `envconfig:"DNS_PEERS"`         // as agent-launcher's
	GitCIDRs      string `envconfig:"GIT_CIDRS"`         // as agent-launcher's
	GitPorts      string `envconfig:"GIT_PORTS"`         // as agent-launcher's
	Probe         string `envconfig:"ISOLATION_PROBE"`   // as agent-launcher's

	// GitHub: a token, or an App.
	GitHubToken        string `envconfig:"GITHUB_TOKEN"`           // GitHub instead of the fake one, by a token
	GitHubAppID        string `envconfig:"GITHUB_APP_ID"`          // or by an App
	GitHubAppKey       string `envconfig:"GITHUB_APP_PRIVATE_KEY"` // the App's private key, PEM
	GitHubAPI          string `envconfig:"GITHUB_API_URL"`         // REST API; empty = https://api.github.com
	GitHubClientID     string `envconfig:"GITHUB_CLIENT_ID"`       // with GitHub: the App's, by which people sign in to the console
	GitHubClientSecret string `envconfig:"GITHUB_CLIENT_SECRET"`   // with it
	WebhookSecrets     string `envconfig:"GITHUB_WEBHOOK_SECRETS"` // with GitHub: of the webhook that reaches this machine
	ProjectsFile       string `envconfig:"PROJECTS_FILE"`          // with GitHub: who may do what in which repositories

	OpenAIKey string `envconfig:"OPENAI_API_KEY"`  // OpenAI instead of the fake model
	OpenAIURL string `envconfig:"OPENAI_BASE_URL"` // empty = OpenAI's

	// Chats in place of the fake ones, each on its own.
	TelegramToken   string `envconfig:"TELEGRAM_BOT_TOKEN"`       // Telegram instead of the fake one
	TelegramChat    string `envconfig:"TELEGRAM_CHAT"`            // with it: the chat's id
	TelegramSecrets string `envconfig:"TELEGRAM_WEBHOOK_SECRETS"` // with it: secret_token of setWebhook
	SlackToken      string `envconfig:"SLACK_BOT_TOKEN"`          // Slack instead of the fake one
	SlackChannel    string `envconfig:"SLACK_CHANNEL"`            // with it: the channel's id
	SlackSecrets    string `envconfig:"SLACK_SIGNING_SECRETS"`    // with it: signing secret of the App

	MattermostToken    string `envconfig:"MATTERMOST_BOT_TOKEN"`      // Mattermost instead of the fake one
	MattermostURL      string `envconfig:"MATTERMOST_URL"`            // with it: the server
	MattermostChannel  string `envconfig:"MATTERMOST_CHANNEL"`        // with it: the channel's id
	MattermostCommands string `envconfig:"MATTERMOST_COMMAND_TOKENS"` // with it, if accounts are linked there: the slash command's token

	JiraToken   string `envconfig:"JIRA_API_TOKEN"`       // Jira instead of the fake one
	JiraURL     string `envconfig:"JIRA_URL"`             // with it: the site
	JiraEmail   string `envconfig:"JIRA_EMAIL"`           // with it: whose token it is
	JiraTarget  string `envconfig:"JIRA_TARGET"`          // with it: an issue or a project
	JiraSecrets string `envconfig:"JIRA_WEBHOOK_SECRETS"` // with it: of the webhook

	Approvers        string `envconfig:"APPROVERS"`         // HTTP approvers instead of the fake one, as approval-notifier's
	ApproverNetworks string `envconfig:"APPROVER_NETWORKS"` // as approval-notifier's
	CallbackURL      string `envconfig:"CALLBACK_URL"`      // by which Mattermost and approvers reach this machine; empty = from this machine alone

	Engine string `envconfig:"AGENT_ENGINE"` // of the demonstration's agents, codex or builtin; empty = codex where there is one
}

// FromEnvironment reads the credentials. An incomplete set is an error that says what is missing: guessing would mean
// to work with the wrong system.
func FromEnvironment() (Outside, error) {
	var o Outside
	if err := envconfig.Process("", &o); err != nil {
		return o, fmt.Errorf("reading the environment: %w", err)
	}
	if o.Kubeconfig != "" {
		if _, err := o.reach(); err != nil {
			return o, err
		}
	}
	if !slices.Contains([]string{"", "codex", "builtin"}, o.Engine) {
		return o, fmt.Errorf("AGENT_ENGINE is %q, give codex or builtin", o.Engine)
	}
	if (o.GitHubAppID == "") != (o.GitHubAppKey == "") {
		return o, errors.New("of GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY only one is set: give both, or GITHUB_TOKEN, or neither")
	}
	if o.realGitHub() && (o.WebhookSecrets == "" || o.ProjectsFile == "") {
		return o, errors.New("GitHub's credentials are set: also give GITHUB_WEBHOOK_SECRETS (of the webhook that reaches this " +
			"machine) and PROJECTS_FILE (who may do what in which repositories), or unset them to use the fake GitHub")
	}
	if o.TelegramToken != "" && (o.TelegramChat == "" || o.TelegramSecrets == "") {
		return o, errors.New("TELEGRAM_BOT_TOKEN is set: also give TELEGRAM_CHAT and TELEGRAM_WEBHOOK_SECRETS, or unset it to use the fake Telegram")
	}
	if o.SlackToken != "" && (o.SlackChannel == "" || o.SlackSecrets == "") {
		return o, errors.New("SLACK_BOT_TOKEN is set: also give SLACK_CHANNEL and SLACK_SIGNING_SECRETS, or unset it to use the fake Slack")
	}
	if o.MattermostToken != "" && (o.MattermostURL == "" || o.MattermostChannel == "") {
		return o, errors.New("MATTERMOST_BOT_TOKEN is set: also give MATTERMOST_URL and MATTERMOST_CHANNEL, or unset it to use the fake Mattermost")
	}
	if o.JiraToken != "" && (o.JiraURL == "" || o.JiraEmail == "" || o.JiraTarget == "" || o.JiraSecrets == "") {
		return o, errors.New("JIRA_API_TOKEN is set: also give JIRA_URL, JIRA_EMAIL, JIRA_TARGET and JIRA_WEBHOOK_SECRETS, or unset it to use the fake Jira")
	}
	for _, file := range []struct {
		variable string
		path     *string
	}{{"PROJECTS_FILE", &o.ProjectsFile}, {"KUBECONFIG", &o.Kubeconfig}} {
		if *file.path == "" {
			continue
		}
		if _, err := os.Stat(*file.path); err != nil {
			return o, fmt.Errorf("%s: %w", file.variable, err)
		}
		var err error
		if *file.path, err = filepath.Abs(*file.path); err != nil { // functions have working directories of their own
			return o, fmt.Errorf("%s: %w", file.variable, err)
		}
	}
	return o, nil
}

// databaseAnswers connects to the database of DATABASE_URL, if one is given: what is wrong with it is said before
// anything is built.
func (o Outside) databaseAnswers(ctx context.Context) error {
	if o.DatabaseURL == "" {
		return nil
	}
	config, err := pgx.ParseConfig(o.DatabaseURL)
	if err != nil {
		return errors.New("DATABASE_URL is not a Postgres URL (postgres://user:password@host:5432/name)") // the error could show the password
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	db, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting to the database of DATABASE_URL; correct it, or unset it for a Postgres of make run's own: %w", err)
	}
	return db.Close(ctx)
}

func (o Outside) realGitHub() bool { return o.GitHubToken != "" || o.GitHubAppID != "" }

// kept are secrets that must be the same at the next start.
type kept struct {
	WebhookSecret string `json:"webhookSecret"`
	RunTokenKey   string `json:"runTokenKey"`
	ChatKey       string `json:"chatKey"`
	HookURL       string `json:"hookUrl"`
}

func (s *Stack) keptFile() string { return filepath.Join(s.Dir, "stack.json") }

// keep reads what an earlier start has kept, or makes it, and writes the projects of the demonstration.
func (s *Stack) keep() error {
	data, err := os.ReadFile(s.keptFile())
	switch {
	case err == nil:
		if err := json.Unmarshal(data, &s.kept); err != nil {
			return fmt.Errorf("reading %s, remove the state with FRESH=1: %w", s.keptFile(), err)
		}
	case errors.Is(err, fs.ErrNotExist):
		s.kept = kept{WebhookSecret: random(), RunTokenKey: random()}
	default:
		return fmt.Errorf("reading the kept secrets: %w", err)
	}
	if s.kept.ChatKey == "" { // an earlier start had no chats
		s.kept.ChatKey = random()
		if err := s.writeKept(); err != nil {
			return err
		}
	}
	return s.writeProjects()
}

func (s *Stack) writeKept() error {
	data, err := json.Marshal(s.kept)
	if err != nil {
		return fmt.Errorf("writing the kept secrets: %w", err)
	}
	if err := os.WriteFile(s.keptFile(), data, 0o600); err != nil {
		return fmt.Errorf("writing the kept secrets: %w", err)
	}
	return nil
}

func (s *Stack) writeProjects() error {
	data, err := yaml.Marshal(map[string]any{
		"owners": []string{Owner},
		"projects": []any{map[string]any{
			"id": "demo", "name": "Demonstration", "settings": map[string]any{"engine": s.Engine, "budgets": s.options.Budgets},
			"repositories": []string{Repository}, "members": map[string]string{Owner: "owner", Reader: "reader"},
		}},
	})
	if err != nil {
		return fmt.Errorf("writing the projects: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "projects.yaml"), data, 0o644); err != nil {
		return fmt.Errorf("writing the projects: %w", err)
	}
	return nil
}

func (s *Stack) projectsFile() string {
	if s.options.Outside.ProjectsFile != "" {
		return s.options.Outside.ProjectsFile
	}
	return filepath.Join(s.Dir, "projects.yaml")
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

// secrets are the objects that an operator makes by hand in a cluster.
func (s *Stack) secrets() map[string]map[string]string {
	o := s.options.Outside
	gitHub := map[string]string{}
	switch {
	case s.GitHub != nil:
		gitHub["webhook-secrets"] = s.kept.WebhookSecret
		gitHub["app-id"] = strconv.FormatInt(s.GitHub.AppID(), 10)
		gitHub["app-private-key"] = string(s.GitHub.AppPrivateKey())
		gitHub["client-id"], gitHub["client-secret"] = s.GitHub.SignIn(s.ConsoleURL() + "/login/callback")
	case o.GitHubAppID != "":
		gitHub["webhook-secrets"] = o.WebhookSecrets
		gitHub["app-id"], gitHub["app-private-key"] = o.GitHubAppID, o.GitHubAppKey
	default:
		gitHub["webhook-secrets"], gitHub["token"] = o.WebhookSecrets, o.GitHubToken
	}
	if s.GitHub == nil && o.GitHubClientID != "" {
		gitHub["client-id"], gitHub["client-secret"] = o.GitHubClientID, o.GitHubClientSecret
	}
	key := o.OpenAIKey
	if s.Model != nil {
		key = model.DefaultKey
	}
	return map[string]map[string]string{
		"codexk8s-github": gitHub, "codexk8s-openai": {"api-key": key}, "codexk8s-run-token": {"key": s.kept.RunTokenKey},
		"codexk8s-chat": s.chatSecrets(),
	}
}

// settings are what in a cluster stands in config/110-settings.yaml.
func (s *Stack) settings() map[string]string {
	settings := map[string]string{"github-api-url": s.githubAPI(), "console-url": s.ConsoleURL()}
	s.chatSettings(settings)
	return settings
}

func (s *Stack) githubAPI() string {
	if s.GitHub != nil {
		return s.GitHub.APIURL()
	}
	if s.options.Outside.GitHubAPI != "" {
		return s.options.Outside.GitHubAPI
	}
	return "https://api.github.com"
}

// serviceEnv is what the manifests have as values of their own and is different here.
func (s *Stack) serviceEnv() map[string]map[string]string {
	o := s.options.Outside
	env := map[string]map[string]string{}
	switch {
	case s.Model != nil:
		env["llm-caller"] = map[string]string{"OPENAI_BASE_URL": s.modelURL + "/v1"}
	case o.OpenAIURL != "":
		env["llm-caller"] = map[string]string{"OPENAI_BASE_URL": o.OpenAIURL}
	}
	s.chatEnv(env)
	env["agent-launcher"] = map[string]string{"ISOLATION_PROBE": "off"} // agents are processes here, in the machine's network
	if s.reach != nil {
		env["agent-launcher"] = s.reach.env
	}
	return env
}

// connectHook points the repository's webhook to the platform. A hook to where an earlier start listened goes.
func (s *Stack) connectHook() error {
	url := s.WebhookURL()
	if s.kept.HookURL != "" && s.kept.HookURL != url {
		if err := s.GitHub.RemoveHooks(Repository); err != nil {
			return fmt.Errorf("removing the old webhook: %w", err)
		}
	}
	if _, err := s.GitHub.AddHook(Repository, fakegithub.HookOptions{URL: url, Secret: s.kept.WebhookSecret}); err != nil {
		return fmt.Errorf("adding the webhook: %w", err)
	}
	s.kept.HookURL = url
	return s.writeKept()
}

// ConsoleURL is where people open the console.
func (s *Stack) ConsoleURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.console) }

// WebhookURL is where GitHub sends to.
func (s *Stack) WebhookURL() string { return s.Platform.URL("webhook-adapter") + "/github" }
