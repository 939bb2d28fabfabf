// Command approval-gate decides what people are asked: approvals and questions of agents.
//
// It holds no rule of its own. Each event is one transaction: load the request, ask approval.Decide, save. What it
// emits is the wanted state of the messages (approval.changed), the end of the request (approval.decided, once), the
// next timer (approval.due), and the answer to a vote that does not count (approval.refused).
//
// Each request is locked by its row. Opening requests of a run, and ending all of them with it, also locks the run: a
// request that is asked while its run ends is withdrawn, in either order.
//
// Comments on GitHub are a channel that needs no other function: /approve, /deny and /answer.
package main

import (
	"context"
	"fmt"

	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/variables"
)

const function = "approval-gate"

type env struct {
	DatabaseURL string `envconfig:"DATABASE_URL" required:"true"` // Postgres
	ProcessFile string `envconfig:"PROCESS_FILE"`                 // as stage-router's

	UnloggedSources []string `envconfig:"UNLOGGED_SOURCES"` // as stage-router's
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
