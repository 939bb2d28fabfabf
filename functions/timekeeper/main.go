// Command timekeeper makes sure that nothing is lost. A tick wakes it once a
// minute; then it
//
//   - sends what is due: timers, and events that a function has not recorded in
//     time, until after twelve such deliveries they become dead letters;
//   - compares GitHub with what arrived: webhook deliveries that never came are
//     taken from GitHub's own list, and an issue that bears a trigger label
//     without a run becomes label.observed;
//   - seals the audit.
//
// It is also the Broker's dead-letter sink. A refusal for good (400, 413, 422) is
// kept for a person to look at and replay; a delivery that failed otherwise stays
// outstanding and is sent again, because the outage will end.
package main

import (
	"context"
	"log/slog"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
)

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"`                    // Postgres, postgres://user:password@host/name
	APIURL      string `envconfig:"GITHUB_API_URL" default:"https://api.github.com"` // REST API; an Enterprise Server has https://HOST/api/v3
	AppID       int64  `envconfig:"GITHUB_APP_ID"`                                   // the GitHub App to act as
	AppKey      string `envconfig:"GITHUB_APP_PRIVATE_KEY"`                          // its private key, PEM
	Token       string `envconfig:"GITHUB_TOKEN"`                                    // instead of an App; without either, GitHub is not compared
}

func main() { serve.Main("timekeeper", run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	db, err := store.Open(ctx, "timekeeper", env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	h := &handler{db: db, send: s.Send}
	if env.AppID == 0 && env.Token == "" {
		slog.Info("no GitHub credential: GitHub is not compared with what arrived")
	} else if h.clients, err = github.Open(github.Config{URL: env.APIURL, AppID: env.AppID, AppKey: []byte(env.AppKey), Token: env.Token}); err != nil {
		return err
	}
	h.routes(s)
	return nil
}
