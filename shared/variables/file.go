package variables

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FromFile parses the file that an environment variable names. It returns builtin if there is no name, or if the file's
// folder is empty: that is how Kubernetes mounts an optional ConfigMap that doesn't exist. Its errors name the file.
func FromFile[T any](variable, path string, builtin T, parse func([]byte) (T, error)) (T, error) {
	if path == "" {
		return builtin, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && empty(filepath.Dir(path)) {
		slog.Info("there is no such file: the built-in one serves", "variable", variable, "path", path)
		return builtin, nil
	}
	if err != nil {
		return builtin, fmt.Errorf("reading %s: %w", variable, err)
	}
	parsed, err := parse(data)
	if err != nil {
		return builtin, fmt.Errorf("%s: %w", path, err)
	}
	return parsed, nil
}

// empty reports whether the folder has nothing but the kubelet's own entries of a mounted ConfigMap.
func empty(folder string) bool {
	entries, err := os.ReadDir(folder)
	return err == nil && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), "..") })
}
