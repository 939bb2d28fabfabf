package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"codexk8s.dev/test/local/pg"
)

// installMissing gets what the platform needs besides Go: git, and, unless there is a database already, PostgreSQL.
// Root gets Debian's packages; PostgreSQL comes from npm where that can't be, into this directory. An error says what a
// person has to do.
func installMissing(ctx context.Context, out io.Writer, database string) error {
	if _, err := exec.LookPath("git"); err != nil {
		if err := aptInstall(ctx, out, "git"); err != nil {
			return fmt.Errorf("git is missing: install it with your system's package manager: %w", err)
		}
	}
	if database != "" {
		return nil
	}
	_, err := pg.Find()
	if !errors.Is(err, pg.ErrNoBinaries) {
		return err
	}
	if err := aptInstall(ctx, out, "postgresql"); err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return pg.Install(ctx, out)
}

// errNotRoot says that packages can't be installed here.
var errNotRoot = errors.New("only root installs packages, and only where there is apt-get")

func aptInstall(ctx context.Context, out io.Writer, name string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errNotRoot
	}
	_, _ = fmt.Fprintf(out, "Installing the Debian package %s, which is missing.\n", name)
	for _, args := range [][]string{{"update", "-q"}, {"install", "-y", "-q", "--no-install-recommends", name}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w", args[0], err)
		}
	}
	return nil
}
