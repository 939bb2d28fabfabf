// Package build makes the binaries of our programs, all in one go command, so that the packages they share are compiled
// once. The result is kept where the go command's own cache makes a second call cost a fraction of a second.
package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Images builds the main packages with these import paths into dir and returns their paths by image, ko://<import
// path>. The build runs in module, the directory of a Go module or one below it. race adds the race detector.
func Images(ctx context.Context, module, dir string, importPaths []string, race bool) (map[string]string, error) {
	if len(importPaths) == 0 {
		return map[string]string{}, nil
	}
	// go build takes -o <directory>/ for several packages and names each binary for the last element of its path.
	if race {
		dir = filepath.Join(dir, "race")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the binaries: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the directory of the binaries: %w", err)
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, importPaths...)...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("building the functions: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("building the functions: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return Prebuilt(dir, importPaths)
}

// Prebuilt returns the paths, by image, of binaries that are already in dir under the last elements of their import
// paths.
func Prebuilt(dir string, importPaths []string) (map[string]string, error) {
	binaries := map[string]string{}
	byName := map[string]string{}
	for _, importPath := range importPaths {
		name := path.Base(importPath)
		if other, ok := byName[name]; ok {
			return nil, fmt.Errorf("programs %s and %s would have the same binary %s", other, importPath, name)
		}
		byName[name] = importPath
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("looking for the binary of %s: %w", importPath, err)
		}
		binaries["ko://"+importPath] = file
	}
	return binaries, nil
}
