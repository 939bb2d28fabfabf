package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/project"
)

// connectFor is how long Postgres may take to start.
const connectFor = 2 * time.Minute

func run(ctx context.Context, e env) error {
	config, err := pgx.ParseConfig(e.DatabaseURL)
	if err != nil || e.DatabaseURL == "" {
		return errors.New("DATABASE_URL is no Postgres URL (postgres://user:password@host:5432/name)") // the error would show the password
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	if err := connect(ctx, db, connectFor); err != nil {
		return err
	}
	version, err := migrations.Up(ctx, db)
	if err != nil {
		return err
	}
	slog.Info("schema is up to date", "version", version)
	if e.ProjectsFile == "" {
		return nil
	}
	return load(ctx, db, e.ProjectsFile)
}

// connect waits until Postgres answers.
func connect(ctx context.Context, db *sql.DB, patience time.Duration) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return struct{}{}, db.PingContext(ctx)
	}, backoff.WithMaxElapsedTime(patience), backoff.WithNotify(func(err error, wait time.Duration) {
		slog.Info("can't connect to Postgres yet", "error", err, "again_in", wait.Round(time.Millisecond))
	}))
	if err != nil {
		return fmt.Errorf("connecting to Postgres, check DATABASE_URL and that it runs: %w", err)
	}
	return nil
}

func load(ctx context.Context, db *sql.DB, path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// The manifest mounts an optional ConfigMap: a first deployment may come before its projects.
		slog.Warn("there is no projects file yet: no repository is bound by it", "path", path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading PROJECTS_FILE: %w", err)
	}
	f, err := project.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := save(ctx, db, f); err != nil {
		return err
	}
	slog.Info("projects are up to date", "projects", len(f.Projects), "owners", len(f.Owners))
	return nil
}
