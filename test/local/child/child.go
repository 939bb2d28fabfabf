// Package child starts processes that do not outlive the one that started them.
//
// A child is the leader of a process group of its own, so stopping it stops what it started as well, and a Ctrl-C in
// the terminal reaches only the parent, which then stops its children in the order it wants.
//
// A parent that is killed cannot stop anything. So each child is entered at a Guard: a small shell that reads the
// parent's pipe, and when the pipe closes, for whatever reason, ends every group still entered. Linux's parent death
// signal would not do: it reaches the child but not the child's children, and other systems have none.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Process is a started child. Its methods may be called from any goroutine, also after it has ended.
type Process struct {
	cmd   *exec.Cmd
	guard *Guard
	done  chan struct{}
	err   error // of Wait; read only after done is closed
}

// Start starts cmd in a process group of its own and enters it at the guard, which ends the group with SIGKILL, or with
// last first when that is not zero, should this process die. A nil guard guards nothing.
func Start(cmd *exec.Cmd, guard *Guard, last syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	// A grandchild may hold the output pipe open; do not wait for it longer than this once the child has ended.
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = 2 * time.Second
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, guard: guard, done: make(chan struct{})}
	guard.add(p.Pid(), last)
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	// The leader is gone, its children may not be. Nothing of the group is allowed to stay.
	_ = p.Signal(syscall.SIGKILL)
	p.guard.remove(p.Pid())
	close(p.done)
}

// Pid is the process id, and the id of its process group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit code of an ended process as a container runtime reports it: 128 + n for one that was ended by
// signal n, -1 for one that is still running.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
	default:
		return -1
	}
	state := p.cmd.ProcessState
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Signal sends s to the whole process group. A group that is gone is no error.
func (p *Process) Signal(s syscall.Signal) error {
	err := syscall.Kill(-p.Pid(), s)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Stop sends first to the group, waits up to grace for the process to end, then sends SIGKILL, and returns when the
// process is gone. It may be called on a process that has ended.
func (p *Process) Stop(first syscall.Signal, grace time.Duration) {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.Signal(first)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// Guard ends the entered process groups when this process ends without having done so itself. The zero value is not
// usable; a nil *Guard guards nothing.
type Guard struct {
	mu     sync.Mutex
	pipe   *os.File
	cmd    *exec.Cmd
	record *record
}

// Record makes the guard keep the entered groups in a file as well, for EndRecorded. Call it before the first Start.
func (g *Guard) Record(file string) { g.record = &record{file: file, pids: map[int]string{}} }

// guardScript reads "add SIGNAL PGID" and "del PGID" until its input ends. Then it sends each group its signal, gives
// them five seconds, kills what is left, and removes the directory $1, when it is not empty. A shell, because a second
// copy of this program would cost more to start and would need a main of its own. "kill -s" because some shells take no
// "--" after "kill -9".
const guardScript = `
groups=
while read -r op sig id; do
  case $op in
  add) groups="$groups $sig:$id" ;;
  del)
    kept=
    for g in $groups; do
      [ "${g#*:}" = "$id" ] || kept="$kept $g"
    done
    groups=$kept ;;
  end) exit 0 ;;
  esac
done
for g in $groups; do kill -s "${g%%:*}" -- "-${g#*:}" 2>/dev/null; done
n=0
while [ $n -lt 50 ]; do
  left=
  for g in $groups; do kill -s 0 -- "-${g#*:}" 2>/dev/null && left=1; done
  [ -n "$left" ] || break
  n=$((n+1)); sleep 0.1
done
for g in $groups; do kill -s KILL -- "-${g#*:}" 2>/dev/null; done
[ -z "$1" ] || rm -rf -- "$1"
`

// NewGuard starts a guard. When this process dies without Close, the guard also removes the directory remove, unless
// that is empty.
func NewGuard(remove string) (*Guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening the guard's pipe: %w", err)
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", remove)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C in the terminal must not end the guard first
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("starting the guard of child processes: %w", err)
	}
	return &Guard{pipe: w, cmd: cmd}, nil
}

// Close ends the guard. Groups that are still entered are left alone, so stop them first.
func (g *Guard) Close() {
	if g == nil {
		return
	}
	g.send("end\n", func(*record) {})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe != nil {
		_ = g.pipe.Close()
		g.pipe = nil
		_ = g.cmd.Wait()
	}
}

func (g *Guard) add(pid int, s syscall.Signal) {
	if s == 0 {
		s = syscall.SIGKILL
	}
	g.send(fmt.Sprintf("add %d %d\n", int(s), pid), func(r *record) { r.add(pid) })
}

func (g *Guard) remove(pid int) {
	g.send(fmt.Sprintf("del - %d\n", pid), func(r *record) { r.remove(pid) })
}

// send writes one line, and notes it. A guard that somebody has killed guards nothing more, which is no reason to fail
// here.
func (g *Guard) send(line string, note func(*record)) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	note(g.record)
	if g.pipe != nil {
		_, _ = g.pipe.WriteString(line)
	}
}
