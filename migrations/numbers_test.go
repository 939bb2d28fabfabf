package migrations

import (
	"io/fs"
	"testing"

	"github.com/pressly/goose/v3"
)

// Two branches that take the same number merge without a conflict, and goose then refuses to read either.
func TestTheNumbersAreUnique(t *testing.T) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil || len(names) == 0 {
		t.Fatalf("%d migrations: %v", len(names), err)
	}
	last := int64(0)
	for _, name := range names {
		n, err := goose.NumericComponent(name)
		if err != nil || n <= last {
			t.Errorf("%s: number %d, want more than %d: %v", name, n, last, err)
		}
		last = n
	}
}
