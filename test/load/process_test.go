package load

import (
	"bytes"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A process is one whose processor time is measured; addr is where it listens, if it does.
type process struct {
	pid  int
	addr string
}

func (p process) url() string { return "http://" + p.addr + "/" }

func startAdapter(b *testing.B, dbURL string, broker process) process {
	b.Helper()
	const image = "ko://codexk8s.dev/functions/webhook-adapter"
	programs, err := binaries(image)
	if err != nil {
		b.Fatal(err)
	}
	return start(b, programs[image], "DATABASE_URL="+dbURL, "GITHUB_WEBHOOK_SECRETS="+secret, "K_SINK="+broker.url())
}

// startSelf starts the test's own program in a role of TestMain.
func startSelf(b *testing.B, name string) process {
	b.Helper()
	return start(b, os.Args[0], role+"="+name)
}

// start starts a program that listens on $PORT and waits until it answers.
func start(b *testing.B, path string, env ...string) process {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	logs, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer logs.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), env...), "PORT="+port)
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 1000 {
		if resp, err := http.Get("http://" + addr + "/readyz"); err == nil {
			resp.Body.Close()
			return process{cmd.Process.Pid, addr}
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatalf("%s did not become ready", path)
	return process{}
}

// postmaster is the process of Postgres whose children all its others are.
func postmaster(b *testing.B, url string) process {
	b.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var backend int
	if err := db.QueryRow(`SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		b.Fatal(err)
	}
	pid := 0
	if s := stat(backend); len(s) > 1 {
		pid, _ = strconv.Atoi(s[1])
	}
	return process{pid: pid}
}

// processorTimes are what the processes and their children, living and dead, have used, from Linux's /proc; elsewhere
// 0.
func processorTimes(b *testing.B, ps []process) []time.Duration {
	b.Helper()
	times := make([]time.Duration, len(ps))
	for i, p := range ps {
		if p.pid == os.Getpid() { // its children are the others
			times[i] = processorTime(p.pid, 2)
			continue
		}
		times[i] = processorTime(p.pid, 4)
		for _, child := range children(p.pid) {
			times[i] += processorTime(child, 4)
		}
	}
	return times
}

// processorTime sums the first n of a process's utime, stime, cutime and cstime, which count hundredths of a second.
func processorTime(pid, n int) (sum time.Duration) {
	s := stat(pid)
	if len(s) < 15 {
		return 0
	}
	for _, field := range s[11 : 11+n] {
		ticks, _ := strconv.Atoi(field)
		sum += time.Duration(ticks) * 10 * time.Millisecond
	}
	return sum
}

// stat are the fields of proc(5)'s stat from the third on, which follows the name in parentheses.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

func children(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}
