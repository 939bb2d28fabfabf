// Package conventions_test keeps the rules of the house that a compiler does not: package comments, who may import
// whom, what lies at the top level, and that the README and ko.yaml say what the sources say.
package conventions_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/shared/reason"
)

const (
	root   = "../.."
	module = "codexk8s.dev/"
)

// A source is one Go file; its path is relative to the root, with slashes.
type source struct {
	path string
	dir  string
	file *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser accepted it
		paths = append(paths, path)
	}
	return paths
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		all = append(all, source{rel, rel[:max(strings.LastIndex(rel, "/"), 0)], file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPackageComment: one comment per package, as its design belongs in one place.
// A folder that holds only tests has it in a test.
func TestPackageComment(t *testing.T) {
	code, comments := map[string]bool{}, map[string][]string{}
	all := sources(t)
	for _, s := range all {
		code[s.dir] = code[s.dir] || !s.isTest()
	}
	for _, s := range all {
		if s.isTest() && code[s.dir] {
			continue
		}
		found := comments[s.dir]
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			found = append(found, s.path)
		}
		comments[s.dir] = found
	}
	for dir, found := range comments {
		if len(found) != 1 {
			t.Errorf("%s has %d package comments %v, want 1", dir, len(found), found)
		}
	}
}

// The packages of shared: pure ones compute, those of I/O touch the world, and the rest is what both need of it,
// or joins some of them for functions.
var (
	pure = []string{
		"shared/access", "shared/agentpod", "shared/approval", "shared/artefact", "shared/budget", "shared/environment", "shared/events", "shared/exitcode", "shared/plain", "shared/price", "shared/project",
		"shared/prompt", "shared/reason", "shared/redact", "shared/replay", "shared/runtoken", "shared/scope", "shared/stage", "shared/tool", "shared/webhook", "shared/words", "shared/yamlfile",
	}
	io   = []string{"shared/chat", "shared/github", "shared/kube", "shared/llm", "shared/serve", "shared/store"}
	rest = []string{"shared/agentapi", "shared/metrics", "shared/runauth", "shared/variables"}
)

// TestEveryPackageOfSharedHasItsKind: a new one says what it is, and then TestImports holds it to that.
func TestEveryPackageOfSharedHasItsKind(t *testing.T) {
	found := map[string]bool{}
	for _, s := range sources(t) {
		if parts := strings.Split(s.dir, "/"); parts[0] == "shared" {
			found[strings.Join(parts[:2], "/")] = true
		}
	}
	listed := slices.Concat(pure, io, rest)
	slices.Sort(listed)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(found)), listed); diff != "" {
		t.Errorf("packages of shared (-there +listed):\n%s", diff)
	}
}

// TestReasonsAreTheCatalogues: a reason is written down once. Words that are a reason and something else, too, are left
// out.
func TestReasonsAreTheCatalogues(t *testing.T) {
	ambiguous := []string{
		"pull_request", "invalid_request", // an event of GitHub, an error of the model's API
		"no_signature", "wrong_signature", "too_large", "unknown_request", // what callers of other functions are answered
	}
	known := map[string]bool{reason.ReportLost: true}
	for _, e := range reason.Catalogue {
		for _, code := range e.Codes {
			known[code] = strings.Contains(code, "_") && !slices.Contains(ambiguous, code)
		}
	}
	for _, s := range sources(t) {
		if s.isTest() || s.dir == "shared/reason" || strings.HasPrefix(s.dir, "test/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if code, err := strconv.Unquote(l.Value); err == nil && known[code] {
					t.Errorf("%s writes down the reason %s: use the constant of shared/reason", s.path, code)
				}
			}
			return true
		})
	}
}

// TestImports keeps the direction in which packages depend on each other.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, path := range s.imports() {
			own, ours := strings.CutPrefix(path, module)
			switch {
			case ours && strings.HasPrefix(own, "functions/") && !strings.HasPrefix(own, functionOf(s.dir)+"/internal/"):
				t.Errorf("%s imports the function %s", s.path, own)
			case ours && strings.HasPrefix(own, "test/") && !strings.HasPrefix(s.path, "test/"):
				t.Errorf("%s imports %s, which is for tests", s.path, own)
			case slices.Contains(io, s.dir) && slices.Contains(io, own) && own != s.dir:
				t.Errorf("%s imports %s: a function wires them", s.path, own)
			case slices.Contains(pure, s.dir) && (slices.Contains(io, own) || impure(path)):
				t.Errorf("%s is pure and imports %s", s.path, path)
			}
		}
		if slices.Contains(pure, s.dir) {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
						t.Errorf("%s is pure and uses time.Now", s.path)
					}
				}
				return true
			})
		}
	}
}

// TestSQLInOnePlace: only the store speaks to our database. A function's test has pgtest for statements of its own. The
// Postgres on which runs have databases is another server, and agent-launcher's business.
func TestSQLInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "functions/agent-launcher/internal/postgres" || s.dir == "functions/agent-launcher" && s.isTest() {
			continue
		}
		if s.dir == "shared/store" || !strings.HasPrefix(s.dir, "functions/") && !strings.HasPrefix(s.dir, "shared/") {
			continue
		}
		for _, path := range s.imports() {
			if strings.HasPrefix(path, "github.com/jackc/") || strings.HasPrefix(path, "database/") {
				t.Errorf("%s imports %s: SQL stands in shared/store, and a test's own goes through test/local/pg/pgtest", s.path, path)
			}
		}
	}
}

// functionOf is the function whose folder dir is or is in: functions/<name>.
func functionOf(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	return strings.Join(parts[:min(len(parts), 2)], "/")
}

