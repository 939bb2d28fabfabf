package stack

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
	"sigs.k8s.io/yaml"
)

// Outside are the real systems that replace fakes. Each part counts on its own; the zero value replaces none.
type Outside struct {
	DatabaseURL string // DATABASE_URL

	// A cluster in which agents run (KUBECONFIG). Its pods need an image and must reach the two gateways.
	Kubeconfig, AgentImage, GatewayURL, LLMURL string // AGENT_IMAGE, AGENT_GATEWAY_URL, LLM_URL

	// GitHub: a token (GITHUB_TOKEN), or an App (GITHUB_APP_ID, GITHUB_APP_PRIVATE_KEY).
	GitHubToken, GitHubAppID, GitHubAppKey string
	GitHubAPI, WebhookSecrets              string // GITHUB_API_URL, GITHUB_WEBHOOK_SECRETS
	ProjectsFile                           string // PROJECTS_FILE: who may do what in which repositories

	OpenAIKey, OpenAIURL string // OPENAI_API_KEY, OPENAI_BASE_URL
}

// FromEnvironment reads the credentials. An incomplete set is an error that says what is missing: guessing would mean to
// work with the wrong system.
func FromEnvironment() (Outside, error) {
	o := Outside{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		Kubeconfig:  os.Getenv("KUBECONFIG"), AgentImage: os.Getenv("AGENT_IMAGE"),
		GatewayURL: os.Getenv("AGENT_GATEWAY_URL"), LLMURL: os.Getenv("LLM_URL"),
		GitHubToken: os.Getenv("GITHUB_TOKEN"), GitHubAppID: os.Getenv("GITHUB_APP_ID"),
		GitHubAppKey: os.Getenv("GITHUB_APP_PRIVATE_KEY"), GitHubAPI: os.Getenv("GITHUB_API_URL"),
		WebhookSecrets: os.Getenv("GITHUB_WEBHOOK_SECRETS"), ProjectsFile: os.Getenv("PROJECTS_FILE"),
		OpenAIKey: os.Getenv("OPENAI_API_KEY"), OpenAIURL: os.Getenv("OPENAI_BASE_URL"),
	}
	if o.Kubeconfig != "" && (o.AgentImage == "" || o.GatewayURL == "" || o.LLMURL == "") {
		return o, errors.New("KUBECONFIG is set, so agents would run in that cluster: give AGENT_IMAGE, AGENT_GATEWAY_URL and " +
			"LLM_URL (ends in /v1) as its pods reach them, or unset KUBECONFIG to run agents on this machine")
	}
	if (o.GitHubAppID == "") != (o.GitHubAppKey == "") {
		return o, errors.New("of GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY only one is set: give both, or GITHUB_TOKEN, or neither")
	}
	if o.realGitHub() && (o.WebhookSecrets == "" || o.ProjectsFile == "") {
		return o, errors.New("GitHub's credentials are set: also give GITHUB_WEBHOOK_SECRETS (of the webhook that reaches this " +
			"machine) and PROJECTS_FILE (who may do what in which repositories), or unset them to use the fake GitHub")
	}
	if o.ProjectsFile != "" {
		var err error
		if o.ProjectsFile, err = filepath.Abs(o.ProjectsFile); err != nil {
			return o, fmt.Errorf("finding PROJECTS_FILE: %w", err)
		}
	}
	return o, nil
}

func (o Outside) realGitHub() bool { return o.GitHubToken != "" || o.GitHubAppID != "" }

// kept are secrets that must be the same at the next start.
type kept struct {
	WebhookSecret string `json:"webhookSecret"`
	RunTokenKey   string `json:"runTokenKey"`
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
		if err := s.writeKept(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("reading the kept secrets: %w", err)
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
			"id": "demo", "name": "Demonstration", "settings": map[string]string{"engine": s.Engine},
			"repositories": []string{Repository}, "members": map[string]string{Owner: "owner"},
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
	case o.GitHubAppID != "":
		gitHub["webhook-secrets"] = o.WebhookSecrets
		gitHub["app-id"], gitHub["app-private-key"] = o.GitHubAppID, o.GitHubAppKey
	default:
		gitHub["webhook-secrets"], gitHub["token"] = o.WebhookSecrets, o.GitHubToken
	}
	key := o.OpenAIKey
	if s.Model != nil {
		key = model.DefaultKey
	}
	return map[string]map[string]string{
		"codexk8s-github": gitHub, "codexk8s-openai": {"api-key": key}, "codexk8s-run-token": {"key": s.kept.RunTokenKey},
	}
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
	if o.Kubeconfig != "" {
		env["agent-launcher"] = map[string]string{
			"KUBECONFIG": o.Kubeconfig, "AGENT_IMAGE": o.AgentImage, "AGENT_GATEWAY_URL": o.GatewayURL, "LLM_URL": o.LLMURL,
		}
		env["run-observer"] = map[string]string{"KUBECONFIG": o.Kubeconfig}
	}
	return env
}

// demoFiles are the demonstration's repository. Its test fails on an empty greeting.
var demoFiles = map[string]string{
	"README.md":             "# Greetings\n\nOne file per language below `greetings/`, one greeting a line. `sh greet.sh LANGUAGE` prints the first.\n",
	"greetings/english.txt": "Hello, world!\n",
	"greet.sh":              "#!/bin/sh\n# Prints the greeting in a language: sh greet.sh english\nhead -n 1 \"$(dirname \"$0\")/greetings/$1.txt\"\n",
	"test.sh":               "#!/bin/sh\n# Every language has a greeting.\nset -e\nfor file in greetings/*.txt; do\n  language=$(basename \"$file\" .txt)\n  test -n \"$(sh greet.sh \"$language\")\" || { echo \"$language has no greeting\"; exit 1; }\n  echo \"ok $language\"\ndone\n",
}

const issueBody = "People from Québec ask for it. Add `greetings/french.txt` beside the English one, with one greeting a line."

// fillGitHub makes what the demonstration needs, unless it is there from an earlier start.
func (s *Stack) fillGitHub() error {
	if _, err := s.GitHub.CreateUser(Owner); err != nil {
		return fmt.Errorf("making the user %s: %w", Owner, err)
	}
	if err := s.GitHub.CreateRepository(Repository, demoFiles); err != nil {
		return fmt.Errorf("making the repository %s: %w", Repository, err)
	}
	if err := s.GitHub.AddCollaborator(Repository, Owner, "admin"); err != nil {
		return fmt.Errorf("letting %s in: %w", Owner, err)
	}
	if _, err := s.GitHub.Issue(Repository, Issue); err == nil {
		return nil
	}
	if _, err := s.GitHub.CreateIssue(Repository, IssueTitle, issueBody, Owner); err != nil {
		return fmt.Errorf("opening the issue: %w", err)
	}
	return nil
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

// WebhookURL is where GitHub sends to.
func (s *Stack) WebhookURL() string { return s.Platform.URL("webhook-adapter") + "/github" }
