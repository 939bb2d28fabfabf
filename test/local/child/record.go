package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// record keeps the entered groups in a file, for the case that the guard was killed as well. A process id alone would
// not do, it may belong to somebody else by then; with the time of its start it cannot.
type record struct {
	file string
	pids map[int]string // start time by process id
}

func (r *record) add(pid int) {
	if r == nil {
		return
	}
	if at := startTime(pid); at != "" {
		r.pids[pid] = at
		r.write()
	}
}

func (r *record) remove(pid int) {
	if r == nil {
		return
	}
	if _, ok := r.pids[pid]; ok {
		delete(r.pids, pid)
		r.write()
	}
}

// write replaces the file. It is the second line of defence, so a full disk is no reason to fail.
func (r *record) write() {
	var b strings.Builder
	for pid, at := range r.pids {
		fmt.Fprintln(&b, pid, at)
	}
	if os.WriteFile(r.file+".new", []byte(b.String()), 0o600) == nil {
		_ = os.Rename(r.file+".new", r.file)
	}
}

// EndRecorded ends the process groups that a file written by a Guard still holds, and returns how many there were. The
// caller must know that the process that wrote it is gone.
func EndRecorded(file string) (int, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the record of child processes: %w", err)
	}
	ended := 0
	for line := range strings.Lines(string(content)) {
		id, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(id)
		if err != nil || pid < 2 || startTime(pid) != at {
			continue
		}
		if syscall.Kill(-pid, syscall.SIGKILL) == nil {
			ended++
		}
	}
	if err := os.Remove(file); err != nil {
		return ended, fmt.Errorf("removing the record of child processes: %w", err)
	}
	return ended, nil
}

// startTime is field 22 of /proc/<pid>/stat, in clock ticks since the machine started; empty for a process that is
// gone, and on systems without /proc, which rely on the guard alone.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// Field 2 is the program's name in parentheses and may itself hold anything.
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return ""
	}
	return fields[19]
}
