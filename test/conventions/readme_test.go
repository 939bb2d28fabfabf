package conventions_test

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// readmes are the first page and the references beside what they describe.
var readmes = []string{"README.md", "config/README.md", "config/observability/README.md", "functions/README.md", "test/README.md"}

// TestFirstPageIsShort: a platform team reads it in five minutes.
func TestFirstPageIsShort(t *testing.T) {
	if n := strings.Count(read(t, readmes[0]), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, more than 150: a reference belongs beside what it describes", n)
	}
}

// TestReadmesAreLinked: each reference is linked from the first page, and every link of ours leads somewhere.
func TestReadmesAreLinked(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	linked := map[string]bool{readmes[0]: true}
	for _, file := range readmes {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if file == readmes[0] {
				linked[target] = true
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", file, m[0], err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s links to %s, and %s has no such heading", file, m[2], target)
			}
		}
	}
	for _, file := range readmes {
		if !linked[file] {
			t.Errorf("README.md does not link to %s", file)
		}
	}
}

// anchors are the headings of a page as GitHub makes links of them.
func anchors(page string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found = append(found, "#"+strings.ReplaceAll(name, " ", "-"))
	}
	return found
}

// TestFunctionsAreListed: the first page names each folder of functions/ once, and the reference says what the Catalog
// says.
func TestFunctionsAreListed(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]+ \\|$").FindAllStringSubmatch(section(t, "README.md", "Functions"), -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	if diff := cmp.Diff(functions(t), got); diff != "" {
		t.Errorf("functions (-functions/ +README.md):\n%s", diff)
	}

	hears := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \| (?:edge|decider|doer) \| ([^|]+) \|`).FindAllStringSubmatch(read(t, "functions/README.md"), -1) {
		for _, name := range regexp.MustCompile("`([a-z_.]+)`").FindAllStringSubmatch(m[2], -1) {
			hears[m[1]] = append(hears[m[1]], name[1])
		}
	}
	want := map[string][]string{}
	for function, types := range events.Catalog {
		for _, eventType := range types {
			want[function] = append(want[function], short(eventType))
		}
	}
	for _, list := range slices.Concat(slices.Collect(maps.Values(want)), slices.Collect(maps.Values(hears))) {
		slices.Sort(list)
	}
	if diff := cmp.Diff(want, hears); diff != "" {
		t.Errorf("what functions hear (-Catalog +functions/README.md):\n%s", diff)
	}
}

// short is a type without the prefix that the page explains.
func short(eventType string) string {
	for _, prefix := range []string{events.Prefix, "dev.knative.source.", "dev.knative."} {
		if rest, ok := strings.CutPrefix(eventType, prefix); ok {
			return rest
		}
	}
	return eventType
}

// TestAttemptsHaveTheirTests: what test/README.md says of an attacker is held by tests that exist.
func TestAttemptsHaveTheirTests(t *testing.T) {
	declared := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				declared[f.Name.Name] = true
			}
		}
	}
	for line := range strings.Lines(section(t, "test/README.md", "What an attacker tried")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[0]) == "attempt" {
			continue
		}
		held := cells[len(cells)-1]
		for _, m := range regexp.MustCompile(`\b(Test[A-Z]\w+)(…?)`).FindAllStringSubmatch(held, -1) {
			if m[2] == "" && !declared[m[1]] {
				t.Errorf("there is no %s, which is to hold:%s", m[1], cells[0])
			}
		}
		places := regexp.MustCompile("`([a-z]+/[a-z0-9/-]+)`").FindAllStringSubmatch(held, -1)
		for _, m := range places {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s, which is to hold%s: %v", m[1], cells[0], err)
			}
		}
		if len(places) == 0 && !strings.Contains(held, "Test") {
			t.Errorf("no test is named that holds:%s", cells[0])
		}
	}
}

// section is what stands below a heading of a page, up to the next of its kind.
func section(t *testing.T, file, title string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, file), "\n## "+title+"\n")
	if !found {
		t.Fatalf("%s has no section %q", file, title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// functions are the folders of functions/, sorted.
func functions(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "functions"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
