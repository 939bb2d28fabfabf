package scope

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteScope(t *testing.T) {
	t.Parallel()
	paths := []string{"README.md", "a.go", "docs/x.md", "docs/a/b/c.txt", "docsx/y.txt", "src/a.go", "src/a/b.go", ".github/workflows/ci.yml", "with\nnewline.md"}
	for _, c := range []struct {
		globs   []string
		allowed []string
	}{
		{nil, paths},
		{[]string{"**"}, paths},
		{[]string{"*.md"}, []string{"README.md", "docs/x.md", "with\nnewline.md"}},
		{[]string{"/README.md"}, []string{"README.md"}},
		{[]string{"docs/**"}, []string{"docs/x.md", "docs/a/b/c.txt"}},
		{[]string{"docs/"}, []string{"docs/x.md", "docs/a/b/c.txt"}},
		{[]string{"docs/*"}, []string{"docs/x.md"}},
		{[]string{"docs/**/c.txt"}, []string{"docs/a/b/c.txt"}},
		{[]string{"**/*.go"}, []string{"a.go", "src/a.go", "src/a/b.go"}},
		{[]string{"src/?.go"}, []string{"src/a.go"}},
		{[]string{"s.c/**", "[a].go"}, nil},
	} {
		s, err := Compile(c.globs)
		if err != nil {
			t.Fatal(err)
		}
		outside := map[string]bool{}
		for _, p := range s.Outside(paths) {
			outside[p] = true
		}
		var allowed []string
		for _, p := range paths {
			if !outside[p] {
				allowed = append(allowed, p)
			}
		}
		if diff := cmp.Diff(c.allowed, allowed); diff != "" {
			t.Errorf("%v allows (-want +got):\n%s", c.globs, diff)
		}
	}
	for _, wrong := range []string{" ", "/", "!.github/**", " !secrets/"} {
		if _, err := Compile([]string{"**", wrong}); err == nil {
			t.Errorf("the pattern %q was taken", wrong)
		}
	}
}
