// Package scope is a write scope: the paths that the pull request of a stage may change. It is pure.
package scope

import (
	"fmt"
	"regexp"
	"strings"
)

// Scope is a write scope: globs of paths. Empty means everything.
//
//	*.md       a pattern without "/" is for file names, in any folder
//	docs/*     "*" and "?" do not cross "/"
//	docs/**    "**" stands for any number of folders, also none
//	docs/      the same as docs/**
//
// There are no exceptions: "!docs/x" is an error, because beside "**" it would go unheard.
// Matching is by exact case, as Git stores paths.
type Scope []*regexp.Regexp

// Nothing is the glob of who may change no file: a scope that matches none.
const Nothing = ".codexk8s-nothing"

// Compile reads globs; an empty glob is an error, because it would match nothing and hide a mistake.
func Compile(globs []string) (Scope, error) {
	var s Scope
	for _, g := range globs {
		expr, err := globExpr(g)
		if err != nil {
			return nil, err
		}
		s = append(s, expr)
	}
	return s, nil
}

func globExpr(glob string) (*regexp.Regexp, error) {
	g := strings.TrimPrefix(strings.TrimSpace(glob), "/")
	if g == "" {
		return nil, fmt.Errorf("write scope has an empty pattern")
	}
	if strings.HasPrefix(g, "!") {
		return nil, fmt.Errorf("write scope pattern %q: there are no exceptions; name what may be changed", glob)
	}
	if strings.HasSuffix(g, "/") {
		g += "**"
	}
	if !strings.Contains(g, "/") && g != "**" {
		g = "**/" + g
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for g != "" {
		switch {
		case strings.HasPrefix(g, "**/"):
			b.WriteString(`(?:[^/]+/)*`)
			g = g[3:]
		case strings.HasPrefix(g, "**"):
			b.WriteString(`.*`)
			g = g[2:]
		case g[0] == '*':
			b.WriteString(`[^/]*`)
			g = g[1:]
		case g[0] == '?':
			b.WriteString(`[^/]`)
			g = g[1:]
		default:
			n := strings.IndexAny(g, "*?")
			if n < 0 {
				n = len(g)
			}
			b.WriteString(regexp.QuoteMeta(g[:n]))
			g = g[n:]
		}
	}
	expr, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return nil, fmt.Errorf("write scope pattern %q: %w", glob, err)
	}
	return expr, nil
}

// Outside returns the paths that no pattern allows.
func (s Scope) Outside(paths []string) []string {
	if len(s) == 0 {
		return nil
	}
	var out []string
next:
	for _, p := range paths {
		for _, expr := range s {
			if expr.MatchString(p) {
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}
