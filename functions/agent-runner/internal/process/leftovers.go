package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// endTimeout is how long the agent's processes may take to settle, and to die: as long as the kernel needs to free
// their memory.
const endTimeout = 10 * time.Second

// EndAgent ends every process that the agent left running: a server, a watcher, whatever it forgot or hid. The agent's
// work is the files below dir as they were when it finished, so files that such a process made since are removed,
// except those that keep names.
func EndAgent(dir string, keep func(path string) bool) error {
	left, err := Descendants(os.Getpid())
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	finished, err := fileClock(filepath.Dir(dir))
	if err != nil {
		return err
	}
	if err := settle(endTimeout); err != nil {
		return err
	}
	if err := endAll(endTimeout); err != nil {
		return err
	}
	return removeNewer(dir, finished, keep)
}

// fileClock is the time by the clock that stamps files, which lags some milliseconds behind others. A file of a new
// name says it: behind a known one the agent could have put a pipe.
func fileClock(dir string) (time.Time, error) {
	f, err := os.CreateTemp(dir, ".finished-")
	if err != nil {
		return time.Time{}, fmt.Errorf("noting the end of the engine: %w", err)
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return time.Time{}, fmt.Errorf("noting the end of the engine: %w", err)
	}
	return info.ModTime(), nil
}

// removeNewer removes the files that were written after that time, except those that keep names. Paths are relative to
// dir. A file that cannot be looked at stays.
func removeNewer(dir string, than time.Time, keep func(path string) bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the workspace: %w", err)
	}
	defer func() { _ = root.Close() }()
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // as the comment says
		}
		name, relErr := filepath.Rel(dir, path)
		info, infoErr := d.Info()
		switch {
		case relErr != nil || infoErr != nil:
			return nil //nolint:nilerr // as the comment says
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir() || !info.ModTime().After(than) || keep(name):
			return nil
		}
		return root.Remove(name)
	})
}
