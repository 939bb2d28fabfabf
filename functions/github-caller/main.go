// Command github-caller makes the platform's changes on GitHub: it brings labels, the one status comment and the commit
// status of a work item to the state that stage-router asks for, makes the labels of a repository and puts them right,
// reads the files that a run can't do without, and leaves the review that an agent has written. It decides nothing.
//
// An event says how the work item is to look as of one version of it: which of our labels are on and which off, the
// comment, the commit status. An event may come twice, late, or to two instances at once. So each part is compared with
// what GitHub shows and has the version that it shows; anything older is dropped, however long a rate limit delayed it.
// While it works on a work item it locks that item's row (store.GitHubView). The comment has an invisible mark: if the
// process dies after GitHub created it and before its id was recorded, the mark is looked for before another is
// created.
//
// A review (internal/prereview makes it of the agent's text) is left once for its run, also found by a mark. It is of
// the kind COMMENT: it approves nothing and requests nothing.
//
// GitHub's rate limits belong to the credential, not to the process: the first instance that meets one records until
// when, and all others answer 503 without calling.
package main

import (
	"context"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"`                    // Postgres, postgres://user:password@host/name
	APIURL      string `envconfig:"GITHUB_API_URL" default:"https://api.github.com"` // REST API; an Enterprise Server has https://HOST/api/v3
	AppID       int64  `envconfig:"GITHUB_APP_ID"`                                   // the GitHub App to act as
	AppKey      string `envconfig:"GITHUB_APP_PRIVATE_KEY"`                          // its private key, PEM
	Token       string `envconfig:"GITHUB_TOKEN"`                                    // instead of an App: a token with write access to issues, pull requests and commit statuses, and read access to contents
	ConsoleURL  string `envconfig:"CONSOLE_URL"`                                     // where people reach the console, for links; empty = no links
}

func main() { serve.Main("github-caller", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	clients, err := github.Open(github.Config{URL: env.APIURL, AppID: env.AppID, AppKey: []byte(env.AppKey), Token: env.Token})
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "github-caller", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, clients: clients, console: env.ConsoleURL, send: s.Send}
	h.routes(s)
	s.SendDue(db.Due)
	s.Postpone(db.Postpone)
	return nil
}
