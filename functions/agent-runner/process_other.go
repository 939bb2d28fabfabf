//go:build !linux

package main

import "syscall"

// ownGroup gives a child a process group of its own, so that it can be ended with all it started.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
