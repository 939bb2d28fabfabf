package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

const file = `
owners: [Alice]
projects:
  - id: shop
    name: The shop
    settings: {engine: codex, model: gpt-5.4, parallel: 2, keep: 24h, runtimeClass: gvisor, sandbox: agent-sandbox, instructions: "Write tests.",
      modes: {dev: full-env, qa: code-only}, servicesFile: deploy/services.yaml, hostedTools: [web_search]}
    repositories: [Acme/Shop, acme/api]
    members: {Bob: maintainer, carol: reader}
  - id: blog
`

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "projects.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func rows(t *testing.T, url string) []string {
	t.Helper()
	return lines(t, url, `
		SELECT * FROM (
			SELECT 'project ' || id || ' ' || name || ' ' || settings::text AS line FROM projects
			UNION ALL SELECT 'repository ' || full_name || ' ' || project_id FROM repositories
			UNION ALL SELECT 'member ' || project_id || ' ' || login || ' ' || role FROM members
		) AS lines ORDER BY line COLLATE "C"
	`)
}

func lines(t *testing.T, url, query string) []string {
	t.Helper()
	return pgtest.Open(t, url).Lines(query)
}

func TestTenAtOnceEndWell(t *testing.T) {
	e := env{DatabaseURL: pgtest.URL(t), ProjectsFile: write(t, file)}
	errs := make([]error, 10)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = run(t.Context(), e) })
	}
	wg.Wait()
	if diff := cmp.Diff(make([]error, 10), errs, cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })); diff != "" {
		t.Fatal(diff)
	}
	want := []string{
		"member * alice owner",
		"member shop bob maintainer",
		"member shop carol reader",
		`project blog blog {}`,
		`project shop The shop {"keep": "24h", "model": "gpt-5.4", "modes": {"qa": "code-only", "dev": "full-env"}, "engine": "codex", "sandbox": "agent-sandbox", "parallel": 2, ` +
			`"hostedTools": ["web_search"], "instructions": "Write tests.", "runtimeClass": "gvisor", "servicesFile": "deploy/services.yaml"}`,
		"repository acme/api shop",
		"repository acme/shop shop",
	}
	if diff := cmp.Diff(want, rows(t, e.DatabaseURL)); diff != "" {
		t.Error(diff)
	}
	if err := run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rows(t, e.DatabaseURL)); diff != "" {
		t.Errorf("the second time: %s", diff)
	}
	e.ProjectsFile = write(t, "projects: [{id: blog, repositories: [acme/api], settings: {engine: builtin}}]")
	if err := run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want[3], want[5] = `project blog blog {"engine": "builtin"}`, "repository acme/api blog"
	if diff := cmp.Diff(want, rows(t, e.DatabaseURL)); diff != "" {
		t.Errorf("after a change: %s", diff)
	}
}

// TestNumbersOutliveTheFile: what GitHub's numbers were found to be stays when the file is read again, a repository's
// new name is no second one, and a number in the file says who is meant.
func TestNumbersOutliveTheFile(t *testing.T) {
	e := env{DatabaseURL: pgtest.URL(t)}
	read := func(file string, want ...string) {
		t.Helper()
		e.ProjectsFile = write(t, file)
		if err := run(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, lines(t, e.DatabaseURL, `
			SELECT login || ' ' || coalesce(github_id, 0) FROM members
			UNION ALL SELECT full_name || ' ' || coalesce(github_id, 0) || ' ' || project_id FROM repositories
			ORDER BY 1
		`)); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", file, diff)
		}
	}
	read("owners: [alice]\nprojects: [{id: a, repositories: [acme/demo]}, {id: b}]", "acme/demo 0 a", "alice 0")
	lines(t, e.DatabaseURL, `UPDATE members SET github_id = 1 RETURNING login`)
	lines(t, e.DatabaseURL, `UPDATE repositories SET github_id = 77, name = 'Acme/Shop' RETURNING full_name`)
	read("owners: [alice]\nprojects: [{id: a, repositories: [acme/demo]}]", "acme/demo 77 a", "alice 1")
	read("owners: [alice]\nprojects: [{id: b, repositories: [acme/shop]}]", "acme/demo 77 b", "alice 1")
	read("owners: [alice@5]\nprojects: [{id: a, repositories: [acme/demo@99]}]", "acme/demo 77 b", "acme/demo@99 99 a", "alice 5")
	if diff := cmp.Diff([]string{
		"member.pinned: @alice in * is account 5, not 1 any more, as line 1 of the projects file says",
		"repository.pinned: acme/demo@99 is number 99, as line 2 of the projects file says",
	}, lines(t, e.DatabaseURL, `SELECT action || ': ' || detail FROM audit ORDER BY seq`)); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
}

