// Command migrate brings the database up to this release, before the functions: the schema, and then the projects of a
// file, if there is one. It may be run as often as one likes and by many at once; a run that finds nothing to do
// changes nothing.
//
// The file adds and changes. It removes nothing: what is no longer in it stays,
// because runs and their history refer to it.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"codexk8s.dev/shared/variables"
)

type env struct {
	DatabaseURL  string `envconfig:"DATABASE_URL" required:"true"` // Postgres, postgres://user:password@host/name
	ProjectsFile string `envconfig:"PROJECTS_FILE"`                // YAML of projects, repositories and members; empty or absent = only the schema
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("function", "migrate"))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var e env
	err := variables.Read(&e)
	if err == nil {
		err = run(ctx, e)
	}
	if err != nil {
		slog.Error("migrate stopped", "error", err)
		os.Exit(1)
	}
}
