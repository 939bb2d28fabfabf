package checkout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown writes a path for people: as it is when it is printable UTF-8, else in double quotes with escapes as git shows
// it (https://git-scm.com/docs/git-config, core.quotePath).
func Shown(path string) string {
	plain := utf8.ValidString(path)
	for _, c := range path {
		plain = plain && c != '"' && c != '\\' && unicode.IsPrint(c)
	}
	if plain {
		return path
	}
	var b strings.Builder
	b.WriteByte('"')
	for len(path) > 0 {
		c, n := utf8.DecodeRuneInString(path)
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == utf8.RuneError && n == 1, !unicode.IsPrint(c):
			for _, raw := range []byte(path[:n]) {
				fmt.Fprintf(&b, `\%03o`, raw)
			}
		default:
			b.WriteRune(c)
		}
		path = path[n:]
	}
	b.WriteByte('"')
	return b.String()
}

// Code is Shown as Markdown code, which no character of the path can end.
func Code(path string) string {
	path = Shown(path)
	mark := "`"
	for strings.Contains(path, mark) {
		mark += "`"
	}
	if mark != "`" {
		path = " " + path + " "
	}
	return mark + path + mark
}

// reserved says whether git refuses the name of a file or folder, because some system takes it for ".git"
// (https://git-scm.com/docs/git-config, core.protectHFS and core.protectNTFS).
func reserved(name string) bool {
	return slices.ContainsFunc(elsewhere(name), func(part string) bool { return part == ".git" || part == "git~1" })
}

// shortModules are the names in eight characters that NTFS may give to ".gitmodules".
var shortModules = regexp.MustCompile(`^(?:gitmod~[1-4]|(?:gi7eba|gi7eb|gi7e|gi7|gi|g|)~[1-9][0-9]*)$`)

// reservedLink is reserved for a link, which git also refuses where it could be taken for ".gitmodules".
func reservedLink(name string) bool {
	return slices.ContainsFunc(elsewhere(name), func(part string) bool {
		return part == ".gitmodules" || len(part) == len("gitmod~1") && shortModules.MatchString(part)
	})
}

// elsewhere are the folders and the file that a name stands for on systems that ignore case and some characters, and
// where a backslash separates folders.
func elsewhere(name string) (parts []string) {
	name = strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Cf, c) {
			return -1 // HFS+ ignores it
		}
		return unicode.ToLower(c)
	}, name)
	for part := range strings.SplitSeq(name, `\`) {
		part, _, _ = strings.Cut(part, ":")
		parts = append(parts, strings.TrimRight(part, " ."))
	}
	return parts
}

// maxPath bounds a path: Linux accepts no longer one in a call.
const maxPath = 4000
