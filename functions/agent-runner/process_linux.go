package main

import "syscall"

// ownGroup gives a child a process group of its own, so that it can be ended with all it started, and ends it when we
// are killed ourselves: outside of a container nobody else would.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
