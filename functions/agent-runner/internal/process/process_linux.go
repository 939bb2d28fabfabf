package process

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OwnGroup gives a child its own process group, so that it can be ended with everything it started, and ends it if we
// are killed: outside a container nobody else would.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// guard closes this process to others of its user: they can neither trace it nor read its memory, environment or open
// files (https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html). And it makes this process the parent of
// every orphan among its Descendants, so that endAll sees them all.
func guard() error {
	return errors.Join(unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0), unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// endAll kills every descendant of this process and returns when none is left: a command of the agent may have left its
// process group (setsid) or its parent. Nothing else may wait for a child meanwhile. It fails if some are left after
// patience.
func endAll(patience time.Duration) error {
	self, gone := os.Getpid(), 0
	// They are gone when two looks in a row see none: one may miss a child of a process that is just ending.
	for limit := time.Now().Add(patience); gone < 2; time.Sleep(5 * time.Millisecond) {
		if self == 1 {
			_ = syscall.Kill(-1, syscall.SIGKILL) // all of the container at once, so none can fork away
		}
		left, err := Descendants(self)
		if err != nil {
			return err
		}
		if gone++; len(left) > 0 {
			gone = 0
		}
		if len(left) > 0 && time.Now().After(limit) {
			return fmt.Errorf("%d processes of the agent cannot be ended: %v", len(left), left)
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // an error means it is gone, which is what we want
		}
		for _, pid := range left {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // ours or an orphan; otherwise its parent reaps it
		}
	}
	return nil
}

// Descendants lists all processes below one, including zombies.
func Descendants(of int) ([]int, error) {
	all, err := below(of)
	return slices.Collect(maps.Keys(all)), err
}

// stat is what a look at a process shows.
type stat struct {
	parent       int
	state        byte   // R running or waiting for a processor, D waiting for a disk, S asleep, T stopped, Z dead
	user, system string // time that it was given, in ticks
}

func below(of int) (map[int]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	all, children := map[int]stat{}, map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := look(pid); ok {
			all[pid] = s
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	found := map[int]stat{}
	for next := children[of]; len(next) > 0; next = next[1:] {
		found[next[0]] = all[next[0]]
		next = append(next, children[next[0]]...)
	}
	return found, nil
}

// look reads a process' line: pid (name) state parent …; the name may have spaces and parentheses
// (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func look(pid int) (stat, bool) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false // it has ended
	}
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 13 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return stat{parent, fields[0][0], string(fields[11]), string(fields[12])}, err == nil
}

// settle gives processes that outlive the agent time to remove their temporary files. It counts their turns on the CPU,
// because on a busy machine any fixed time may be too short. most bounds it.
func settle(most time.Duration) error {
	const turns, apart = 25, 20 * time.Millisecond
	was := map[int]stat{}
	for taken, limit := 0, time.Now().Add(most); taken < turns && time.Now().Before(limit); time.Sleep(apart) {
		now, err := below(os.Getpid())
		if err != nil {
			return err
		}
		if hadTurn(was, now) {
			taken++
		}
		was = now
	}
	return nil
}

// hadTurn says whether some process ran between two looks, or none is waiting to.
func hadTurn(was, now map[int]stat) bool {
	return !maps.Equal(was, now) || !slices.ContainsFunc(slices.Collect(maps.Values(now)), func(s stat) bool { return s.state == 'R' || s.state == 'D' })
}
