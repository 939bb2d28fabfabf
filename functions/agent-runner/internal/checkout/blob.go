package checkout

import (
	"bytes"
	"context"
	"crypto/sha1" // the names of git's objects
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// known is a file that was read, with the result.
type known struct {
	at         stamp
	attributes string
	is         entry
	packed     int64    // size of the blob's file, 0 when the blob was here before
	vanished   bool     // removed while we looked
	cannot     string   // why it cannot be taken
	filter     string   // that should have converted the blob
	secrets    []string // that the head's file has not
}

// asked are the attributes that change what is stored: https://git-scm.com/docs/gitattributes.
var asked = []string{"text", "crlf", "eol", "working-tree-encoding", "ident", "filter"}

// conversion says what a file's attributes ask for.
type conversion struct {
	lines    bool // ends of lines
	auto     bool // and git is to find out whether it is text
	contents bool // encoding, $Id$
	filter   string
}

func conversionOf(attributes string) conversion {
	set := func(s string) bool { return s != "unspecified" && s != "unset" && s != "" }
	var c conversion
	if v := strings.Split(attributes, " "); len(v) >= len(asked) {
		c.auto = v[0] == "auto"
		c.lines = v[0] != "unset" && (set(v[0]) || set(v[1]) || set(v[2]))
		c.contents = set(v[3]) || set(v[4])
		if set(v[5]) {
			c.filter = v[5]
		}
	}
	return c
}

// readFile stores a file or link as git would.
func (w *walk) readFile(ctx context.Context, name string, info fs.FileInfo) (known, error) {
	k := known{at: stampOf(info), attributes: w.held[name], is: entry{mode: modeOf(info)}}
	var in io.Reader
	size := info.Size()
	if k.is.mode == modeLink {
		target, err := w.root.Readlink(name)
		if err != nil {
			return k.unreadable(err), nil
		}
		if reservedLink(path.Base(name)) {
			k.cannot = "is a link, which Git refuses under this name"
			return k, nil
		}
		in, size = strings.NewReader(target), int64(len(target))
	} else {
		f, err := w.regular(name)
		if err != nil {
			return k.unreadable(err), nil
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := w.store(in, size)
	switch {
	case errors.Is(err, errUnsteady):
		k.cannot = "was being written while it was read"
		return k, nil
	case err != nil:
		var failed *fs.PathError
		if errors.As(err, &failed) && failed.Op == "read" {
			return k.unreadable(err), nil
		}
		return k, err
	}
	k.is.id, k.packed = b.id, b.packed
	had := w.files[name]
	if had.id == b.id || k.is.mode == modeLink {
		return k, w.newSecrets(ctx, &k, had, b)
	}
	if err := w.convert(ctx, name, had, b, &k); err != nil || k.cannot != "" || k.is.id == had.id {
		return k, err
	}
	return k, w.newSecrets(ctx, &k, had, b)
}

func (k known) unreadable(err error) known {
	k.vanished = errors.Is(err, fs.ErrNotExist)
	k.cannot = "cannot be read: " + reason(err)
	return k
}

// convert does what attributes ask for. A file with the bytes that a checkout of the head's blob gives has not changed,
// even if a conversion would make another blob of it.
func (w *walk) convert(ctx context.Context, name string, had entry, b blob, k *known) error {
	c := conversionOf(k.attributes)
	if c.filter != "" && !b.pointer {
		switch {
		case c.filter == "lfs":
			k.filter = "Git LFS"
		case strings.Contains(c.filter, "crypt"):
			k.filter = c.filter
		}
	}
	if !c.contents && !(c.lines && b.returns) || c.auto && b.zero && !c.contents {
		return nil
	}
	if had.id != "" && had.mode != modeSubmodule {
		out := sha1.New()
		watch := &watcher{}
		cmd := w.inFiles(ctx, "cat-file", "--filters", "--path="+name, had.id)
		if err := w.read(ctx, cmd, func(from io.Reader) error { _, err := io.Copy(io.MultiWriter(out, watch), from); return err }); err == nil {
			if hex.EncodeToString(out.Sum(nil)) == b.bytes {
				k.is.id = had.id
				return nil
			}
		}
		if c.auto && !c.contents {
			stored := &watcher{}
			err := w.read(ctx, w.command(ctx, nil, "cat-file", "blob", had.id), func(from io.Reader) error { _, err := io.Copy(stored, from); return err })
			if err != nil || stored.returns {
				return err // what has such ends of lines keeps them
			}
		}
	}
	in, err := w.regular(name)
	if err != nil {
		*k = k.unreadable(err)
		return nil
	}
	defer func() { _ = in.Close() }()
	cmd := w.inFiles(ctx, "hash-object", "-w", "--stdin", "--path="+name)
	cmd.Stdin = in
	id, err := w.text(ctx, cmd)
	if err != nil {
		var g *gitError
		if errors.As(err, &g) && ctx.Err() == nil {
			k.cannot = "cannot be converted as its attributes ask: " + oneLine(fatal(g.said))
			return nil
		}
		return err
	}
	k.is.id = strings.TrimSpace(id)
	return nil
}

// fatal is git's last word, without the hints before it.
func fatal(said string) string { return said[max(0, strings.LastIndex(said, "fatal: ")):] }

func oneLine(text string) string { return strings.Join(strings.Fields(tailOf(text)), " ") }

// newSecrets keeps the secrets that the head's file does not hold already.
func (w *walk) newSecrets(ctx context.Context, k *known, had entry, b blob) error {
	if len(b.secrets) == 0 || had.id == k.is.id {
		return nil
	}
	old := &watcher{find: w.Secrets}
	if had.id != "" && had.mode != modeSubmodule {
		err := w.read(ctx, w.command(ctx, nil, "cat-file", "blob", had.id), func(from io.Reader) error { _, err := io.Copy(old, from); return err })
		if err != nil {
			return fmt.Errorf("reading what a file was: %w", err)
		}
	}
	old.end()
	for secret := range b.secrets {
		if !old.secrets[secret] {
			k.secrets = append(k.secrets, secret)
		}
	}
	return nil
}

// blob is bytes stored as an object.
type blob struct {
	id     string
	bytes  string // SHA-1 of the bytes alone
	packed int64
	watcher
}

// errUnsteady says that a file's size changed while it was read.
var errUnsteady = errors.New("the file is being written")

// store writes size bytes of in as a loose object (https://git-scm.com/docs/gitformat-loose and gitrepository-layout),
// as they pass by. git hash-object would do for one file, but not as a process for each of ten thousand.
func (w *walk) store(in io.Reader, size int64) (blob, error) {
	b := blob{watcher: watcher{find: w.Secrets}}
	temporary, err := os.CreateTemp(filepath.Join(w.GitDir, "objects"), "new-")
	if err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }() // gone when it was put in its place
	defer func() { _ = temporary.Close() }()
	packed := w.packer
	packed.Reset(temporary)
	named, plain := sha1.New(), sha1.New()
	_, err = fmt.Fprintf(io.MultiWriter(packed, named), "blob %d\x00", size)
	if err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	n, err := io.Copy(io.MultiWriter(packed, named, plain, &b.watcher), io.LimitReader(in, size+1))
	if err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	if n != size {
		return b, errUnsteady
	}
	b.end()
	if err := errors.Join(packed.Close(), temporary.Chmod(0o444)); err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	b.id, b.bytes = hex.EncodeToString(named.Sum(nil)), hex.EncodeToString(plain.Sum(nil))
	b.pointer = size < maxPointer && bytes.HasPrefix(b.window, []byte(pointerStart))
	if b.packed, err = temporary.Seek(0, io.SeekEnd); err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	folder := filepath.Join(w.GitDir, "objects", b.id[:2])
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	if err := os.Rename(temporary.Name(), filepath.Join(folder, b.id[2:])); err != nil {
		return b, fmt.Errorf("storing a file: %w", err)
	}
	return b, nil
}

// A Git LFS pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
const (
	pointerStart = "version https://git-lfs.github.com/spec/v1\n"
	maxPointer   = 1024
)

// watcher looks at bytes that pass by.
type watcher struct {
	find    func([]byte) []string
	secrets map[string]bool
	returns bool // there is "\r\n"
	zero    bool // there is a zero byte where git looks for one
	pointer bool // the whole is a Git LFS pointer

	seen   int64
	window []byte // the end of what passed by
}

// overlap is longer than any secret; looksAt is where git looks for a zero byte.
const (
	overlap = 4 << 10
	looksAt = 8000
)

func (w *watcher) Write(p []byte) (int, error) {
	if room := looksAt - w.seen; room > 0 && bytes.IndexByte(p[:min(room, int64(len(p)))], 0) >= 0 {
		w.zero = true
	}
	w.seen += int64(len(p))
	w.window = append(w.window, p...)
	w.returns = w.returns || bytes.Contains(w.window, []byte("\r\n"))
	w.look(false)
	if over := len(w.window) - overlap; over > 0 {
		w.window = append(w.window[:0], w.window[over:]...)
	}
	return len(p), nil
}

// end looks at what stands last.
func (w *watcher) end() { w.look(true) }

// look finds secrets in the window; one at its end may continue.
func (w *watcher) look(end bool) {
	if w.find == nil {
		return
	}
	for _, s := range w.find(w.window) {
		if !end && bytes.HasSuffix(w.window, []byte(s)) {
			continue
		}
		if w.secrets == nil {
			w.secrets = map[string]bool{}
		}
		w.secrets[s] = true
	}
}
