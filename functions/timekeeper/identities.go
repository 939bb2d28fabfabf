package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

// whole reads the repository from GitHub, by its number once that is known, and stores its present name. A repository
// that took over its name is another one.
func (c *comparison) whole(ctx context.Context) error {
	r := c.bound.Repository
	var found *gh.Repository
	var err error
	if r.ID != 0 {
		found, _, err = c.client.Repositories.GetByID(ctx, r.ID)
	} else {
		owner, name, _ := strings.Cut(r.Name, "/")
		found, _, err = c.client.Repositories.Get(ctx, owner, name)
	}
	if err != nil {
		return fmt.Errorf("reading the repository: %w", err)
	}
	c.repository, err = c.db.KeepRepository(ctx, r, store.Sighting{ID: found.GetID(), Name: found.GetFullName(), CloneURL: found.GetCloneURL(), At: c.now})
	c.base, c.clone = found.GetDefaultBranch(), found.GetCloneURL()
	c.owner, c.name, _ = strings.Cut(found.GetFullName(), "/")
	return err
}

// accounts asks GitHub for the account numbers of members that are not known yet: the longer a right depends on a login
// alone, the more likely somebody else gets the login.
func (c *comparison) accounts(ctx context.Context) error {
	logins, err := c.db.Unnumbered(ctx)
	if err != nil {
		return err
	}
	for _, login := range logins {
		if !c.due("@"+login, c.now) {
			continue
		}
		user, _, err := c.client.Users.Get(ctx, login)
		if err = github.ClassifyError(err, c.now); github.Gone(err) {
			slog.Warn("a member has no account on GitHub: correct the projects file", "login", login)
			continue
		}
		if err != nil {
			return fmt.Errorf("asking for the account of @%s: %w", login, err)
		}
		if err := c.db.KeepAccount(ctx, store.Account{ID: user.GetID(), Login: user.GetLogin()}); err != nil {
			return err
		}
	}
	return nil
}
