// Command agent-gateway is all that a running agent may reach of the platform: the Session API of shared/agentapi, as
// gRPC, Connect and plain HTTP with JSON, and the tools of shared/tool, as MCP at /mcp, on one port.
//
//	bearer token → genuine? → which run? → active? → the one call → Postgres
//
// A pod is not trusted. Its run token (shared/runauth) names the run; what that run may do is looked up with every
// call, so a run that was cancelled or has timed out loses its gateway at once. Calls that change something need an
// active run (starting, running, waiting); a pod that is being stopped may still send its last log lines and its
// session, and its heartbeat tells it to stop.
//
// Everything may be called again: a pod and this function are killed at any moment. Log lines are numbered by the run,
// sessions are replaced by compare-and-swap, and the first report of a run counts. The report becomes the event
// agent.reported in the same transaction; if sending that fails, timekeeper sends it.
//
// What an agent asks people by a tool is stored with its event, like a report, before it is told that it waits. The
// answer tells the runner too, in a header, because the agent can't be relied upon to stop. A tool changes nothing by
// itself: what needs nobody's yes becomes the event tool.approved here, what needs one becomes it at stage-router, and
// doers do it. Without a yes the call is answered with what came of it, if that is known in 20 s.
//
// The agent's task is written in its pod (package prompt), by what the assignment says: process, project and
// installation, and their own parts of prompts. What it was written from comes back with the heartbeat, and stays with
// the run.
//
// A Git credential is fetched when Git asks for one: an installation token for the run's one repository, never written
// down here. With the run token alone it may read; it may push and open pull requests for the pod that has claimed the
// run by a secret of its own (agentapi.PodHeader). So an agent that gets hold of a run token can change nothing on
// GitHub.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

type env struct {
	DatabaseURL  string `envconfig:"DATABASE_URL" required:"true"`                     // Postgres, postgres://user:password@host/name
	RunTokenKey  string `envconfig:"RUN_TOKEN_KEY" required:"true"`                    // signs run tokens; the same in agent-launcher and llm-caller
	GitHubURL    string `envconfig:"GITHUB_API_URL" default:"https://api.github.com/"` // REST API, for us and for the agents
	GitHubAppID  int64  `envconfig:"GITHUB_APP_ID"`                                    // the GitHub App that agents work as; 0 = use GITHUB_TOKEN
	GitHubAppKey string `envconfig:"GITHUB_APP_PRIVATE_KEY"`                           // its private key, PEM
	GitHubToken  string `envconfig:"GITHUB_TOKEN"`                                     // without an App: given to agents as it is, for trying out
	ProcessFile  string `envconfig:"PROCESS_FILE"`                                     // as stage-router's
	PromptsFile  string `envconfig:"PROMPTS_FILE"`                                     // YAML of parts of prompts; empty = the built-in ones
	Language     string `envconfig:"PROMPT_LANGUAGE" default:"en"`                     // of prompts, en or ru, where the project doesn't say
	LearningMode bool   `envconfig:"LEARNING_MODE"`                                    // agents explain their decisions, where the project doesn't say
}

func main() { serve.Main("agent-gateway", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	process, err := variables.FromFile("PROCESS_FILE", env.ProcessFile, stage.Default(), stage.Parse)
	if err != nil {
		return err
	}
	told := house{language: env.Language, learning: env.LearningMode}
	if told.prompts, err = variables.FromFile("PROMPTS_FILE", env.PromptsFile, told.prompts, prompt.Parse); err != nil {
		return err
	}
	if !slices.Contains(prompt.Languages(), told.language) {
		return fmt.Errorf("PROMPT_LANGUAGE %q: want one of %s", told.language, strings.Join(prompt.Languages(), ", "))
	}
	clients, err := github.Open(github.Config{URL: env.GitHubURL, AppID: env.GitHubAppID, AppKey: []byte(env.GitHubAppKey), Token: env.GitHubToken})
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "agent-gateway", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	db.UseProcess(process)
	gate, err := runauth.NewGate(env.RunTokenKey, db)
	if err != nil {
		return err
	}
	h := &handler{db: db, gate: gate, process: process, githubURL: env.GitHubURL, token: clients.Token, send: s.Send, patience: 20 * time.Second, house: told}
	h.routes(s)
	return nil
}
