package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/artefact"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/scope"
)

// lookout looks for the files of one lookup. Those of a stage lie in one folder, so its list, which is one call, tells
// of all of them.
type lookout struct {
	client     *github.Client
	now        func() time.Time
	repository string
	folders    map[string][]*gh.RepositoryContent // by ref and path, as GitHub lists them
	gone       map[string]error                   // GitHub's answer about a ref that is not there
}

// gate answers for each file; those of a finished run are read as well, and the paths that its pull request changes.
func (l *lookout) gate(ctx context.Context, p events.GitHubLookupRequested, allowed scope.Scope, found *events.GitHubLookedUp) error {
	in, into := p.In, ""
	if p.Head != "" {
		in = []string{p.Head}
		ours, base, err := l.ours(ctx, p)
		if err != nil {
			return err
		}
		into = base
		if !ours {
			found.Reason, found.Message = reason.NotOurPullRequest, fmt.Sprintf("Pull request #%d is not of branch %s of this repository.", p.PullRequest, p.Branch)
			return nil
		}
	}
	from, err := l.most(ctx, p.Files, in)
	if err != nil {
		return err
	}
	if from > 0 {
		in = slices.Concat(in[from:from+1], in[:from], in[from+1:])
	}
	files := make([]events.FoundFile, 0, len(p.Files))
	for _, path := range p.Files {
		file, err := l.find(ctx, path, in)
		if err == nil && p.Head != "" && file.In != "" {
			err = l.judge(ctx, &file, p.Words)
		}
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	if p.Head != "" && p.PullRequest != 0 {
		if found.Outside, err = l.outside(ctx, p.PullRequest, into, allowed); err != nil {
			return err
		}
	}
	found.Files = files
	if from >= 0 && p.Head == "" {
		found.From = in[0]
	}
	return nil
}

// most is the first of those places that have most of the files; -1 = none has any.
func (l *lookout) most(ctx context.Context, files, in []string) (place int, err error) {
	place, has := -1, 0
	for i, ref := range in {
		n := 0
		for _, file := range files {
			entry, err := l.entry(ctx, file, ref)
			if noSuchRef(err) {
				break
			}
			if err != nil {
				return -1, err
			}
			if entry.GetType() == "file" {
				n++
			}
		}
		if n > has {
			place, has = i, n
		}
	}
	return place, nil
}

// find looks for the file in one place after another. A place that is not there, such as a branch that was never
// pushed, has no files; if none of them is there, that is GitHub's answer.
func (l *lookout) find(ctx context.Context, file string, in []string) (events.FoundFile, error) {
	var gone error
	places := 0
	for _, ref := range in {
		entry, err := l.entry(ctx, file, ref)
		if noSuchRef(err) {
			gone = err
			continue
		}
		if err != nil {
			return events.FoundFile{}, err
		}
		places++
		if entry.GetType() == "file" {
			return events.FoundFile{Path: file, In: ref, SHA: entry.GetSHA(), Size: entry.GetSize()}, nil
		}
	}
	if places == 0 {
		return events.FoundFile{}, gone
	}
	return events.FoundFile{Path: file}, nil
}

// listedAtMost is how many entries GitHub lists of a folder.
// https://docs.github.com/en/rest/repos/contents#get-repository-content
const listedAtMost = 1000

// entry is what the file's folder says of it; nil if there is no such file.
func (l *lookout) entry(ctx context.Context, file, ref string) (*gh.RepositoryContent, error) {
	folder := path.Dir(file)
	if folder == "." {
		folder = ""
	}
	if err := l.gone[ref]; err != nil {
		return nil, err
	}
	key := ref + ":" + folder
	list, known := l.folders[key]
	if !known {
		var err error
		if _, list, err = l.contents(ctx, folder, ref); err != nil {
			if noSuchRef(err) {
				l.gone[ref] = err
			}
			return nil, err
		}
		l.folders[key] = list
	}
	for _, e := range list {
		if e.GetPath() == file {
			return e, nil
		}
	}
	if len(list) < listedAtMost {
		return nil, nil
	}
	one, _, err := l.contents(ctx, file, ref)
	return one, err
}

// contents is GitHub's answer about a path: a file, or the list of a folder; neither if there is nothing.
func (l *lookout) contents(ctx context.Context, path, ref string) (*gh.RepositoryContent, []*gh.RepositoryContent, error) {
	owner, name, _ := strings.Cut(l.repository, "/")
	file, list, _, err := l.client.Repositories.GetContents(ctx, owner, name, path, &gh.RepositoryContentGetOptions{Ref: ref})
	if err = github.ClassifyError(err, l.now()); missing(err) {
		return nil, nil, nil
	}
	return file, list, err
}

// noSuchRef reports whether GitHub knows the repository, and not the branch or commit.
func noSuchRef(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound && strings.HasPrefix(refused.Message, "No commit found for the ref")
}

// judge reads the file's text. One that is too large to be read is no template that nobody has filled in.
func (l *lookout) judge(ctx context.Context, found *events.FoundFile, words []string) error {
	if found.Size > events.MaxContent {
		return nil
	}
	file, _, err := l.contents(ctx, found.Path, found.In)
	if err != nil || file == nil {
		return err
	}
	text, err := file.GetContent()
	if err != nil {
		return fmt.Errorf("decoding %s as GitHub sent it: %w", found.Path, err)
	}
	found.Faults, found.Says = artefact.Faults([]byte(text)), artefact.Says([]byte(text), words)
	return nil
}

// ours reports whether the pull request, which an agent names, is of the run's branch in the repository itself, and
// which branch it is to be merged into.
func (l *lookout) ours(ctx context.Context, p events.GitHubLookupRequested) (ours bool, into string, err error) {
	if p.Branch == "" || p.PullRequest == 0 {
		return true, "", nil
	}
	owner, name, _ := strings.Cut(l.repository, "/")
	pull, _, err := l.client.PullRequests.Get(ctx, owner, name, p.PullRequest)
	if err != nil {
		return false, "", github.ClassifyError(err, l.now())
	}
	head := pull.GetHead()
	return head.GetRef() == p.Branch && head.GetRepo().GetID() == pull.GetBase().GetRepo().GetID(), pull.GetBase().GetRef(), nil
}

// outside are paths that the pull request changes and the write scope does not allow, as far as GitHub lists its files.
// A file that is the same in the branch that it is to be merged into counts as not changed: GitHub lists it too, when
// what the stage began upon was merged there as one new commit.
// https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
func (l *lookout) outside(ctx context.Context, pull int, into string, allowed scope.Scope) ([]string, error) {
	owner, name, _ := strings.Cut(l.repository, "/")
	page := &gh.ListOptions{PerPage: 100}
	var out []string
	for {
		files, res, err := l.client.PullRequests.ListFiles(ctx, owner, name, pull, page)
		if err != nil {
			return nil, github.ClassifyError(err, l.now())
		}
		var paths []string
		for _, f := range files {
			if into != "" && len(allowed.Outside([]string{f.GetFilename()})) > 0 {
				same, err := l.same(ctx, f, into)
				if err != nil {
					return nil, err
				}
				if same {
					continue
				}
			}
			paths = append(paths, f.GetFilename())
			if before := f.GetPreviousFilename(); before != "" {
				paths = append(paths, before)
			}
		}
		out = append(out, allowed.Outside(paths)...)
		if page.Page = res.NextPage; page.Page == 0 || len(out) >= events.MaxOutside {
			return out[:min(len(out), events.MaxOutside)], nil
		}
	}
}

// same reports whether merging would leave the file as it is in the branch.
func (l *lookout) same(ctx context.Context, f *gh.CommitFile, in string) (bool, error) {
	there, err := l.entry(ctx, f.GetFilename(), in)
	if err != nil && !noSuchRef(err) {
		return false, err
	}
	if f.GetStatus() == "removed" {
		return there == nil && err == nil, nil
	}
	return there != nil && there.GetSHA() == f.GetSHA(), nil
}
