package checkout

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// submodule finds out whether the checkout of a submodule is at another commit. Its files belong to another repository
// and are not taken.
func (w *walk) submodule(name string, had entry) {
	w.blind = append(w.blind, name)
	if _, err := w.root.Lstat(path.Join(name, ".git")); errors.Is(err, fs.ErrNotExist) {
		if files, err := fs.ReadDir(w.root.FS(), name); err != nil || len(files) > 0 {
			w.note("%s is a submodule that was not checked out; what was written there is not taken", Code(name))
		}
		return
	}
	at, err := w.headOf(name)
	switch {
	case err != nil:
		w.note("%s is a submodule whose commit cannot be read; it stays where it was", Code(name))
	case at != had.id:
		w.moved[name] = entry{modeSubmodule, at}
		w.note("%s is a submodule and is at %.12s now; that commit must be in its own repository, and changed files in it are not taken", Code(name), at)
	default:
		w.note("%s is a submodule; changed files in it are not taken", Code(name))
	}
}

var errNoCommit = errors.New("no commit")

// headOf reads from a nested repository's files which commit it is at (https://git-scm.com/docs/gitrepository-layout),
// without running git in it.
func (w *walk) headOf(name string) (string, error) {
	dir := path.Join(name, ".git")
	if link, err := w.small(dir); err == nil {
		to, ok := strings.CutPrefix(link, "gitdir: ")
		if !ok {
			return "", errNoCommit
		}
		dir = path.Join(name, to)
	}
	head, err := w.small(path.Join(dir, "HEAD"))
	if err != nil {
		return "", err
	}
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if symbolic {
		if head, err = w.small(path.Join(dir, ref)); err != nil {
			head = w.packedRef(dir, ref)
		}
	}
	if !commits.MatchString(head) {
		return "", errNoCommit
	}
	return head, nil
}

func (w *walk) packedRef(dir, ref string) string {
	packed, err := w.small(path.Join(dir, "packed-refs"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(packed) {
		if id, name, _ := strings.Cut(strings.TrimSpace(line), " "); name == ref {
			return id
		}
	}
	return ""
}

// small reads a file of git's own.
func (w *walk) small(name string) (string, error) {
	f, err := w.regular(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return strings.TrimSpace(string(data)), err
}

// regular opens a regular file; it neither waits for a pipe nor leaves the folder.
func (w *walk) regular(name string) (*os.File, error) {
	f, err := w.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a file")}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
