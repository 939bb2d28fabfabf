// Command stage-router is the decider: it hears what happens on GitHub and to the
// agents, and decides what each issue's run does next.
//
// It holds no rule of its own. Each event is one transaction: load the work item, ask stage.Decide, save. Admission is
// the same over a project: load its active runs, ask stage.Admit, save. Events about an issue lock the issue, events
// about places lock the project, and no step holds both.
package main

import (
	"context"
	"fmt"

	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

const function = "stage-router"

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres
	ProcessFile string `envconfig:"PROCESS_FILE"`                 // YAML of labels, stages and roles; empty = the built-in process

	UnloggedSources []string `envconfig:"UNLOGGED_SOURCES"` // a GitHubSource's events, by the beginning of their source, https://github.com/acme/; empty = only those of webhook-adapter
}

func main() { serve.Main(function, run) }

func run(ctx context.Context, s *serve.Server, env env) error {
	process, err := variables.FromFile("PROCESS_FILE", env.ProcessFile, stage.Default(), stage.Parse)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, function, env.DatabaseURL)
	if err != nil {
		return err
	}
	s.OnStop(db.Close)
	if err := db.AllowUnlogged(env.UnloggedSources); err != nil {
		return fmt.Errorf("UNLOGGED_SOURCES: %w", err)
	}
	s.SendDue(db.Due)
	db.UseProcess(process)
	h := &handler{db: db}
	h.routes(s)
	return nil
}
