package checkout

import (
	"io/fs"
	"syscall"
)

func changedAt(info fs.FileInfo) int64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return sys.Ctim.Nano()
	}
	return 0
}
