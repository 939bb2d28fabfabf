package stack

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// WriteTails writes the ends of all logs, of functions and of agents, for whoever must find out what went wrong.
func (s *Stack) WriteTails(w io.Writer, lines int) {
	files, _ := filepath.Glob(filepath.Join(s.Dir, "platform", "logs", "*"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || len(data) == 0 {
			continue
		}
		all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
		_, _ = fmt.Fprintf(w, "\n── %s\n%s\n", filepath.Base(file), strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
}
