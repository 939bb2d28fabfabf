// Command timekeeper makes sure that nothing gets lost. Every few minutes a tick wakes it; then it
//
//   - sends what is due: timers, and events that a function has not recorded in time; after twelve such deliveries they
//     become dead letters;
//   - compares GitHub with what arrived: webhook deliveries that never came are taken from GitHub's own lists (of the
//     App's hook, and of each repository's), for the log alone if GitHub shows that they are obsolete; and an issue
//     that bears a trigger label without an answer becomes label.observed;
//   - asks, once an hour, for a repository's labels to be put right if they are not as its process has them;
//   - seals the audit;
//   - sets the backlog gauges, because the functions concerned may be scaled to zero.
//
// It is also the Broker's dead-letter sink. What a function rejected for good (400, 413, 422) is kept for a person to
// look at and replay (functions/doctor), until its event is handled after all; a delivery that failed otherwise stays
// outstanding and is sent again, because outages end. A function that knows until when it can't handle an event,
// because of a rate limit for example, has said so (store.Postpone): the event waits until then.
package main

import (
	"context"
	"fmt"
	"log/slog"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"`                    // Postgres, postgres://user:password@host/name
	APIURL      string `envconfig:"GITHUB_API_URL" default:"https://api.github.com"` // REST API; an Enterprise Server has https://HOST/api/v3
	AppID       int64  `envconfig:"GITHUB_APP_ID"`                                   // the GitHub App to act as
	AppKey      string `envconfig:"GITHUB_APP_PRIVATE_KEY"`                          // its private key, PEM
	Token       string `envconfig:"GITHUB_TOKEN"`                                    // instead of an App; without either, GitHub is not compared

	ProcessFile     string   `envconfig:"PROCESS_FILE"`     // as stage-router's
	UnloggedSources []string `envconfig:"UNLOGGED_SOURCES"` // as stage-router's
}

func main() { serve.Main("timekeeper", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	process, err := variables.FromFile("PROCESS_FILE", env.ProcessFile, stage.Default(), stage.Parse)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, "timekeeper", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	if err := db.AllowUnlogged(env.UnloggedSources); err != nil {
		return fmt.Errorf("UNLOGGED_SOURCES: %w", err)
	}
	db.UseProcess(process)
	h := &handler{db: db, send: s.Send}
	if env.AppID == 0 && env.Token == "" {
		slog.Info("no GitHub credential: GitHub is not compared with what arrived")
	} else if h.clients, err = github.Open(github.Config{URL: env.APIURL, AppID: env.AppID, AppKey: []byte(env.AppKey), Token: env.Token}); err != nil {
		return err
	}
	h.routes(s)
	return nil
}
