//go:build !linux

package process

import (
	"syscall"
	"time"
)

// OwnGroup gives a child a process group of its own, so that it can be ended with all it started.
func OwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// Agents' pods run Linux. Elsewhere, as on a developer's machine, processes are less isolated.
func guard() error                   { return nil }
func settle(time.Duration) error     { return nil }
func endAll(time.Duration) error     { return nil }
func Descendants(int) ([]int, error) { return nil, nil }
