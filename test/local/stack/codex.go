package stack

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// FindCodex returns the path of the Codex CLI: CODEX_BIN, else the one of test/package.json, else the one in PATH.
// Empty means that there is none.
func FindCodex() (string, error) {
	if path := os.Getenv("CODEX_BIN"); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("looking for CODEX_BIN: %w", err)
		}
		return filepath.Abs(found)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	packages, err := filepath.Glob(filepath.Join(root, "test", "node_modules", "@openai", "codex*", "vendor"))
	if err != nil {
		return "", fmt.Errorf("looking for the Codex CLI: %w", err)
	}
	for _, vendor := range packages {
		if path := findProgram(vendor, "codex"); path != "" {
			return path, nil
		}
	}
	if path, err := exec.LookPath("codex"); err == nil {
		return filepath.Abs(path)
	}
	return "", nil
}

// findProgram returns the executable file of the name that runs here; the package of another architecture has one, too.
func findProgram(dir, name string) (found string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != name {
			return nil //nolint:nilerr // what can't be read is not our program
		}
		if exec.Command(path, "--version").Run() == nil {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found
}
