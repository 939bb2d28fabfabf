package pg

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server runs as when this process is root. A nil account is this process's own user, for
// whom nothing has to be done.
type account struct {
	uid, gid uint32
}

// serverAccount returns nil for an ordinary user, and for root the user `postgres` if there is one, else `nobody`.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading the user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading the group id of %s: %w", name, err)
		}
		return &account{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("postgres refuses to run as root and there is neither a user postgres nor a user nobody: run as an ordinary user")
}

// take gives one file or directory to the account.
func (a *account) take(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("giving %s to the user that runs postgres: %w", path, err)
	}
	return nil
}

// attributes returns what makes a command run as the account. The account must reach the given directories; where a
// directory above one of them is closed to others, as that of a test's temporary directory is, the process gets the
// right to pass it.
func (a *account) attributes(reach ...string) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if a == nil {
		return attr
	}
	attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	for _, path := range reach {
		if !openAbove(path) {
			passClosedDirectories(attr)
			break
		}
	}
	return attr
}

// openAbove reports whether every directory above path may be passed by everybody.
func openAbove(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
