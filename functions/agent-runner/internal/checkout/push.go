package checkout

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// RunTrailer marks a run's commit, so that a restarted pod recognises work that is pushed already.
const RunTrailer = "Codexk8s-Run: "

// PushedBy finds the newest commit between base and branch that has the run's trailer, and its message.
func (r *Repository) PushedBy(ctx context.Context, runID string) (commit, message string, err error) {
	if r.Branch == "" {
		return "", "", nil
	}
	out, err := r.line(ctx, "log", "--max-count=1", "--fixed-strings", "--grep="+RunTrailer+runID, "--format=%H%n%B", r.Base+".."+r.Branch)
	if err != nil {
		return "", "", fmt.Errorf("looking for the run's commit: %w", err)
	}
	commit, message, _ = strings.Cut(out, "\n")
	return commit, message, nil
}

// Pushed lists what differs between the base and the branch as it was on the server.
func (r *Repository) Pushed() []string { return r.against(nil) }

// Errors of Push for which a person is needed.
var (
	ErrConflict = errors.New("somebody else pushed to the branch, and the changes do not fit together")
	ErrDeleted  = errors.New("the branch was deleted on the server")
)

// Push puts the commit on the server's branch, if that has not moved since the work began: in an earlier pod, it may
// be, whose work was restored on what the branch was then. If it has, the commit is redone once on top of it. It
// returns the commit that the branch is at. Errors are ErrConflict, ErrDeleted, *Refused, those of Open, or
// temporary.
func (r *Repository) Push(ctx context.Context, baseBranch, commit string) (string, error) {
	err := errMoved
	if r.Branch == "" || r.Branch == r.Head {
		err = r.pushOnce(ctx, commit, r.Branch)
	}
	if !errors.Is(err, errMoved) {
		return commit, err
	}
	now, err := r.fetch(ctx, baseBranch)
	switch {
	case err != nil:
		return "", err
	case now.Branch == "":
		return "", ErrDeleted
	}
	moved, err := r.onTop(ctx, commit, now.Branch)
	if err != nil || moved == now.Branch {
		return moved, err
	}
	if err := r.pushOnce(ctx, moved, now.Branch); err != nil {
		if errors.Is(err, errMoved) {
			return "", fmt.Errorf("%w: it moved again while we pushed", ErrConflict)
		}
		return "", err
	}
	return moved, nil
}

// pushOnce moves the branch from one commit to another; from "" makes it. The lease keeps a branch that was merged and
// deleted from coming back.
func (r *Repository) pushOnce(ctx context.Context, commit, from string) error {
	ref := "refs/heads/" + r.branch
	if _, err := r.remote(ctx, "push", "--porcelain", "--no-follow-tags", "--force-with-lease="+ref+":"+from, r.URL, commit+":"+ref); err != nil {
		return fmt.Errorf("pushing %s: %w", r.branch, err)
	}
	return nil
}

// onTop redoes a commit on top of another one, by a three-way merge of trees. It returns onto itself if that has the
// change already, as after a push whose answer was lost.
func (r *Repository) onTop(ctx context.Context, commit, onto string) (string, error) {
	if commit == onto {
		return onto, nil
	}
	if _, err := r.line(ctx, "merge-base", "--is-ancestor", commit+"^", onto); err != nil {
		return "", fmt.Errorf("%w: its history was rewritten", ErrConflict)
	}
	merged, err := r.text(ctx, r.command(ctx, nil, "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", onto, commit))
	tree, files, _ := strings.Cut(merged, "\x00")
	if err != nil {
		var both []string
		for name := range strings.FieldsFuncSeq(files, func(c rune) bool { return c == 0 }) {
			both = append(both, Code(name))
		}
		return "", fmt.Errorf("%w: both changed %s", ErrConflict, strings.Join(both, ", "))
	}
	if there, err := r.line(ctx, "rev-parse", onto+"^{tree}"); err != nil || there == tree {
		return onto, err
	}
	message, err := r.line(ctx, "log", "-1", "--format=%B", commit)
	if err != nil {
		return "", fmt.Errorf("reading the commit's message: %w", err)
	}
	return r.commit(ctx, tree, onto, message)
}
