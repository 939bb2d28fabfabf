package conventions_test

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// wordsForNo: what may be called by which word, by the type that says no (functions/README.md). An event is rejected, a
// refusal is ours, and what somebody else denied us was refused.
var wordsForNo = map[string]*regexp.Regexp{
	"Refusal":       regexp.MustCompile(`(?i)refus(ed|es|e)$|reject|den(y|ied)`),
	"Refused":       regexp.MustCompile(`(?i)refusal|reject|den(y|ied)`),
	"RejectedError": regexp.MustCompile(`(?i)refus|den(y|ied)`),
}

// TestWordsForNo holds the names of variables and results against the type that they have.
func TestWordsForNo(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		hold := func(name *ast.Ident, typ ast.Expr) {
			if wrong := wordsForNo[nameOf(typ)]; wrong != nil && wrong.MatchString(name.Name) {
				t.Errorf("%s: %s is a %s: see the three words for no in functions/README.md", s.path, name.Name, nameOf(typ))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				for _, name := range n.Names {
					hold(name, n.Type)
				}
			case *ast.ValueSpec:
				for _, name := range n.Names {
					hold(name, n.Type)
				}
			case *ast.AssignStmt:
				for i, name := range n.Lhs {
					call, made := n.Rhs[min(i, len(n.Rhs)-1)].(*ast.CallExpr)
					if ident, ok := name.(*ast.Ident); ok && made && nameOf(call.Fun) == "new" {
						hold(ident, call.Args[0])
					}
				}
			}
			return true
		})
	}
}

// nameOf is the last name of a type, without its package and its star.
func nameOf(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return nameOf(typ.X)
	case *ast.SelectorExpr:
		return typ.Sel.Name
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

// TestWidth: a line that holds a comment and nothing else is no wider than 120 characters, unless it holds an address.
// What stands behind code is as long as its one line has to be.
func TestWidth(t *testing.T) {
	for _, s := range sources(t) {
		if ast.IsGenerated(s.file) {
			continue
		}
		number := 0
		for line := range strings.Lines(read(t, s.path)) {
			number++
			n := utf8.RuneCountInString(strings.TrimRight(line, "\n"))
			if strings.HasPrefix(strings.TrimSpace(line), "//") && n > 120 && !strings.Contains(line, "://") {
				t.Errorf("%s:%d: a comment of %d characters: %.60s…", s.path, number, n, strings.TrimSpace(line))
			}
		}
	}
}
