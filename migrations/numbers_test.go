package migrations

import (
	"io/fs"
	"testing"

	"github.com/pressly/goose/v3"
)

// Two branches that take the same number merge without a conflict, and goose then refuses to read either.
func TestTheNumbersAreUniqueAndWithoutGaps(t *testing.T) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil || len(names) == 0 {
		t.Fatalf("%d migrations: %v", len(names), err)
	}
	for i, name := range names {
		if n, err := goose.NumericComponent(name); err != nil || n != int64(i+1) {
			t.Errorf("%s: number %d, want %d: %v", name, n, i+1, err)
		}
	}
}
