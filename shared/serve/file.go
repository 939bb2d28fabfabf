package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
)

// FromFile parses the file that an environment variable names. Without a name, or without the file (a ConfigMap that is
// mounted as optional and doesn't exist), it is builtin. What can't be read or parsed is an error that names the file.
func FromFile[T any](variable, path string, builtin T, parse func([]byte) (T, error)) (T, error) {
	if path == "" {
		return builtin, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
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
