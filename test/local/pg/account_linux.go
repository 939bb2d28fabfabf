package pg

import "syscall"

// capDACReadSearch is CAP_DAC_READ_SEARCH of capabilities(7): pass and read directories whatever their permissions.
const capDACReadSearch = 2

func passClosedDirectories(attr *syscall.SysProcAttr) {
	attr.AmbientCaps = []uintptr{capDACReadSearch}
}
