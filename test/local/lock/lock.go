// Package lock keeps a directory to one process at a time. A lock ends with the process that holds it, however it ends.
package lock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrTaken says that another process holds the lock.
var ErrTaken = errors.New("another process holds its lock")

// Take makes the file if need be and locks it, without waiting. To close the file gives the lock back.
func Take(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrTaken
	}
	return nil, fmt.Errorf("locking %s: %w", file, err)
}
