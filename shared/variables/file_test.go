package variables

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFromFile(t *testing.T) {
	parse := func(data []byte) (string, error) {
		if string(data) == "bad" {
			return "", errors.New("line 1: bad")
		}
		return string(data), nil
	}
	write := func(content string) string {
		file := filepath.Join(t.TempDir(), "file.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, test := range map[string]struct{ path, want, err string }{
		"not set":                      {"", "built in", ""},
		"a ConfigMap that isn't there": {filepath.Join(t.TempDir(), "none.yaml"), "built in", ""},
		"a file":                       {write("mine"), "mine", ""},
		"a bad file":                   {write("bad"), "", "file.yaml: line 1: bad"},
		"no folder":                    {filepath.Join(t.TempDir(), "none", "file.yaml"), "", "reading PROCESS_FILE"},
		"a ConfigMap with another key": {filepath.Join(filepath.Dir(write("mine")), "process.yaml"), "", "reading PROCESS_FILE"},
		"a folder":                     {t.TempDir(), "", "reading PROCESS_FILE"},
	} {
		got, err := FromFile("PROCESS_FILE", test.path, "built in", parse)
		if test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
	}
}
