package plain_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/plain"
)

func TestSpellOut(t *testing.T) {
	text, runs := plain.SpellOut("a\u200b\u202eb\n👩\u200d👧 c\x00")
	if diff := cmp.Diff(`a\u{200B}\u{202E}b`+"\n👩\u200d👧 "+`c\u{0}`, text); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`\u{200B}\u{202E}`, `\u{0}`}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

// TestSpellOutIsLinear: a long run of what nobody sees is no way to keep us busy. Were it copied for each of its
// characters, this would take hours.
func TestSpellOutIsLinear(t *testing.T) {
	const n = 1_000_000
	text, runs := plain.SpellOut(strings.Repeat("\u202e", n))
	if len(text) != n*len(`\u{202E}`) || len(runs) != 1 {
		t.Errorf("%d bytes in %d runs", len(text), len(runs))
	}
}
