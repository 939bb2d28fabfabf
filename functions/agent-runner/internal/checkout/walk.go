package checkout

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// maxNew bounds the files that are not in the base. More means that a folder should have been ignored.
const maxNew = 50_000

// lookAround records what the files look like just after they were checked out.
func (r *Repository) lookAround() error {
	r.seen = make(map[string]stamp, len(r.files))
	for name := range r.files {
		info, err := os.Lstat(filepath.Join(r.Dir, name))
		if err != nil {
			return fmt.Errorf("looking at the checked out files: %w", err)
		}
		if !info.IsDir() {
			r.seen[name] = stampOf(info)
		}
	}
	return nil
}

// walk finds the files of the agent's folder: those of the head, and new ones that are not ignored. It uses the
// folder's handle, so that a link that appears meanwhile leads nowhere else.
type walk struct {
	*Repository
	root    *os.Root
	ignored *ignored
	folders map[string]bool // that hold files of the head

	found map[string]fs.FileInfo // files and links
	blind []string               // paths that could not be looked at; what the head has there stays
	moved map[string]entry       // submodules that are at another commit
	fresh int                    // how many of found are new
	notes []string
}

// ErrGone says that the agent's folder is gone.
var ErrGone = errors.New("the agent removed the folder that it works in")

// ErrTooMany says that there are more new files than anybody would push.
var ErrTooMany = fmt.Errorf("more than %d new files", maxNew)

func (r *Repository) walk(ctx context.Context) (*walk, error) {
	info, err := os.Lstat(r.Dir)
	if err != nil || !info.IsDir() {
		return nil, ErrGone
	}
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	w := &walk{Repository: r, root: root, folders: map[string]bool{"": true}, found: map[string]fs.FileInfo{}, moved: map[string]entry{}}
	for name := range r.files {
		for dir := path.Dir(name); dir != "." && !w.folders[dir]; dir = path.Dir(dir) {
			w.folders[dir] = true
		}
	}
	if w.ignored, err = r.startIgnored(ctx); err != nil {
		w.close()
		return nil, err
	}
	if err := w.folder(""); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *walk) close() {
	if w.ignored != nil {
		w.ignored.close()
	}
	_ = w.root.Close()
}

func (w *walk) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// cannot records a path that stays as it was.
func (w *walk) cannot(name string, why any) {
	w.blind = append(w.blind, name)
	w.note("%s %v", Code(name), why)
}

// atOnce is how many names of a folder are looked at together.
const atOnce = 1000

// folder looks at everything in dir, a path relative to the root, "" for itself.
func (w *walk) folder(dir string) error {
	w.unblock(dir)
	opened, err := w.root.OpenFile(path.Join(".", dir), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		w.cannot(path.Join(".", dir), "cannot be read: "+reason(err))
		return nil
	}
	defer func() { _ = opened.Close() }()
	for {
		some, err := opened.ReadDir(atOnce)
		if err := w.entries(dir, some); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			w.cannot(path.Join(".", dir), "cannot be read: "+reason(err))
			return nil
		}
	}
}

// unblock removes from dir what git would read and wait for: it opens these two as soon as it is asked about anything
// beside them.
func (w *walk) unblock(dir string) {
	for _, file := range []string{".gitignore", ".gitattributes"} {
		name := path.Join(dir, file)
		if info, err := w.root.Lstat(name); err == nil && odd(info) {
			_ = w.root.Remove(name)
			w.cannot(name, isOdd)
		}
	}
}

// reason is a system call's error without the path, which is named already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func (w *walk) entries(dir string, some []os.DirEntry) error {
	var ask []string
	infos := map[string]fs.FileInfo{}
	for _, e := range some {
		name := path.Join(dir, e.Name())
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case e.Name() == ".git":
			if dir != "" {
				w.note("%s is a repository of its own; its files are taken, its history is not", Code(dir))
			}
			continue
		case reserved(e.Name()):
			w.cannot(name, "has a name that Git refuses")
			continue
		case len(name) > maxPath:
			w.cannot(name[:100]+"…", "has a path that is too long")
			continue
		case err != nil:
			w.cannot(name, "cannot be read: "+reason(err))
			continue
		}
		infos[name] = info
		if _, tracked := w.files[name]; !tracked && !w.folders[name] {
			ask = append(ask, name)
		}
	}
	ignored, err := w.ignored.among(ask)
	if err != nil {
		return err
	}
	for name, info := range infos {
		if !ignored[name] {
			if err := w.entry(name, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOdd says why something is not taken. None of these is ever opened: who opens a pipe waits for its other end.
const isOdd = "is a pipe, a socket or a device"

func odd(info fs.FileInfo) bool {
	return !info.IsDir() && !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0
}

func (w *walk) entry(name string, info fs.FileInfo) error {
	had, tracked := w.files[name]
	switch {
	case info.IsDir() && tracked && had.mode == modeSubmodule:
		w.submodule(name, had)
		return nil
	case info.IsDir():
		return w.folder(name)
	case odd(info):
		w.cannot(name, isOdd)
		return nil
	case !tracked:
		if w.fresh++; w.fresh > maxNew {
			return fmt.Errorf("%w, the last one seen is %s", ErrTooMany, Code(name))
		}
	}
	w.found[name] = info
	return nil
}

// stays says whether the head's file at name could not be looked at.
func (w *walk) stays(name string) bool {
	for _, b := range w.blind {
		if rest, ok := strings.CutPrefix(name, b); b == "." || ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// ignored is a git process that knows which files are ignored.
type ignored struct {
	r    *Repository
	ctx  context.Context
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said ending
}

func (r *Repository) startIgnored(ctx context.Context) (*ignored, error) {
	g := &ignored{r: r, ctx: ctx, cmd: r.inFiles(ctx, "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n")}
	g.cmd.Stderr = &g.said
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting git: %w", err)
	}
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting git: %w", err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting git: %w", err)
	}
	g.out = bufio.NewReader(out)
	return g, nil
}

// among returns which of the paths are ignored. git answers each with four fields: file, line and text of the pattern
// that decided, empty when there is none, and the path.
func (g *ignored) among(paths []string) (map[string]bool, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	go func() { // while reading, because both pipes are short; an error shows there
		var all bytes.Buffer
		for _, p := range paths {
			all.WriteString("./" + p + "\x00") // a leading ":" would be magic
		}
		_, _ = g.in.Write(all.Bytes())
	}()
	yes := map[string]bool{}
	for range paths {
		var fields [4]string
		for i := range fields {
			field, err := g.out.ReadString(0)
			if err != nil {
				g.close()
				return nil, fmt.Errorf("finding ignored files: %w", g.r.failed(g.ctx, g.cmd, g.said.String(), "", err))
			}
			fields[i] = field[:len(field)-1]
		}
		if fields[2] != "" && !strings.HasPrefix(fields[2], "!") {
			yes[strings.TrimPrefix(fields[3], "./")] = true
		}
	}
	return yes, nil
}

func (g *ignored) close() {
	_ = g.in.Close()
	_ = g.cmd.Wait() // its answers are known
}
