// Package checkout is the run's repository: an ordinary clone for the agent, and the platform's own git directory, from
// which the agent's work is checked and pushed.
//
//	server ──fetch──▶ own git directory ──shared objects──▶ clone (the agent works here)
//	server ◀──push─── own git directory ◀──files─────────── clone
//
// The clone's .git is the agent's. It may be removed, initialised again, pruned, or full of settings that run programs;
// only the agent reads it. The work is taken as files (Take): every file that is not ignored is compared with what was
// checked out, read by this process, and stored as a blob in our own directory. The list of the base's files is kept in
// memory from before the agent began, so replacing an object does not change what counts as changed.
//
// The result is what a person's `git add` would give: line endings and encodings are converted as the attributes say,
// but a file whose bytes are those that were checked out has not changed, whatever a conversion would make of it. A
// repository inside of the repository is taken as files, because a bare link to a commit that no server has is useless.
// A submodule moves when its checkout is at another commit. What cannot be taken stays as it was and is named
// (Work.Notes); the rest is taken.
//
// Names are bytes here. Shown writes them for people.
package checkout

import (
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options says where a repository is and how it is reached.
type Options struct {
	Dir    string // the agent's clone
	GitDir string // the own git directory, outside of Dir
	URL    string // clone URL, without credentials
	From   string // the commit of the base branch at which a new branch begins; "" = its head

	Helper string                                      // command line of the Git credential helper
	Access func(ctx context.Context) ([]string, error) // environment with what the helper needs, asked for anew for each fetch and push

	RetryFor time.Duration         // how long to try a server that cannot be reached
	Clean    func(string) string   // takes secrets out of a text
	Secrets  func([]byte) []string // finds secrets that must not be pushed; one that is cut off may be missed
}

// Repository is a checkout. Its methods must not be called concurrently.
type Repository struct {
	Options
	At

	branch string
	refs   map[string]string // names and commits that our own directory keeps
	packs  map[string]digest // files below objects/pack, as the server sent them
	based  listing           // files of the commit at which the branch left its base
	landed listing           // files of the base now, where it has moved on
	files  listing           // files of At.Head
	seen   map[string]stamp  // of files as they were checked out
	known  map[string]known  // of files read before, by path
	packer *zlib.Writer      // one for all, since each has a megabyte of tables
	packed Kept              // what Keep made last
	held   map[string]string // path → attributes, of the present Take
}

// At is where a run begins. Values are commits.
type At struct {
	Base   string // of the base branch
	Branch string // of the agent's branch on the server; empty = it does not exist there
	Head   string // what the work is based on: Branch, else From, else Base
}

// Errors of Open for which a person is needed.
var (
	ErrNoBase = errors.New("the base branch does not exist")
	ErrInWay  = errors.New("another branch is in the way") // names are paths: with "a", there can be no "a/b"
)

// Open fetches both branches and makes the agent's clone. Existing folders are removed first: nothing in them can be
// trusted, and Restore brings back uncommitted work. Errors are ErrNoBase, ErrInWay, *Refused, or temporary.
func Open(ctx context.Context, o Options, baseBranch, branch string) (*Repository, error) {
	r := &Repository{Options: o, branch: branch, refs: map[string]string{}, known: map[string]known{}}
	var err error
	if r.packer, err = zlib.NewWriterLevel(io.Discard, zlib.BestSpeed); err != nil {
		return nil, fmt.Errorf("setting compression up: %w", err)
	}
	for _, path := range []string{r.Dir, r.GitDir} {
		if err := removeAll(path); err != nil {
			return nil, fmt.Errorf("removing the kept workspace: %w", err)
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("creating the workspace: %w", err)
		}
	}
	if err := r.Renew(); err != nil {
		return nil, err
	}
	if r.At, err = r.fetch(ctx, baseBranch); err != nil {
		return nil, err
	}
	r.Head = r.start(ctx)
	if err := r.clone(ctx, baseBranch); err != nil {
		return nil, err
	}
	return r, r.Move(ctx, r.Head)
}

// start is the commit that the work is based on. A commit that is no longer in the base branch is no start.
func (r *Repository) start(ctx context.Context) string {
	if r.Branch != "" {
		return r.Branch
	}
	if r.From != "" {
		if _, err := r.line(ctx, "merge-base", "--is-ancestor", r.From, r.Base); err == nil {
			return r.From
		}
	}
	return r.Base
}

// removeAll also removes folders that their owner may not write to.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

// fetch brings both branches as they are on the server now.
func (r *Repository) fetch(ctx context.Context, baseBranch string) (At, error) {
	const heads = "refs/heads/"
	ask := []string{"ls-remote", r.URL, heads + baseBranch, heads + r.branch, heads + r.branch + "/*"}
	var above []string
	for at := strings.LastIndexByte(r.branch, '/'); at > 0; at = strings.LastIndexByte(r.branch[:at], '/') {
		above = append(above, heads+r.branch[:at])
	}
	listed, err := r.remote(ctx, append(ask, above...)...)
	if err != nil {
		return At{}, fmt.Errorf("listing the branches of %s: %w", r.URL, err)
	}
	on := map[string]string{}
	for line := range strings.Lines(listed) {
		sha, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(ref, heads+r.branch+"/") || slices.Contains(above, ref) {
			return At{}, fmt.Errorf("%w: %q does not go with %q", ErrInWay, strings.TrimPrefix(ref, heads), r.branch)
		}
		on[ref] = sha
	}
	if on[heads+baseBranch] == "" {
		return At{}, fmt.Errorf("%w: %q in %s", ErrNoBase, baseBranch, r.URL)
	}
	specs := []string{"+" + heads + baseBranch + ":" + keptBase}
	if on[heads+r.branch] != "" {
		specs = append(specs, "+"+heads+r.branch+":"+keptBranch)
	}
	if _, err := r.remote(ctx, append([]string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", r.URL}, specs...)...); err != nil {
		return At{}, fmt.Errorf("fetching %s: %w", r.URL, err)
	}
	var at At
	if at.Base, err = r.line(ctx, "rev-parse", keptBase); err != nil {
		return at, fmt.Errorf("reading the base branch: %w", err)
	}
	if on[heads+r.branch] != "" {
		if at.Branch, err = r.line(ctx, "rev-parse", keptBranch); err != nil {
			return at, fmt.Errorf("reading the agent's branch: %w", err)
		}
	}
	r.refs = map[string]string{keptBase: at.Base, keptBranch: at.Branch}
	r.packs, err = r.digests()
	return at, err
}

// clone makes the agent's repository. It borrows our objects, so it needs no second copy, and its pruning does not
// affect ours.
func (r *Repository) clone(ctx context.Context, baseBranch string) error {
	steps := [][]string{
		{"init", "--quiet", "--initial-branch=" + r.branch}, {"remote", "add", "origin", r.URL},
		{"update-ref", "refs/remotes/origin/" + baseBranch, r.Base},
	}
	if r.Branch != "" {
		steps = append(steps, []string{"update-ref", "refs/remotes/origin/" + r.branch, r.Branch})
	}
	for i, args := range steps {
		if _, err := r.agentGit(ctx, args...); err != nil {
			return fmt.Errorf("creating the agent's clone: %w", err)
		}
		if i > 0 {
			continue
		}
		shared := []byte(filepath.Join(r.GitDir, "objects") + "\n")
		if err := os.WriteFile(filepath.Join(r.Dir, ".git", "objects", "info", "alternates"), shared, 0o644); err != nil {
			return fmt.Errorf("creating the agent's clone: %w", err)
		}
	}
	return nil
}

// Move checks out another commit for the work to begin at. It is for a clone that no agent has touched yet.
func (r *Repository) Move(ctx context.Context, head string) error {
	if _, err := r.agentGit(ctx, "checkout", "--quiet", "--force", "-B", r.branch, head); err != nil {
		return fmt.Errorf("checking out %s: %w", r.branch, err)
	}
	r.Head = head
	base := r.mergeBase(ctx)
	var err error
	if r.files, err = r.list(ctx, head); err != nil {
		return err
	}
	r.based = r.files
	if base != head {
		if r.based, err = r.list(ctx, base); err != nil {
			return err
		}
	}
	if r.landed = nil; r.Base != base {
		if r.landed, err = r.list(ctx, r.Base); err != nil {
			return err
		}
	}
	return r.lookAround()
}

// mergeBase is where the branch left its base; with unrelated histories it is the base itself.
func (r *Repository) mergeBase(ctx context.Context) string {
	if at, err := r.line(ctx, "merge-base", r.Base, r.Head); err == nil {
		return at
	}
	return r.Base
}

// Holds says whether the commit that the work is based on has a file of that name.
func (r *Repository) Holds(path string) bool {
	_, ok := r.files[path]
	return ok
}

// Has says whether the commit is here.
func (r *Repository) Has(ctx context.Context, commit string) bool {
	if !commits.MatchString(commit) {
		return false
	}
	_, err := r.line(ctx, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

// Left names branches and the stash of the agent's clone that have commits of their own: work that is in no file.
func (r *Repository) Left(ctx context.Context) []string {
	out, err := r.agentGit(ctx, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/stash")
	if err != nil {
		return nil // no repository of the agent's, no such work
	}
	var left []string
	for line := range strings.Lines(out) {
		commit, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		if commit != r.Head && commit != r.Base && commit != r.Branch {
			left = append(left, Code(strings.TrimPrefix(ref, "refs/heads/")))
		}
	}
	return left
}
