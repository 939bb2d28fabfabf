package prompt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLessons(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		want    []string
	}{
		"none":           {"Adds a file.\n\n`a.go:3` is new.", nil},
		"some":           {"Done.\n\n## Why it is done this way\n\n- `a.go:3` because.\n`b.go` so.\n\nAnd so on.\n## Open\n`c.go:1` is open.", []string{"`a.go:3` because.", "`b.go` so."}},
		"in Russian":     {"Готово.\r\n## Почему так\r\n* `a.go:3` потому.\r\n", []string{"`a.go:3` потому."}},
		"nothing to say": {"Done.\n## Why it is done this way\n", nil},
	} {
		if diff := cmp.Diff(c.want, Lessons(c.message)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What the parts ask for in each language is what is read.
func TestEachLanguageAsksForLessonsThatAreRead(t *testing.T) {
	for _, language := range Languages() {
		in := input()
		in.Language, in.Learning = language, true
		got, err := Render(in)
		if err != nil {
			t.Fatal(err)
		}
		asked := false
		for _, l := range lessons {
			asked = asked || strings.Contains(got.Text, "`## "+l+"`")
		}
		if !asked {
			t.Errorf("%s asks for a section of another name", language)
		}
	}
}
