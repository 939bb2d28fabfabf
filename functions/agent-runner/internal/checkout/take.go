package checkout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Work is what the agent made, as files.
type Work struct {
	Changed []string // paths that differ from the base, sorted; both for a rename
	New     bool     // whether anything differs from the head
	Notes   []string // Markdown, one line each: what could not be taken, and what will surprise

	// Files that are taken, and that the server must not get.
	Large   []string // larger than the limit; not taken in fact
	Filters []string // need a filter that is not here: "path (lfs)"
	Secret  []string // contain a secret that the base does not

	changes map[string]change // against the head
}

// change is a file that differs from the head's.
type change struct {
	entry
	gone bool
	size int64 // of the blob, compressed
}

// MaxFile is what GitHub takes:
// https://docs.github.com/repositories/working-with-files/managing-large-files/about-large-files-on-github
const MaxFile = 100 << 20

// Take compares the agent's files with the head's and stores the changed ones. Files above limit bytes are not read,
// only named. Errors are ErrGone, ErrTooMany, or temporary.
func (r *Repository) Take(ctx context.Context, limit int64) (*Work, error) {
	w, err := r.walk(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at the agent's files: %w", err)
	}
	defer w.close()
	var unread []string
	for name, info := range w.found {
		if at, ok := r.seen[name]; !ok || at != stampOf(info) {
			unread = append(unread, name)
		}
	}
	slices.Sort(unread)
	if r.held, err = r.attributes(ctx, unread); err != nil {
		return nil, err
	}
	work := &Work{changes: map[string]change{}}
	for _, name := range unread {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading the agent's files: %w", context.Cause(ctx))
		}
		if err := w.take(ctx, work, name, limit); err != nil {
			return nil, fmt.Errorf("taking %s: %w", Code(name), err)
		}
	}
	for name, at := range w.moved {
		work.changes[name] = change{entry: at}
	}
	for name := range r.files {
		_, found := w.found[name]
		_, moved := w.moved[name]
		if !found && !moved && !w.stays(name) {
			work.changes[name] = change{gone: true}
		}
	}
	work.New = len(work.changes) > 0
	work.Changed = r.against(work.changes)
	slices.Sort(w.notes)
	work.Notes = w.notes
	return work, nil
}

// against lists what differs from the base once the changes are made. What the base has too by now does not: what the
// branch began upon may have been merged as one commit that is not in its history.
func (r *Repository) against(changes map[string]change) []string {
	var differ []string
	add := func(name string, is change) {
		if is.differs(r.based, name) && (r.landed == nil || is.differs(r.landed, name)) {
			differ = append(differ, name)
		}
	}
	for name, c := range changes {
		add(name, c)
	}
	for name, is := range r.files {
		if _, again := changes[name]; !again {
			add(name, change{entry: is})
		}
	}
	for name := range r.based {
		_, there := r.files[name]
		if _, again := changes[name]; !there && !again {
			add(name, change{gone: true})
		}
	}
	slices.Sort(differ)
	return differ
}

// differs reports whether the file is another one in that list.
func (c change) differs(from listing, name string) bool {
	had, ok := from[name]
	return ok == c.gone || !c.gone && had != c.entry
}

// take reads one file or link, unless that was done before, and adds it to work when it has changed.
func (w *walk) take(ctx context.Context, work *Work, name string, limit int64) error {
	info := w.found[name]
	if info.Size() > limit {
		work.Large = append(work.Large, fmt.Sprintf("%s (%.1f MB)", Code(name), float64(info.Size())/(1<<20)))
		return nil
	}
	k, again := w.known[name]
	if !again || k.at != stampOf(info) || k.attributes != w.held[name] {
		var err error
		if k, err = w.readFile(ctx, name, info); err != nil {
			return err
		}
		if k.at.settled() {
			w.known[name] = k
		}
	}
	switch {
	case k.vanished:
		delete(w.found, name)
		return nil
	case k.cannot != "":
		w.cannot(name, k.cannot)
		return nil
	}
	if k.is == w.files[name] {
		return nil
	}
	work.changes[name] = change{entry: k.is, size: k.packed}
	if k.filter != "" {
		work.Filters = append(work.Filters, fmt.Sprintf("%s (%s)", Code(name), k.filter))
	}
	if len(k.secrets) > 0 || len(w.Secrets([]byte(name))) > 0 {
		work.Secret = append(work.Secret, w.Clean(Code(name)))
	}
	return nil
}

