package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/store"
)

// connectFor is how long Postgres may take to start.
const connectFor = 2 * time.Minute

func run(ctx context.Context, e env) error {
	db, err := store.Open(ctx, "migrate", e.DatabaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(ctx) }()
	if err := connect(ctx, db, connectFor); err != nil {
		return err
	}
	version, err := migrations.Up(ctx, e.DatabaseURL)
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
func connect(ctx context.Context, db *store.DB, patience time.Duration) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := db.Ping(ctx)
		if refused(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(patience), backoff.WithNotify(func(err error, wait time.Duration) {
		slog.Info("can't connect to Postgres yet", "error", err, "again_in", wait.Round(time.Millisecond))
	}))
	if err != nil {
		return fmt.Errorf("connecting to Postgres, check DATABASE_URL and that it runs: %w", err)
	}
	return nil
}

// refused says that Postgres runs and does not let us in: no such user, password or database
// (https://www.postgresql.org/docs/current/errcodes-appendix.html, class 28 and 3D000). Waiting changes none of them.
func refused(err error) bool {
	var of interface{ SQLState() string }
	return errors.As(err, &of) && (strings.HasPrefix(of.SQLState(), "28") || of.SQLState() == "3D000")
}

func load(ctx context.Context, db *store.DB, path string) error {
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
	if err := db.SaveProjects(ctx, f); err != nil {
		return err
	}
	slog.Info("projects are up to date", "projects", len(f.Projects), "owners", len(f.Owners))
	return nil
}
