// Package observability_test generates config/observability from shared/metrics, and keeps the two together: the files
// are what the table says, each query names only metrics and labels that are exported, each metric is recorded
// somewhere, and each alert has its line in config/observability/README.md.
//
//	go test ./test/observability -update     writes the files
package observability_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/metrics"
)

const root = "../.."

var update = flag.Bool("update", false, "write config/observability")

func generated(comment string) string {
	return comment + "Generated from shared/metrics by test/observability: go test ./test/observability -update\n"
}

func TestTheFilesAreWhatTheTableSays(t *testing.T) {
	board, err := dashboard()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"dashboard.json": board, "alerts.yaml": rules()} {
		path := filepath.Join(root, "config/observability", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what shared/metrics and this package say (%v): go test ./test/observability -update", name, err)
		}
	}
}

// TestQueriesNameWhatIsExported checks every expression of both files as they are.
func TestQueriesNameWhatIsExported(t *testing.T) {
	var rule struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	read(t, "config/observability/alerts.yaml", func(data []byte) error { return yaml.Unmarshal(data, &rule) })
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	read(t, "config/observability/dashboard.json", func(data []byte) error { return json.Unmarshal(data, &board) })
	n := 0
	for _, g := range rule.Spec.Groups {
		for _, r := range g.Rules {
			n++
			if err := check(r.Expr); err != nil {
				t.Errorf("alert %s: %v", r.Alert, err)
			}
		}
	}
	drawn := ""
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			n++
			drawn += q.Expr + "\n"
			if err := check(q.Expr); err != nil {
				t.Errorf("panel %s: %v", p.Title, err)
			}
		}
	}
	if n < len(alerts)+len(metrics.All()) {
		t.Errorf("only %d queries were checked", n)
	}
	for _, m := range metrics.All() {
		if !strings.Contains(drawn, m.Prometheus()) {
			t.Errorf("no panel shows %s", m.Name)
		}
	}
}

var (
	metricName = regexp.MustCompile(`codexk8s_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`(codexk8s_[a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`^([a-z_]+)(=~|!~|!=|=)"[^"]*"$`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	word       = regexp.MustCompile(`\$?[a-zA-Z_][a-zA-Z0-9_]*`)
	quotedText = regexp.MustCompile(`"[^"]*"`)
)

// language is the part of PromQL that our queries use.
var language = strings.Fields(`sum max min by and or vector rate increase histogram_quantile last_over_time absent_over_time m h $__rate_interval`)

// check is a small check of an expression: its brackets, its words, and that metrics and labels are ours.
func check(expr string) error {
	var open []rune
	for _, r := range quotedText.ReplaceAllString(expr, "") {
		switch r {
		case '(', '[', '{':
			open = append(open, r)
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != map[rune]rune{')': '(', ']': '[', '}': '{'}[r] {
				return fmt.Errorf("%s: %c closes nothing", expr, r)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%s: %c is not closed", expr, open[len(open)-1])
	}
	labels := []string{"le"}
	for _, name := range metricName.FindAllString(expr, -1) {
		m, err := exported(name)
		if err != nil {
			return fmt.Errorf("%s: %w", expr, err)
		}
		labels = append(labels, m.Labels...)
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		m, _ := exported(s[1])
		for pair := range strings.SplitSeq(s[2], ", ") {
			if parts := matcher.FindStringSubmatch(pair); parts == nil || !slices.Contains(m.Labels, parts[1]) {
				return fmt.Errorf("%s: %s has no label as in %s", expr, s[1], pair)
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ", ") {
			if !slices.Contains(labels, label) {
				return fmt.Errorf("%s: no metric in it has the label %q", expr, label)
			}
		}
	}
	for _, w := range word.FindAllString(quotedText.ReplaceAllString(expr, ""), -1) {
		if !slices.Contains(language, w) && !slices.Contains(labels, w) && !strings.HasPrefix(w, "codexk8s_") {
			return fmt.Errorf("%s: what is %q", expr, w)
		}
	}
	return nil
}

// exported finds the metric of a series: a histogram has three, of endings of their own.
func exported(series string) (metrics.Metric, error) {
	for _, m := range metrics.All() {
		names := []string{m.Prometheus()}
		if m.Kind == metrics.KindHistogram {
			names = []string{names[0] + "_bucket", names[0] + "_count", names[0] + "_sum"}
		}
		if slices.Contains(names, series) {
			return m, nil
		}
	}
	return metrics.Metric{}, fmt.Errorf("nobody exports %s", series)
}

func TestTheCheckBites(t *testing.T) {
	for _, bad := range []string{
		`sum(rate(codexk8s_webhooks_total[5m]))`,
		`sum(rate(codexk8s_delivery_duration_seconds[5m]))`,
		`sum by (repository) (codexk8s_runs)`,
		`codexk8s_runs{reason="x"}`,
		`sum(codexk8s_runs`,
		`summ(codexk8s_runs)`,
	} {
		if check(bad) == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}

// TestEveryMetricIsRecorded: what nobody sets has no place in the table.
func TestEveryMetricIsRecorded(t *testing.T) {
	used := map[string]bool{}
	variables := map[string]string{} // of package metrics, by the metric's name
	for _, dir := range []string{"functions", "shared"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr: // metrics.Name.Add
					if inner, ok := n.X.(*ast.SelectorExpr); ok {
						if x, ok := inner.X.(*ast.Ident); ok && x.Name == "metrics" && slices.Contains([]string{"Add", "Record", "Set"}, n.Sel.Name) {
							used[inner.Sel.Name] = true
						}
					}
				case *ast.ValueSpec:
					if call, ok := first(n.Values).(*ast.CallExpr); ok && file.Name.Name == "metrics" {
						if name, ok := first(call.Args).(*ast.BasicLit); ok {
							variables[strings.Trim(name.Value, `"`)] = n.Names[0].Name
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range metrics.All() {
		if !used[variables[m.Name]] {
			t.Errorf("nobody records %s (metrics.%s)", m.Name, variables[m.Name])
		}
	}
}

func first(list []ast.Expr) ast.Expr {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func TestEveryAlertHasItsRunbook(t *testing.T) {
	read(t, "config/observability/README.md", func(data []byte) error {
		if !strings.Contains(string(data), runbook()) {
			t.Errorf("config/observability/README.md lacks this table:\n%s", runbook())
		}
		return nil
	})
	for _, a := range alerts {
		if !regexp.MustCompile(`^CodexK8s[A-Z][A-Za-z]+$`).MatchString(a.Name) || a.Means == "" || a.Do == "" {
			t.Errorf("%+v", a)
		}
	}
}

func read(t *testing.T, name string, parse func([]byte) error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err == nil {
		err = parse(data)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
