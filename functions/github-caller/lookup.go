package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
)

// lookupRequested reads the file and says what it found. A run waits for the answer, so "the file can't be read" is an
// answer too, never a dead letter; only what may work later is tried again.
func (h *handler) lookupRequested(ctx context.Context, e event.Event, p events.GitHubLookupRequested) ([]event.Event, error) {
	if _, _, ok := strings.Cut(p.Repository, "/"); !ok || p.Issue <= 0 || p.RunID == "" || p.Path == "" || strings.Contains(p.Path, "..") {
		return nil, events.Malformed(fmt.Errorf("event %s: no lookup: run %q of %q #%d, file %q", e.ID(), p.RunID, p.Repository, p.Issue, p.Path))
	}
	home, err := h.db.Repository(ctx, p.RepositoryID, p.Repository)
	if err != nil {
		return nil, err
	}
	p.Repository = home.Name // as it is called now
	return h.db.Act(ctx, e, events.WorkItem(home.Key, p.Issue), func(ctx context.Context) (events.Decision, error) {
		found := events.GitHubLookedUp{RunRef: p.RunRef, Attempt: p.Attempt, Path: p.Path, Ref: p.Ref}
		err := h.lookup(ctx, &found)
		var limited *github.RateLimited
		switch {
		case errors.As(err, &limited):
			return events.Decision{}, events.RetryAt(limited.Until, err)
		case err != nil:
			return events.Decision{}, err
		}
		return events.Decision{
			Emit: []events.Draft{events.Now(found)},
			Audit: []events.Record{{
				Actor: actor, Action: "github.looked_up", Run: p.RunID, Reason: found.Reason, Detail: describe(found),
			}},
		}, nil
	})
}

// lookup fills in GitHub's answer; an error is temporary.
func (h *handler) lookup(ctx context.Context, found *events.GitHubLookedUp) error {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	client, err := h.client(ctx, found.Repository)
	if err == nil {
		err = h.noteLimit(ctx, client, h.content(ctx, client, found))
	}
	var refused *github.Refused
	if !errors.As(err, &refused) {
		return err
	}
	found.Reason, found.Message = reason.GitHubRefused, fmt.Sprintf("%s of %s can't be read: %v.", found.Path, found.Repository, refused)
	if github.Gone(err) {
		found.Reason = reason.GitHubGone
	}
	return nil
}

func (h *handler) content(ctx context.Context, client *github.Client, found *events.GitHubLookedUp) error {
	owner, name, _ := strings.Cut(found.Repository, "/")
	options := &gh.RepositoryContentGetOptions{Ref: found.Ref}
	file, _, _, err := client.Repositories.GetContents(ctx, owner, name, found.Path, options)
	if err == nil {
		return read(file, found)
	}
	if err = github.ClassifyError(err, h.db.Now()); missing(err) {
		return nil
	}
	return err
}

// missing tells "there is no such file", which is an answer like any other, from a branch or a repository that is gone:
// all are 404, and only the message differs.
// https://docs.github.com/en/rest/repos/contents#get-repository-content
func missing(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.Message == "Not Found"
}

// read takes the file's content, if it can be read; nil is a directory.
func read(file *gh.RepositoryContent, found *events.GitHubLookedUp) error {
	unfit := func(reason, format string, args ...any) {
		found.Reason, found.Message = reason, found.Path+" "+fmt.Sprintf(format, args...)
	}
	if file == nil || file.GetType() != "file" {
		unfit("not_a_file", "is not a file in the repository.")
		return nil
	}
	// For a file above 1 MB GitHub sends only the size.
	if file.GetSize() > events.MaxContent {
		unfit("too_large", "has %d bytes, at most %d are read.", file.GetSize(), events.MaxContent)
		return nil
	}
	text, err := file.GetContent()
	if err != nil {
		return fmt.Errorf("decoding %s as GitHub sent it: %w", found.Path, err)
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		unfit("not_text", "is not text (UTF-8).")
		return nil
	}
	found.Found, found.Content, found.SHA = true, text, file.GetSHA()
	return nil
}

// describe is the audit's line.
func describe(f events.GitHubLookedUp) string {
	at := f.Path
	if f.Ref != "" {
		at += " at " + f.Ref
	}
	switch {
	case f.Found:
		return fmt.Sprintf("%s: %s, %d bytes", at, f.SHA, len(f.Content))
	case f.Reason != "":
		return at + ": " + f.Message
	}
	return at + ": there is none"
}