// impure: net/netip and net/url only compute.
func impure(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return path != "net/netip" && path != "net/url" && slices.Contains([]string{"net", "os", "context", "database"}, first)
}

// TestEnvironment: config/README.md lists exactly the variables that the sources read, with their defaults. What is
// read by os.Getenv has its default, if any, elsewhere in the code.
func TestEnvironment(t *testing.T) {
	want, plain := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		where := reader(s.dir)
		if s.isTest() || where == "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				if name, value, ok := variable(n); ok {
					want[where+" "+name] = value
				}
			case *ast.CallExpr:
				if name, ok := getenv(n); ok && name != "PATH" {
					plain[where+" "+name] = true
				}
			}
			return true
		})
	}
	row := regexp.MustCompile("(?m)^\\| ([a-z -]+) \\| `([A-Za-z0-9_]+)` \\| `?([^|`]*?)`? \\|")
	got := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(read(t, "config/README.md"), -1) {
		at := m[1] + " " + m[2]
		if _, twice := got[at]; twice {
			t.Errorf("config/README.md has %s twice", at)
		}
		got[at] = m[3]
		if _, tagged := want[at]; plain[at] && !tagged {
			want[at] = m[3]
		}
	}
	for at := range plain {
		if _, known := want[at]; !known {
			t.Errorf("config/README.md lacks %s", at)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables (-sources +config/README.md):\n%s", diff)
	}
}

// reader is what config/README.md calls the program in a folder that reads variables; empty if it lists none.
func reader(dir string) string {
	function, ok := strings.CutPrefix(dir, "functions/")
	switch {
	case function == "console/cli":
		return "command line"
	case ok:
		function, _, _ = strings.Cut(function, "/")
		return function
	case dir == "shared/serve":
		return "every function"
	case dir == "test/local/run" || dir == "test/local/stack":
		return "make run"
	case dir == "test/conform":
		return "make conform"
	case strings.HasPrefix(dir, "test/"):
		return "tests"
	}
	return ""
}

// variable reads the tags of an environment's field.
func variable(field *ast.Field) (name, value string, ok bool) {
	if field.Tag == nil {
		return "", "", false
	}
	text, _ := strconv.Unquote(field.Tag.Value) // the parser accepted it
	tag := reflect.StructTag(text)
	value = tag.Get("default")
	if tag.Get("required") == "true" {
		value = "required"
	}
	name = tag.Get("envconfig")
	return name, value, name != ""
}

// getenv is the variable that a call of os.Getenv or os.LookupEnv names.
func getenv(call *ast.CallExpr) (string, bool) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) != 1 || f.Sel.Name != "Getenv" && f.Sel.Name != "LookupEnv" {
		return "", false
	}
	text, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(text.Value)
	return name, err == nil
}

// TestTopLevel: names beginning with a dot are free.
func TestTopLevel(t *testing.T) {
	allowed := []string{"functions", "shared", "eventing", "config", "migrations", "test", "ko.yaml", "go.mod", "go.sum", "Makefile", "README.md"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s has no place at the top level", e.Name())
		}
	}
}

// TestModule: a replaced module is not the one that its version names.
func TestModule(t *testing.T) {
	if regexp.MustCompile(`(?m)^replace\b`).MatchString(read(t, "go.mod")) {
		t.Error("go.mod has a replace")
	}
}

// TestKo: all images are built alike, and the one with a base of its own is of a program that is there.
func TestKo(t *testing.T) {
	var ko struct {
		Builds             []any
		BaseImageOverrides map[string]string
	}
	if err := yaml.Unmarshal([]byte(read(t, "ko.yaml")), &ko); err != nil {
		t.Fatal(err)
	}
	if len(ko.Builds) > 0 {
		t.Errorf("ko.yaml has builds of their own: %v", ko.Builds)
	}
	for program := range ko.BaseImageOverrides {
		if name, ok := strings.CutPrefix(program, "codexk8s.dev/functions/"); !ok || !slices.Contains(functions(t), name) {
			t.Errorf("ko.yaml gives a base to %s, which is no program in functions/", program)
		}
	}
}

// unneeded are packages that no program of ours has a use for, though others would bring them along. Each adds a
// megabyte or more to every function, and one that looks up methods by name keeps the linker from leaving out any
// method at all.
var unneeded = []string{"expvar", "html/template", "github.com/prometheus/client_golang/prometheus", "k8s.io/client-go/kubernetes"}

// TestProgramsLinkWhatTheyNeed: built as ko builds them.
func TestProgramsLinkWhatTheyNeed(t *testing.T) {
	var ko struct{ DefaultFlags []string }
	if err := yaml.Unmarshal([]byte(read(t, "ko.yaml")), &ko); err != nil {
		t.Fatal(err)
	}
	format := "{{$importer := .ImportPath}}{{range .Imports}}{{println $importer .}}{{end}}"
	list := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"list"}, ko.DefaultFlags, []string{"-deps", "-f", format, "./functions/..."})...)
	list.Dir, list.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing what the functions are made of: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		importer, imported, _ := strings.Cut(strings.TrimSpace(line), " ")
		// Knative's whole configuration comes with net/http/pprof.
		if imported == "html/template" && strings.HasPrefix(importer, "codexk8s.dev/functions/console/") {
			continue // its pages are what it is for
		}
		if slices.Contains(unneeded, imported) || imported == "knative.dev/pkg/observability" && strings.HasPrefix(importer, "codexk8s.dev/") {
			t.Errorf("functions link %s because of %s", imported, importer)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
