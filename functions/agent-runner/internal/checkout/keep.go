package checkout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Kept is work to be handed to another pod.
type Kept struct {
	Commit string   // that holds it, on top of the head; "" = nothing had changed
	Pack   []byte   // the commit's objects that the server lacks
	Lost   []string // Markdown: files that did not fit
}

// Keep packs the work in at most room bytes. If that is not enough, the largest files are left out and named.
func (r *Repository) Keep(ctx context.Context, work *Work, room int64) (Kept, error) {
	k := Kept{Lost: slices.Clone(work.Large)}
	names := slices.SortedFunc(maps.Keys(work.changes), func(a, b string) int {
		return cmp.Or(cmp.Compare(work.changes[a].size, work.changes[b].size), cmp.Compare(a, b))
	})
	const perFile = 64 // of a tree's entry
	kept, used := map[string]change{}, int64(0)
	for _, name := range names {
		c := work.changes[name]
		if used += c.size + perFile; used > room {
			k.Lost = append(k.Lost, Code(name))
			continue
		}
		kept[name] = c
	}
	if len(kept) == 0 {
		return k, nil
	}
	tree, err := r.tree(ctx, kept)
	if err != nil {
		return k, err
	}
	const always = "@0 +0000" // the same work is the same commit
	k.Commit, err = r.commit(ctx, tree, r.Head, "work", "GIT_AUTHOR_DATE="+always, "GIT_COMMITTER_DATE="+always)
	if err != nil {
		return k, err
	}
	if r.packed.Commit == k.Commit {
		k.Pack = r.packed.Pack
		return k, nil
	}
	cmd := r.command(ctx, nil, "pack-objects", "--revs", "--thin", "--stdout", "--quiet")
	cmd.Stdin = bytes.NewReader([]byte(k.Commit + "\n^" + r.Head + "\n"))
	err = r.read(ctx, cmd, func(out io.Reader) error {
		k.Pack, err = io.ReadAll(io.LimitReader(out, room+1))
		return err
	})
	switch {
	case err != nil:
		return k, fmt.Errorf("packing the changed files: %w", err)
	case int64(len(k.Pack)) > room:
		return Kept{Lost: []string{"all changed files"}}, nil
	}
	r.packed = k
	return k, nil
}

// ErrOtherHistory says that the server's branches lack the commit that kept work is based on.
var ErrOtherHistory = errors.New("the branch was rewritten since")

// Restore brings kept work back into a clone that no agent has touched: at the commit that it is based on, as
// uncommitted files.
func (r *Repository) Restore(ctx context.Context, head string, k Kept) error {
	if !r.Has(ctx, head) {
		return ErrOtherHistory
	}
	if head != r.Head {
		if err := r.Move(ctx, head); err != nil {
			return err
		}
	}
	if k.Commit == "" {
		return nil
	}
	cmd := r.command(ctx, nil, "index-pack", "--stdin", "--fix-thin")
	cmd.Stdin = bytes.NewReader(k.Pack)
	if _, err := r.text(ctx, cmd); err != nil {
		return fmt.Errorf("unpacking the changed files: %w", err)
	}
	if !r.Has(ctx, k.Commit) {
		return errors.New("unpack the changed files: the commit is not among them")
	}
	if _, err := r.agentGit(ctx, "restore", "--quiet", "--source="+k.Commit, "--worktree", "--", ":/"); err != nil {
		return fmt.Errorf("restoring the changed files: %w", err)
	}
	return nil
}
