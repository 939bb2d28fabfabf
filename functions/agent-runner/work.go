package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// runTrailer marks the commit of a run, so that a restarted pod recognises that its work is pushed already.
const runTrailer = "Codexk8s-Run: "

// tree stores all files of the work tree as they are, ignored ones excepted, and returns the id of that tree. It uses
// an index of our own, so neither what the agent staged nor flags it set on files (skip-worktree) matter.
func (r *repository) tree(ctx context.Context, head string) (string, error) {
	index := []string{"GIT_INDEX_FILE=" + r.index}
	if _, err := os.Stat(r.index); errors.Is(err, os.ErrNotExist) {
		if _, err := r.gitWith(ctx, nil, index, "read-tree", head); err != nil {
			return "", fmt.Errorf("begin an index: %w", err)
		}
	}
	if _, err := r.gitWith(ctx, nil, index, "add", "--all", "."); err != nil {
		return "", fmt.Errorf("collect the changed files: %w", err)
	}
	tree, err := r.gitWith(ctx, nil, index, "write-tree")
	if err != nil {
		return "", fmt.Errorf("store the changed files: %w", err)
	}
	return strings.TrimSpace(tree), nil
}

// patch is the difference between the commit and the work tree, binary files included.
func (r *repository) patch(ctx context.Context, head string) ([]byte, error) {
	tree, err := r.tree(ctx, head)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", head, tree)
	if err != nil {
		return nil, fmt.Errorf("compare the changed files: %w", err)
	}
	return []byte(out), nil
}

// apply brings a patch back into a clean work tree that is at the commit the patch was made from.
func (r *repository) apply(ctx context.Context, patch []byte) error {
	if len(patch) == 0 {
		return nil
	}
	if _, err := r.gitWith(ctx, strings.NewReader(string(patch)), nil, "apply", "--whitespace=nowarn", "-"); err != nil {
		return fmt.Errorf("restore the changed files: %w", err)
	}
	return nil
}

// changed lists the paths that differ between two commits or trees. A rename counts as both of its paths.
func (r *repository) changed(ctx context.Context, from, to string) ([]string, error) {
	out, err := r.git(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", from, to)
	if err != nil {
		return nil, fmt.Errorf("list the changed files: %w", err)
	}
	return strings.FieldsFunc(out, func(c rune) bool { return c == 0 }), nil
}

// mergeBase is where the branch left its base; with unrelated histories it is the base itself.
func (r *repository) mergeBase(ctx context.Context, base, head string) string {
	if at, err := r.line(ctx, "merge-base", base, head); err == nil {
		return at
	}
	return base
}

// treeOf returns the id of a commit's tree.
func (r *repository) treeOf(ctx context.Context, commit string) (string, error) {
	return r.line(ctx, "rev-parse", commit+"^{tree}")
}

// commit makes a commit of the tree on top of parent, without touching work tree, index or branch.
func (r *repository) commit(ctx context.Context, tree, parent, message string) (string, error) {
	out, err := r.gitWith(ctx, strings.NewReader(message), nil, "commit-tree", tree, "-p", parent, "-F", "-")
	if err != nil {
		return "", fmt.Errorf("commit: %w", err)
	}
	return strings.TrimSpace(out), nil
}

// pushedBy finds the newest commit between base and branch that carries the run's trailer, and the message it has.
func (r *repository) pushedBy(ctx context.Context, c checkedOut, runID string) (commit, message string, err error) {
	if c.branch == "" {
		return "", "", nil
	}
	out, err := r.git(ctx, "log", "--max-count=1", "--fixed-strings", "--grep="+runTrailer+runID, "--format=%H%n%B", c.base+".."+c.branch)
	if err != nil {
		return "", "", fmt.Errorf("look for the run's commit: %w", err)
	}
	commit, message, _ = strings.Cut(strings.TrimSpace(out), "\n")
	return commit, message, nil
}

// Push errors that trying again does not help.
var (
	errPushConflict = errors.New("somebody else pushed to the branch, and the changes do not fit together")
	errPushRejected = errors.New("the server refused the push")
)

// push puts the commit on the server's branch. When the branch has moved meanwhile, the commit is redone once on top of
// what is there. It returns the commit that the branch is at.
func (r *repository) push(ctx context.Context, baseBranch, branch, commit string) (string, error) {
	err := r.pushOnce(ctx, branch, commit)
	if !errors.Is(err, errMoved) {
		return commit, err
	}
	var now checkedOut
	if err := r.fetch(ctx, baseBranch, branch, &now); err != nil {
		return "", err
	}
	if now.branch == "" {
		return "", fmt.Errorf("%w: the branch is gone", errPushConflict)
	}
	moved, err := r.onTop(ctx, commit, now.branch)
	if err != nil || moved == now.branch {
		return moved, err
	}
	if err := r.pushOnce(ctx, branch, moved); err != nil {
		if errors.Is(err, errMoved) {
			return "", fmt.Errorf("%w: it moved again while we pushed", errPushConflict)
		}
		return "", err
	}
	return moved, nil
}

// errMoved says that the server's branch is not where our commit begins.
var errMoved = errors.New("the branch has moved")

func (r *repository) pushOnce(ctx context.Context, branch, commit string) error {
	_, err := r.remote(ctx, "push", "--porcelain", r.url, commit+":refs/heads/"+branch)
	var g *gitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &g) || transientGit(err):
		return fmt.Errorf("push %s: %w", branch, err)
	case strings.Contains(g.output, "[rejected]"):
		return errMoved
	case strings.Contains(g.output, "[remote rejected]"):
		return fmt.Errorf("%w: %s", errPushRejected, strings.TrimSpace(g.output))
	}
	return fmt.Errorf("push %s: %w", branch, err)
}

// onTop redoes a commit on top of another one, by a three-way merge of trees. It returns onto itself when that holds
// the change already, as after a push whose answer was lost.
func (r *repository) onTop(ctx context.Context, commit, onto string) (string, error) {
	if _, err := r.git(ctx, "merge-base", "--is-ancestor", commit+"^", onto); err != nil {
		return "", fmt.Errorf("%w: its history was rewritten", errPushConflict)
	}
	tree, err := r.line(ctx, "merge-tree", "--write-tree", onto, commit)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPushConflict, err)
	}
	if there, err := r.treeOf(ctx, onto); err != nil || there == tree {
		return onto, err
	}
	message, err := r.git(ctx, "log", "-1", "--format=%B", commit)
	if err != nil {
		return "", fmt.Errorf("read the commit's message: %w", err)
	}
	return r.commit(ctx, tree, onto, message)
}
