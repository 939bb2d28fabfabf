package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	gh "github.com/google/go-github/v66/github"

	"codexk8s.dev/shared/artefact"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/reason"
)

// A place is what a branch or a commit has of the files.
type place struct {
	ref   string
	gone  error // GitHub's answer if it is not there, such as a branch that was never pushed
	files map[string]*gh.RepositoryContent
}

// has is how many of the files there are.
func (p place) has() int { return len(p.files) }

// look looks into all places. The one that has most of the files comes first; of several, the first.
func (l *lookout) look(ctx context.Context) ([]place, error) {
	in := l.In
	if l.Head != "" {
		in = []string{l.Head}
	}
	var places []place
	for _, ref := range in {
		p := place{ref: ref, files: map[string]*gh.RepositoryContent{}}
		for _, file := range l.Files {
			entry, err := l.entry(ctx, file, ref)
			if noSuchRef(err) {
				p.gone = err
				break
			}
			if err != nil {
				return nil, err
			}
			if entry.GetType() == "file" {
				p.files[file] = entry
			}
		}
		places = append(places, p)
	}
	most := slices.MaxFunc(places, func(a, b place) int { return a.has() - b.has() })
	i := slices.IndexFunc(places, func(p place) bool { return p.ref == most.ref })
	return slices.Concat(places[i:i+1], places[:i], places[i+1:]), nil
}

// find takes each file from the first of the places that has it. If none of them is there, that is GitHub's answer.
func find(files []string, places []place) (found []events.FoundFile, err error) {
	if there := slices.ContainsFunc(places, func(p place) bool { return p.gone == nil }); !there {
		return nil, places[len(places)-1].gone
	}
	for _, file := range files {
		f := events.FoundFile{Path: file}
		if i := slices.IndexFunc(places, func(p place) bool { return p.files[file] != nil }); i >= 0 {
			f.In, f.SHA, f.Size = places[i].ref, places[i].files[file].GetSHA(), places[i].files[file].GetSize()
		}
		found = append(found, f)
	}
	return found, nil
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
		if _, list, err = l.client.Contents(ctx, l.owner, l.name, folder, ref, l.db.Now()); err != nil {
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
	one, _, err := l.client.Contents(ctx, l.owner, l.name, file, ref, l.db.Now())
	return one, err
}

// noSuchRef reports whether GitHub knows the repository, and not the branch or commit.
func noSuchRef(err error) bool {
	var refused *github.Refused
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound && strings.HasPrefix(refused.Message, "No commit found for the ref")
}

// judge reads the texts of the files. One that is too large to be read is no template that nobody has filled in.
func (l *lookout) judge(ctx context.Context, files []events.FoundFile) error {
	for i := range files {
		f := &files[i]
		if f.In == "" || f.Size > events.MaxContent {
			continue
		}
		file, _, err := l.client.Contents(ctx, l.owner, l.name, f.Path, f.In, l.db.Now())
		if err != nil {
			return err
		}
		if file == nil {
			continue
		}
		text, err := file.GetContent()
		if err != nil {
			return fmt.Errorf("decoding %s as GitHub sent it: %w", f.Path, err)
		}
		f.Faults, f.Says = artefact.Faults([]byte(text)), artefact.Says([]byte(text), l.Words)
	}
	return nil
}

// ours is the pull request, which an agent names, and whether it is of the run's branch in the repository itself. One
// that is not is said to be so.
func (l *lookout) ours(ctx context.Context) (pull *gh.PullRequest, ours bool, err error) {
	if l.Head == "" || l.Branch == "" || l.PullRequest == 0 {
		return nil, true, nil
	}
	pull, _, err = l.client.PullRequests.Get(ctx, l.owner, l.name, l.PullRequest)
	if err != nil {
		return nil, false, github.ClassifyError(err, l.db.Now())
	}
	head := pull.GetHead()
	if ours = head.GetRef() == l.Branch && head.GetRepo().GetID() == pull.GetBase().GetRepo().GetID(); !ours {
		l.found.Reason, l.found.Message = reason.NotOurPullRequest, fmt.Sprintf("Pull request #%d is not of branch %s of this repository.", l.PullRequest, l.Branch)
	}
	return pull, ours, nil
}

// outside are paths that the pull request changes and the write scope does not allow, as far as GitHub lists its files.
// A file that is the same in the branch that it is to be merged into counts as not changed: GitHub lists it too, when
// what the stage began upon was merged there as one new commit.
// https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
func (l *lookout) outside(ctx context.Context, into string) error {
	page := &gh.ListOptions{PerPage: 100}
	var out []string
	for {
		files, res, err := l.client.PullRequests.ListFiles(ctx, l.owner, l.name, l.PullRequest, page)
		if err != nil {
			return github.ClassifyError(err, l.db.Now())
		}
		var paths []string
		for _, f := range files {
			if into != "" && len(l.allowed.Outside([]string{f.GetFilename()})) > 0 {
				there, err := l.entry(ctx, f.GetFilename(), into)
				if err != nil && !noSuchRef(err) {
					return err
				}
				if same(f, there, err == nil) {
					continue
				}
			}
			paths = append(paths, f.GetFilename())
			if before := f.GetPreviousFilename(); before != "" {
				paths = append(paths, before)
			}
		}
		out = append(out, l.allowed.Outside(paths)...)
		if page.Page = res.NextPage; page.Page == 0 || len(out) >= events.MaxOutside {
			l.found.Outside = out[:min(len(out), events.MaxOutside)]
			return nil
		}
	}
}

// same reports whether merging would leave the file as it is in the branch, if that is known.
func same(f *gh.CommitFile, there *gh.RepositoryContent, known bool) bool {
	if f.GetStatus() == "removed" {
		return there == nil && known
	}
	return there != nil && there.GetSHA() == f.GetSHA()
}
