package checkout

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"syscall"
)

// Refs of our own directory. They keep the negotiation of a second fetch short.
const (
	keptBase   = "refs/kept/base"
	keptBranch = "refs/kept/branch"
)

// Renew keeps only the packs that the server sent, byte for byte, in our own directory, and rewrites settings and refs.
// The agent runs under our user id, so it could have put anything there: a setting that starts a program, an object
// under another's name. It is called when the agent's processes have ended, before git runs again.
func (r *Repository) Renew() error {
	// What was stored while the agent worked is removed too, and read again.
	clear(r.known)
	objects := filepath.Join(r.GitDir, "objects")
	for _, folder := range []struct {
		path string
		keep func(name string) bool
	}{
		{r.GitDir, func(name string) bool { return name == "objects" }},
		{objects, func(name string) bool { return name == "pack" }},
		{filepath.Join(objects, "pack"), func(name string) bool { _, ok := r.packs[name]; return ok }},
	} {
		if err := empty(folder.path, folder.keep); err != nil {
			return err
		}
	}
	there, err := r.digests()
	if err != nil {
		return err
	}
	if !maps.Equal(there, r.packs) {
		return errAltered
	}
	err = os.Mkdir(filepath.Join(r.GitDir, "refs"), 0o755)
	refs := "# pack-refs with:\n"
	for _, name := range []string{keptBase, keptBranch} {
		if commit := r.refs[name]; commit != "" {
			refs += commit + " " + name + "\n"
		}
	}
	for name, content := range map[string]string{
		"HEAD": "ref: refs/heads/none\n", "config": "[core]\n\trepositoryformatversion = 0\n", "packed-refs": refs,
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(r.GitDir, name), []byte(content), 0o644))
	}
	if err != nil {
		return fmt.Errorf("setting the git directory up: %w", err)
	}
	return nil
}

// errAltered says that the agent changed our directory. Another pod begins from what the server has.
var errAltered = errors.New("the git directory of the platform was altered while the agent worked")

// empty makes dir a folder with nothing but what keep names.
func empty(dir string, keep func(name string) bool) error {
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return errAltered
	}
	there, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		err = os.Mkdir(dir, 0o755)
	}
	for _, entry := range there {
		if !keep(entry.Name()) {
			err = errors.Join(err, removeAll(filepath.Join(dir, entry.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("setting the git directory up: %w", err)
	}
	return nil
}

// digest is the SHA-256 of a file.
type digest = [sha256.Size]byte

// digests reads all packs and their indexes.
func (r *Repository) digests() (map[string]digest, error) {
	all := map[string]digest{}
	files, err := filepath.Glob(filepath.Join(r.GitDir, "objects", "pack", "pack-*"))
	if err != nil {
		return nil, fmt.Errorf("listing the packs: %w", err)
	}
	for _, path := range files {
		if ext := filepath.Ext(path); ext != ".pack" && ext != ".idx" {
			continue // made of these two
		}
		if all[filepath.Base(path)], err = digestOf(path); err != nil {
			return nil, fmt.Errorf("reading a pack: %w", err)
		}
	}
	return all, nil
}

func digestOf(path string) (sum digest, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return digest(h.Sum(nil)), nil
}
