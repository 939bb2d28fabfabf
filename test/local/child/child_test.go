package child

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it never happened: %s", what)
}

// TestMain plays the parent that is killed: with CHILD_TEST_PARENT set it starts a guarded child, says its process ids,
// and waits.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHILD_TEST_PARENT"); dir != "" {
		guard, err := NewGuard(dir)
		if err != nil {
			panic(err)
		}
		guard.Record(os.Getenv("CHILD_TEST_RECORD"))
		// Two processes, and both ignore SIGTERM.
		cmd := exec.Command("sh", "-c", "trap '' TERM; sleep 100 & echo $!; wait")
		out, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		cmd.Stdout = w
		p, err := Start(cmd, guard, syscall.SIGTERM)
		if err != nil {
			panic(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		fmt.Println(p.Pid(), strings.TrimSpace(line), guard.cmd.Process.Pid)
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

// parent starts this test binary as a parent and returns it with the ids of child, grandchild and guard.
func parent(t *testing.T, dir, record string) (p *os.Process, child, grandchild, guard int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD_TEST_PARENT="+dir, "CHILD_TEST_RECORD="+record)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscan(out, &child, &grandchild, &guard); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process, child, grandchild, guard
}

func TestAKilledParentLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "removed by the guard")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, child, grandchild, guard := parent(t, dir, filepath.Join(t.TempDir(), "record"))
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the guard has ended everything and itself", func() bool { return gone(child) && gone(grandchild) && gone(guard) })
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestEndRecordedEndsWhatAKilledGuardLeft(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	p, child, grandchild, guard := parent(t, t.TempDir(), record)
	if err := syscall.Kill(guard, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if gone(child) {
		t.Fatal("the child is gone without guard")
	}
	// An id that now belongs to somebody else, this test, is left alone.
	content, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, append(content, fmt.Sprintf("%d 1\n", os.Getpid())...), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := EndRecorded(record); n != 1 || err != nil {
		t.Errorf("%d groups ended, %v", n, err)
	}
	eventually(t, "child and grandchild are gone", func() bool { return gone(child) && gone(grandchild) })
	if n, err := EndRecorded(record); n != 0 || err != nil {
		t.Errorf("a second time: %d, %v", n, err)
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 42", 42}, {"kill -TERM $$", 143}, {"kill -KILL $$", 137}} {
		p, err := Start(exec.Command("sh", "-c", test.script), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if got := p.ExitCode(); got != test.want {
			t.Errorf("%s: code %d, want %d", test.script, got, test.want)
		}
	}
}

func TestOutputWritesWholeLines(t *testing.T) {
	var b bytes.Buffer
	o := &Output{Prefix: "echo | ", To: NewShared(&b)}
	for _, part := range []string{"one\ntw", "o\nthree"} {
		if n, err := o.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	if got, want := b.String(), "echo | one\necho | two\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
