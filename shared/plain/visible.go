package plain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SpellOut writes characters without a visible form as \u{…}, and returns the runs of them, so that people see
// everything they are shown. Line feeds and tabs stay, and so does what makes emoji and joins the letters of a script.
func SpellOut(s string) (string, []string) {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, invisible) {
		return s, nil
	}
	var all, run strings.Builder
	var runs []string
	runes := []rune(s)
	end := func() {
		if run.Len() > 0 {
			runs = append(runs, run.String())
			run.Reset()
		}
	}
	for i, r := range runes {
		if !Unseen(runes, i) {
			end()
			all.WriteRune(r)
			continue
		}
		spelt := fmt.Sprintf(`\u{%X}`, r)
		all.WriteString(spelt)
		run.WriteString(spelt)
	}
	end()
	return all.String(), runs
}

// Unseen reports whether people can't see the character at i.
func Unseen(runes []rune, i int) bool { return invisible(runes[i]) && !joins(runes, i) }

// invisible says whether r has no visible form of its own: controls, format characters, all that Unicode says may be
// ignored when a font does not know it (fillers of Hangul, selectors of variations, tags), and the empty Braille cell.
// https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
func invisible(r rune) bool {
	if r == '\n' || r == '\t' {
		return false
	}
	return r == 0x2800 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins says whether the character at i serves its purpose: emoji are made with a joiner or one selector, and several
// scripts with joiners. Elsewhere, or in sequence, they can carry hidden data.
func joins(runes []rune, i int) bool {
	if i == 0 {
		return false
	}
	before := runes[i-1]
	switch runes[i] {
	case 0xFE0E, 0xFE0F: // text or emoji
		return unicode.In(before, unicode.So, unicode.Sk, unicode.Sm, unicode.Po) && before != 0x2800 ||
			unicode.IsDigit(before) && i+1 < len(runes) && runes[i+1] == 0x20E3
	case 0x200C, 0x200D:
		return i+1 < len(runes) && before > unicode.MaxLatin1 && runes[i+1] > unicode.MaxLatin1 &&
			(before == 0xFE0F || !invisible(before)) && !invisible(runes[i+1])
	}
	return false
}
