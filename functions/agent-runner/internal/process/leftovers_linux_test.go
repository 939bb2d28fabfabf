package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The agent may write beside its folder too: no pipe there is waited for, and nothing of ours stays.
func TestNoPipeHoldsTheEndUp(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "work")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+".finished", 0o600); err != nil {
		t.Fatal(err)
	}
	left := exec.Command("sleep", "600")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	if err := EndAgent(dir, func(string) bool { return true }); err != nil {
		t.Error(err)
	}
	there, err := os.ReadDir(parent)
	if err != nil || len(there) != 2 {
		t.Errorf("there is %v, %v", there, err)
	}
}
