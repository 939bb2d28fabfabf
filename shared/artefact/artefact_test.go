package artefact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, document string
		want           []string
	}{
		{"finished", "# Brief\n\n## For whom\n\nShops.\n\n- a\n- b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", nil},
		{"text without a heading", "Shops need search.\n", nil},
		{"nothing", "", []string{"it is empty"}},
		{"white space", "\n \t\n", []string{"it is empty"}},
		{"a heading alone", "# Brief\n", []string{`line 1: the heading "Brief" has no text`}},
		{"headings between", "# Brief\n\n## Goals\n\n## Risks\n\nNone.\n\n## Open\n", []string{`line 3: the heading "Goals" has no text`, `line 9: the heading "Open" has no text`}},
		{"a heading whose text is below one below it", "# Brief\n\n## Goals\n\n### First\n\nSearch.\n", nil},
		{"a heading above a higher one", "# A\n\nText.\n\n### B\n\n## C\n\nText.\n", []string{`line 5: the heading "B" has no text`}},
		{"a comment is no text", "# Brief\n\n<!-- say for whom -->\n", []string{`line 1: the heading "Brief" has no text`}},
		{"a line between sections is no text", "# Brief\n\n---\n", []string{`line 1: the heading "Brief" has no text`}},
		{"code is text", "# API\n\n```yaml\nTODO: {{ .Values.x }}\n```\n\n`{{x}}` and `TODO` are words.\n\n    TODO\n", nil},
		{"a table is text", "# T\n\n| a |\n|---|\n| b |\n", nil},
		{"a template's place", "# {{title}}\n\nOwner: {{ owner }}\n", []string{"line 1: {{title}} is not filled in", "line 3: {{ owner }} is not filled in"}},
		{"a place in angle brackets", "Owner: <…>\n\nUntil: <...>\n\n<b>bold</b> <https://example.com>\n", []string{"line 1: <…> is not filled in", "line 3: <...> is not filled in"}},
		{"put off", "# A\n\nTODO: write\n\n- **TBD**\n- [ ] FIXME later\n\n> TBD\n", []string{"line 3: TODO", "line 5: TBD", "line 6: FIXME", "line 8: TBD"}},
		{"put off in a table", "| a | b |\n|---|---|\n| x | TBD |\n", []string{"line 3: TBD"}},
		{"put off in a later line", "Text\nTODO\n", []string{"line 1: TODO"}},
		{"words like these", "The TODO list of the shop, and todo items. TODOs stay.\n\nTBDs are many.\n", nil},
	} {
		if diff := cmp.Diff(c.want, Faults([]byte(c.document))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestNotEveryFaultIsNamed(t *testing.T) {
	if got := Faults([]byte(strings.Repeat("- TODO\n", 1000))); len(got) != maxFaults {
		t.Errorf("%d faults", len(got))
	}
}

func FuzzFaults(f *testing.F) {
	f.Add([]byte("# A\n\n{{x}}\n"))
	f.Fuzz(func(_ *testing.T, document []byte) { Faults(document) })
}
