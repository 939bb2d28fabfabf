package conventions_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sqlClock is Postgres asked for the time.
// https://www.postgresql.org/docs/current/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT
var sqlClock = regexp.MustCompile(`(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(\s*\)|` +
	`\b(current_(timestamp|date|time)|localtimestamp|localtime)\b|'now'`)

// TestOneClock keeps the rule of shared/store's package comment: what is due is decided by the one clock that a
// function was handed, never by that of Postgres, nor by time.Now beside it. A stopwatch and a connection's deadline
// are no decisions.
func TestOneClock(t *testing.T) {
	withStore := map[string]bool{"shared/store": true}
	all := sources(t)
	for _, s := range all {
		if !s.isTest() && slices.Contains(s.imports(), module+"shared/store") {
			withStore[s.dir] = true
		}
	}
	for _, s := range all {
		if s.isTest() || !strings.HasPrefix(s.path, "functions/") && !strings.HasPrefix(s.path, "shared/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && sqlClock.MatchString(text.Value) {
				t.Errorf("%s asks Postgres for the time (%q): hand it in, tx.Now() or db.Now(), as shared/store says", s.path, sqlClock.FindString(text.Value))
			}
			return true
		})
		if withStore[s.dir] {
			for _, call := range wallClock(s.file) {
				t.Errorf("%s has a clock of its own (%s): take tx.Now() or db.Now(), as shared/store says", s.path, call)
			}
		}
	}
}

// wallClock finds the uses of the process's clock that may decide something. Those that may not are a value named start
// or started, from which time is only measured; a connection's deadline; and the store's own default.
func wallClock(file *ast.File) (found []string) {
	harmless := map[ast.Node]bool{}
	mark := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool { harmless[n] = true; return true })
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if stopwatch(left) && len(n.Lhs) == len(n.Rhs) {
					mark(n.Rhs[i])
				}
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); stopwatch(n.Key) || ok && key.Name == "now" && file.Name.Name == "store" {
				mark(n.Value)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && strings.HasSuffix(f.Sel.Name, "Deadline") {
				mark(n)
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && (n.Sel.Name == "Now" || n.Sel.Name == "Until") && !harmless[n] {
				found = append(found, "time."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

func stopwatch(e ast.Expr) bool {
	name := ""
	switch e := e.(type) {
	case *ast.Ident:
		name = e.Name
	case *ast.SelectorExpr:
		name = e.Sel.Name
	}
	return name == "start" || name == "started"
}
