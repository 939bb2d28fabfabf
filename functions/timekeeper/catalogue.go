package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/store"
)

// catalogueEvery is how often the labels of a repository are compared with its process.
const catalogueEvery = time.Hour

// catalogue asks for the repository's labels to be put right: at first they have to be made, later somebody may have
// renamed, deleted or recoloured one, or the process has others.
func (c *comparison) catalogue(ctx context.Context) error {
	hour, process := c.now.Truncate(catalogueEvery), c.repository.Process
	if hour.Equal(c.bound.Reconciled.Truncate(catalogueEvery)) || process.Fault != "" {
		return nil
	}
	there, err := c.client.Labels(ctx, c.owner, c.name)
	var refused *github.Refused
	if err = github.ClassifyError(err, c.now); errors.As(err, &refused) {
		slog.Warn("labels can't be listed, so they are not compared", "repository", c.repository.Name, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	want := process.Catalogue()
	changes := github.LabelDrift(there, want)
	if len(changes) == 0 {
		return nil
	}
	slog.Info("the labels of a repository are not as its process has them", "repository", c.repository.Name, "labels", len(changes))
	// The event names all of them: by the time that it is handled others may be amiss.
	cause := store.Cause{Source: "https://github.com/" + c.owner + "/" + c.name, ID: "labels-" + process.Hash[:12] + "-" + hour.UTC().Format(time.RFC3339)}
	emitted, err := c.db.Emit(ctx, cause, "", func(context.Context, *store.Tx) (events.Decision, error) {
		return events.Decision{Emit: []events.Draft{events.Now(events.GitHubLabelsRequested{
			Repository: c.repository.Name, RepositoryID: c.repository.ID, Labels: want,
		})}}, nil
	})
	if err != nil {
		return err
	}
	return c.send(ctx, emitted...)
}