// TestOneRepositoryUnderTwoNamesIsRefused: only the number tells that a present and a former name are one repository,
// which the last of the two projects would get.
func TestOneRepositoryUnderTwoNamesIsRefused(t *testing.T) {
	e := env{DatabaseURL: pgtest.URL(t), ProjectsFile: write(t, "projects: [{id: a, repositories: [acme/demo]}]")}
	if err := run(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	lines(t, e.DatabaseURL, `UPDATE repositories SET github_id = 77, name = 'Acme/Shop' RETURNING full_name`)
	for file, want := range map[string]string{
		"projects:\n  - id: a\n    repositories: [acme/shop]\n  - id: b\n    repositories: [acme/demo]\n":            "line 5: acme/demo is the repository that line 3 names acme/shop (number 77 on GitHub). Keep one of the two lines",
		"projects:\n  - id: a\n    repositories:\n      - acme/demo\n  - id: b\n    repositories: [other/name@77]\n": "line 6: other/name is the repository that line 4 names acme/demo (number 77 on GitHub). Keep one of the two lines",
	} {
		e.ProjectsFile = write(t, file)
		if err := run(t.Context(), e); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s\ngave  %v\nwant %s", file, err, want)
		}
		if diff := cmp.Diff([]string{"acme/demo a"}, lines(t, e.DatabaseURL, `SELECT full_name || ' ' || project_id FROM repositories`)); diff != "" {
			t.Errorf("after a refusal (-want +got):\n%s", diff)
		}
	}
}

// TestAProcessIsReadWithItsLines: a project's own process is checked like the installation's, each fault with its line
// of the projects file. One that is as before is no new version, and one that is left out makes way for the
// installation's.
func TestAProcessIsReadWithItsLines(t *testing.T) {
	e := env{DatabaseURL: pgtest.URL(t)}
	const head = "projects:\n  - id: shop\n    process: |\n"
	good, err := os.ReadFile("../../shared/stage/process.yaml")
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, new string) string {
		return head + "      " + strings.ReplaceAll(strings.Replace(string(good), old, new, 1), "\n", "\n      ") + "\n  - id: blog\n"
	}
	line := func(text string) int { // of the projects file
		before, _, _ := strings.Cut(string(good), text)
		return strings.Count(head, "\n") + strings.Count(before, "\n") + 1
	}
	dev := line("  - name: dev\n    label:")
	for content, want := range map[string]string{
		with("    timeout: 60m\n", ""):                    fmt.Sprintf("the projects file: project shop: the process is invalid: line %d: stage dev has no timeout", dev),
		with("    keep: 24h", "    keeps: 24h"):           fmt.Sprintf("the projects file: project shop: reading the process: line %d: the key keeps is not known here", line("    keep: 24h")),
		with("    role: dev", "    role: [dev"):           fmt.Sprintf("the projects file: project shop: reading the process: no YAML: yaml: line %d: did not find expected ',' or ']'", dev+1),
		"projects:\n  - id: a\n    process: process.yaml": "line 3: process: want the process below it, indented, after a vertical bar: process: |",
	} {
		e.ProjectsFile = write(t, content)
		if err := run(t.Context(), e); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("gave  %v\nwant %s", err, want)
		}
	}
	if got := lines(t, e.DatabaseURL, `SELECT id FROM projects`); len(got) != 0 {
		t.Errorf("a file with a fault has left %q", got)
	}
	for _, content := range []string{with("", ""), with("", ""), with("60m", "90m"), head[:23], head[:23], with("60m", "90m")} {
		e.ProjectsFile = write(t, content)
		if err := run(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(text string) string {
		p, err := stage.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p.Hash
	}
	first, second := hash(string(good)), hash(strings.Replace(string(good), "60m", "90m", 1))
	if diff := cmp.Diff([]string{"1 " + first + " function:migrate", "2 " + second + " function:migrate", "3 none function:migrate", "4 " + second + " function:migrate"},
		lines(t, e.DatabaseURL, `SELECT version || ' ' || coalesce(hash, 'none') || ' ' || set_by FROM project_processes ORDER BY version`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"project shop goes by the process " + first + ", line 4 of the projects file",
		"project shop goes by the process " + second + ", line 4 of the projects file",
		"project shop goes by the installation's process",
		"project shop goes by the process " + second + ", line 4 of the projects file",
	}, lines(t, e.DatabaseURL, `SELECT detail FROM audit WHERE action = 'project.process_set' ORDER BY seq`)); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	err := run(t.Context(), env{DatabaseURL: "postgres://user:secret@host:port/"})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Error(err)
	}
	if err := run(t.Context(), env{DatabaseURL: pgtest.URL(t), ProjectsFile: "/nowhere.yaml"}); err != nil {
		t.Errorf("without the optional file: %v", err)
	}
	folder := t.TempDir()
	err = run(t.Context(), env{DatabaseURL: pgtest.URL(t), ProjectsFile: folder})
	if err == nil || !strings.Contains(err.Error(), "reading PROJECTS_FILE: read "+folder) {
		t.Error(err)
	}
	db, err := store.Open(t.Context(), "migrate", "postgres://user:secret@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	err = connect(context.Background(), db, 1)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "check DATABASE_URL") {
		t.Error(err)
	}
}

// A Postgres that runs and refuses us is not waited for.
func TestARefusalIsNotWaitedFor(t *testing.T) {
	db, err := store.Open(t.Context(), "migrate", strings.Replace(pgtest.URL(t), "?", "_gone?", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	err = connect(t.Context(), db, time.Hour)
	if err == nil || !strings.Contains(err.Error(), "3D000") || !strings.Contains(err.Error(), "check DATABASE_URL") {
		t.Error(err)
	}
}
