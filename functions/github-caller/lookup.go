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
	"codexk8s.dev/shared/scope"
)

// lookupRequested reads what is asked for and says what it found. A run waits for the answer, so "the file can't be
// read" is an answer too, never a dead letter; only what may work later is tried again.
func (h *handler) lookupRequested(ctx context.Context, e event.Event, p events.GitHubLookupRequested) ([]event.Event, error) {
	allowed, err := checked(p)
	if err != nil {
		return nil, events.Malformed(fmt.Errorf("event %s: no lookup: run %q of %q #%d: %w", e.ID(), p.RunID, p.Repository, p.Issue, err))
	}
	home, err := h.db.Repository(ctx, p.RepositoryID, p.Repository)
	if err != nil {
		return nil, err
	}
	p.Repository = home.Name // as it is called now
	return h.db.Act(ctx, e, events.WorkItem(home.Key, p.Issue), func(ctx context.Context) (events.Decision, error) {
		found := events.GitHubLookedUp{RunRef: p.RunRef, Attempt: p.Attempt, Path: p.Path, Ref: p.Ref, Head: p.Head}
		err := h.lookup(ctx, p, allowed, &found)
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

// checked says what is wrong with a lookup, and gives the write scope that it names.
func checked(p events.GitHubLookupRequested) (scope.Scope, error) {
	_, _, ok := strings.Cut(p.Repository, "/")
	switch {
	case !ok || p.Issue <= 0 || p.RunID == "":
		return nil, errors.New("it is of no run")
	case p.Path == "" && len(p.Files) == 0 || len(p.Files) > events.MaxFiles:
		return nil, fmt.Errorf("want a file, at most %d", events.MaxFiles)
	case len(p.Files) > 0 && p.Head == "" && len(p.In) == 0:
		return nil, errors.New("it does not say where")
	}
	for _, path := range append([]string{p.Path}, p.Files...) {
		if strings.Contains(path, "..") {
			return nil, fmt.Errorf("no such file can be: %q", path)
		}
	}
	return scope.Compile(p.Write)
}

// lookup fills in GitHub's answer; an error is temporary.
func (h *handler) lookup(ctx context.Context, p events.GitHubLookupRequested, allowed scope.Scope, found *events.GitHubLookedUp) error {
	ctx, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	client, err := h.client(ctx, p.Repository)
	what := p.Path
	if err == nil && p.Path != "" {
		err = h.noteLimit(ctx, client, h.content(ctx, client, found))
	}
	if err == nil && found.Reason == "" && len(p.Files) > 0 {
		what = p.Files[0]
		for _, path := range p.Files {
			found.Files = append(found.Files, events.FoundFile{Path: path})
		}
		l := &lookout{client: client, now: h.db.Now, repository: p.Repository, folders: map[string][]*gh.RepositoryContent{}, gone: map[string]error{}}
		err = h.noteLimit(ctx, client, l.gate(ctx, p, allowed, found))
	}
	var refused *github.Refused
	if !errors.As(err, &refused) {
		return err
	}
	found.Reason, found.Message = reason.GitHubRefused, fmt.Sprintf("%s of %s can't be read: %v.", what, p.Repository, refused)
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
	var all []string
	if f.Path != "" {
		all = append(all, describeContent(f))
	}
	for _, file := range f.Files {
		all = append(all, describeFile(file))
	}
	if len(f.Outside) > 0 {
		all = append(all, "outside of the write scope: "+strings.Join(f.Outside, ", "))
	}
	if f.Reason != "" {
		all = append(all, f.Message)
	}
	return strings.Join(all, "; ")
}

func describeContent(f events.GitHubLookedUp) string {
	at := f.Path
	if f.Ref != "" {
		at += " at " + f.Ref
	}
	switch {
	case f.Found:
		return fmt.Sprintf("%s: %s, %d bytes", at, f.SHA, len(f.Content))
	case f.Reason != "":
		return at
	}
	return at + ": there is none"
}

func describeFile(f events.FoundFile) string {
	if f.In == "" {
		return f.Path + ": there is none"
	}
	text := fmt.Sprintf("%s at %s: %s, %d bytes", f.Path, f.In, f.SHA, f.Size)
	if len(f.Faults) > 0 {
		text += " (" + strings.Join(f.Faults, ", ") + ")"
	}
	return text
}
