package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
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
	l := &lookout{handler: h, GitHubLookupRequested: p, asked: e.Time(), allowed: allowed, folders: map[string][]*gh.RepositoryContent{}, gone: map[string]error{}}
	l.owner, l.name, _ = strings.Cut(home.Name, "/")
	return h.db.Act(ctx, e, events.WorkItem(home.Key, p.Issue), l.carryOut)
}

// A lookout is one lookup being made. The files of a stage lie in one folder, so its list, which is one call, tells of
// all of them.
type lookout struct {
	*handler
	events.GitHubLookupRequested
	asked       time.Time // when it was
	allowed     scope.Scope
	owner, name string
	client      *github.Client
	folders     map[string][]*gh.RepositoryContent // by ref and path, as GitHub lists them
	gone        map[string]error                   // GitHub's answer about a ref that is not there
	found       events.GitHubLookedUp
}

// carryOut reads a file whole, and then looks for others, as far as that is asked for. Those of a finished run are read
// as well, and the paths that its pull request changes.
func (l *lookout) carryOut(ctx context.Context) (events.Decision, error) {
	acting, cancel := context.WithTimeout(ctx, actFor)
	defer cancel()
	l.found = events.GitHubLookedUp{RunRef: l.RunRef, Attempt: l.Attempt, Path: l.Path, Ref: l.Ref, Head: l.Head}
	var err error
	if l.client, err = l.handler.client(acting, l.Repository); err != nil {
		return l.say(ctx, l.Path, err)
	}
	if err := l.content(acting); err != nil || l.found.Reason != "" || len(l.Files) == 0 && l.Head == "" {
		return l.say(ctx, l.Path, err)
	}
	for _, path := range l.Files { // what stands if GitHub refuses
		l.found.Files = append(l.found.Files, events.FoundFile{Path: path})
	}
	what := append(l.Files, l.Head)[0]
	pull, ours, err := l.ours(acting)
	if err == nil && ours {
		err = l.delivered(acting, pull)
	}
	if err != nil || !ours {
		return l.say(ctx, what, err)
	}
	places, err := l.look(acting)
	if err != nil {
		return l.say(ctx, what, err)
	}
	files, err := find(l.Files, places)
	if err == nil && l.Head != "" {
		err = l.judge(acting, files)
	}
	if err == nil && l.Head != "" && l.PullRequest != 0 {
		err = l.outside(acting, pull.GetBase().GetRef())
	}
	if err == nil {
		l.found.Files = files
	}
	if err == nil && l.Head == "" && places[0].has() > 0 {
		l.found.From = places[0].ref
	}
	return l.say(ctx, what, err)
}

// say is the answer: what was found, or that GitHub refuses. Only what may work later is an error.
func (l *lookout) say(ctx context.Context, what string, err error) (d events.Decision, _ error) {
	var limited *github.RateLimited
	var refused *github.Refused
	switch {
	case errors.As(err, &limited):
		return d, events.RetryAt(limited.Until, l.noteLimit(ctx, l.client, err))
	case errors.Is(err, errFresh):
		return d, events.RetryAt(l.db.Now().Add(2*time.Second), err)
	case errors.As(err, &refused):
		l.found.Reason, l.found.Message = reason.GitHubRefused, fmt.Sprintf("%s of %s can't be read: %v.", what, l.Repository, refused)
		if github.Gone(err) {
			l.found.Reason = reason.GitHubGone
		}
	case err != nil:
		return d, err
	}
	d.Emit = []events.Draft{events.Now(l.found)}
	d.Audit = []events.Record{{Actor: actor, Action: "github.looked_up", Run: l.RunID, Reason: l.found.Reason, Detail: describe(l.found)}}
	return d, nil
}

// maxPath is how many bytes the path of a file may have that git checks out on Linux. A server hangs up on addresses
// that are much longer, which would look like an outage.
const maxPath = 4096

// checked says what is wrong with a lookup, and gives the write scope that it names.
func checked(p events.GitHubLookupRequested) (scope.Scope, error) {
	_, _, ok := strings.Cut(p.Repository, "/")
	switch {
	case !ok || p.Issue <= 0 || p.RunID == "":
		return nil, errors.New("it is of no run")
	case p.Path == "" && p.Head == "" && len(p.Files) == 0 || len(p.Files) > events.MaxFiles:
		return nil, fmt.Errorf("want a file, at most %d", events.MaxFiles)
	case len(p.Files) > 0 && p.Head == "" && len(p.In) == 0:
		return nil, errors.New("it does not say where")
	}
	for _, path := range append([]string{p.Path}, p.Files...) {
		if strings.Contains(path, "..") || len(path) > maxPath {
			return nil, fmt.Errorf("no such file can be: %.200q", path)
		}
	}
	return scope.Compile(p.Write)
}

// content reads the file that is wanted whole, if one is.
func (l *lookout) content(ctx context.Context) error {
	if l.Path == "" {
		return nil
	}
	file, list, err := l.client.Contents(ctx, l.owner, l.name, l.Path, l.Ref, l.db.Now())
	if err != nil || file == nil && list == nil {
		return err
	}
	return read(file, &l.found)
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
	all = append(all, describeExit(f)...)
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
