// Package process confines the agent's processes. They run as the same user as this program and are not trusted: they
// can read neither its memory (guard) nor the run token (TakeToken), and none outlives the agent's work (EndAgent).
package process

import (
	"context"
	"syscall"
	"time"
)

// Stop asks the process to end when ctx does, and kills it after a while. The CLI saves its rollout as it goes, so
// SIGTERM loses nothing.
func Stop(ctx context.Context, pid int, finished <-chan struct{}) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	_ = syscall.Kill(pid, syscall.SIGTERM) // an error means it is gone, which is what we want
	select {
	case <-finished:
	case <-time.After(5 * time.Second):
		Kill(pid)
	}
}

// Kill ends the group of a process that was started with OwnGroup.
func Kill(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
