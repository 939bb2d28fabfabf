//go:build !linux

package pg

import "syscall"

// passClosedDirectories can do nothing here; postgres will say which directory it cannot enter.
func passClosedDirectories(*syscall.SysProcAttr) {}
