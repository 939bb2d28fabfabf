package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"codexk8s.dev/shared/reason"
)

// TestEveryReasonIsInTheCatalogueOncePerKind: a reason without advice, or advice for what is no reason, is forgotten.
func TestEveryReasonIsInTheCatalogueOncePerKind(t *testing.T) {
	count := map[string]int{}
	twice := map[[2]string]bool{}
	for _, e := range reason.Catalogue {
		if e.Advice == "" || strings.ContainsAny(e.Advice, "|\n") {
			t.Errorf("the advice for %v does not fit into a table: %q", e.Codes, e.Advice)
		}
		for _, code := range e.Codes {
			count[code]++
			if key := [2]string{string(e.Kind), code}; twice[key] {
				t.Errorf("%s stands twice among %s", code, e.Kind)
			} else {
				twice[key] = true
			}
		}
	}
	declared := constants(t)
	for name, code := range declared {
		if count[code] == 0 && code != reason.ReportLost { // a run goes on with that one
			t.Errorf("%s has no advice", name)
		}
		delete(count, code)
	}
	for code := range count {
		t.Errorf("%s has advice, and no constant", code)
	}
}

// constants are the package's reasons by name.
func constants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type != nil || len(spec.Values) != 1 {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
			code, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[spec.Names[0].Name] = code
		}
		return true
	})
	if len(all) < 60 {
		t.Fatalf("found %d reasons", len(all))
	}
	return all
}

// TestTroubleshootingIsTheCatalogue: what the README says of each reason is what stands here, row by row.
func TestTroubleshootingIsTheCatalogue(t *testing.T) {
	readme, err := os.ReadFile("../../config/observability/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, head := range map[reason.Kind]string{
		reason.Ignored: "| the label or review started nothing | what to do |",
		reason.Failed:  "| the run failed | what to look at |",

		reason.Uncounted:   "| the vote did not count | what to do |",
		reason.Unheard:     "| what came from a chat is no vote | what to do |",
		reason.Undelivered: "| a chat does not show the request | what to do |",
	} {
		rows := []string{head, "|---|---|"}
		for _, e := range reason.Catalogue {
			if e.Kind == kind {
				rows = append(rows, "| `"+strings.Join(e.Codes, "`, `")+"` | "+e.Advice+" |")
			}
		}
		if want := strings.Join(rows, "\n") + "\n\n"; !strings.Contains(string(readme), want) {
			t.Errorf("config/observability/README.md has another table of reasons; the catalogue's is\n\n%s", want)
		}
	}
}

func TestWhatEndsARun(t *testing.T) {
	for code, want := range map[string]bool{
		"": true, reason.WriteScope: true, reason.Aborted: true, reason.PullRequestMissing: true,
		reason.SenderIsBot: false, reason.ReportLost: false, "made_up_by_an_agent": false,
	} {
		if got := reason.EndsRuns(code); got != want {
			t.Errorf("%q ends runs: %t, want %t", code, got, want)
		}
	}
}