// attributes reads what .gitattributes say about the paths: values in the order of asked, one string per path.
func (r *Repository) attributes(ctx context.Context, paths []string) (map[string]string, error) {
	held := make(map[string]string, len(paths))
	if len(paths) == 0 {
		return held, nil
	}
	cmd := r.inFiles(ctx, slices.Concat([]string{"check-attr", "-z", "--stdin"}, asked)...)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	var field []string
	err := r.read(ctx, cmd, func(out io.Reader) error {
		return records(out, func(s string) error {
			if field = append(field, s); len(field) == 3 {
				held[field[0]] += field[2] + " "
				field = field[:0]
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the attributes of the changed files: %w", err)
	}
	return held, nil
}

// tree stores the head's tree with the changes. It is made from the lists in memory alone, so it contains exactly what
// was checked, whatever the agent may have written to disk.
func (r *Repository) tree(ctx context.Context, changes map[string]change) (string, error) {
	all := maps.Clone(r.files)
	for name, c := range changes {
		if c.gone {
			delete(all, name)
		} else {
			all[name] = c.entry
		}
	}
	index := filepath.Join(r.GitDir, "index")
	if err := removeAll(index); err != nil {
		return "", fmt.Errorf("beginning an index: %w", err)
	}
	environ := []string{"GIT_INDEX_FILE=" + index}
	cmd := r.command(ctx, environ, "update-index", "-z", "--index-info")
	in, out := io.Pipe()
	go func() {
		lines := bufio.NewWriter(out)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			_, _ = fmt.Fprintf(lines, "%s %s\t%s\x00", all[name].mode, all[name].id, name) // an error stays in lines
		}
		out.CloseWithError(lines.Flush())
	}()
	defer func() { _ = in.Close() }()
	cmd.Stdin = in
	// Git leaves out a name that it refuses, and that is no failure to it.
	_, said, err := r.run(ctx, cmd)
	if err == nil && strings.Contains(said, "Ignoring path") {
		err = fmt.Errorf("git refuses a name: %s", r.Clean(oneLine(said)))
	}
	if err != nil {
		return "", fmt.Errorf("storing the changed files: %w", err)
	}
	tree, err := r.text(ctx, r.command(ctx, environ, "write-tree"))
	if err != nil {
		return "", fmt.Errorf("storing the changed files: %w", err)
	}
	return strings.TrimSpace(tree), nil
}

// Commit makes a commit of the work on top of the head.
func (r *Repository) Commit(ctx context.Context, work *Work, message string) (string, error) {
	tree, err := r.tree(ctx, work.changes)
	if err != nil {
		return "", err
	}
	return r.commit(ctx, tree, r.Head, message)
}

func (r *Repository) commit(ctx context.Context, tree, parent, message string, environ ...string) (string, error) {
	cmd := r.command(ctx, environ, "commit-tree", tree, "-p", parent, "-F", "-")
	cmd.Stdin = strings.NewReader(message)
	out, err := r.text(ctx, cmd)
	if err != nil {
		return "", fmt.Errorf("commit: %w", err)
	}
	return strings.TrimSpace(out), nil
}

// modeOf is git's mode for the kind of a file.
func modeOf(info fs.FileInfo) string {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return modeLink
	case info.Mode()&0o100 != 0:
		return modeProgram
	}
	return modeFile
}
