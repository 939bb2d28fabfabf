package project_test

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/project"
)

// TestSettingsAreTheReadmes: each setting that projects.yaml may have has its row in config/README.md, and no other.
func TestSettingsAreTheReadmes(t *testing.T) {
	readme, err := os.ReadFile("../../config/README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\| setting \|.*?\n\n`).Find(readme)
	var got, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllSubmatch(table, -1) {
		got = append(got, string(row[1]))
	}
	for field := range reflect.TypeFor[project.Settings]().Fields() {
		want = append(want, field.Tag.Get("yaml"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("project settings (-code +config/README.md):\n%s", diff)
	}
}

func TestABadFileIsRefusedWithItsLines(t *testing.T) {
	for content, want := range map[string]string{
		"projects:\n  - id: shop\n    settings:\n      colour: x\n":                                "line 4: the key colour is not known here",
		"projects:\n  - id: Shop\n":                                                                `line 2: project id "Shop": want 1 to 40 lower-case letters, digits and inner hyphens`,
		"projects:\n  - name: x\n":                                                                 "line 2: project 1 of 1 has no id",
		"projects:\n  - id: a\n  - id: a\n    members: {bob: king}\n":                              `line 3: project "a" is in line 2 already; line 4: role "king" of bob: want one of owner, admin, maintainer, reader`,
		"projects:\n  - id: a\n    repositories:\n      - acme\n":                                  `line 4: "acme" is no repository (owner/name)`,
		"projects:\n  - id: a\n    repositories:\n      - a/b\n  - id: b\n    repositories: [A/B]": `line 6: repository "a/b" is in line 4 already`,
		"projects:\n  - id: a\n    settings: {runtimeClass: G Visor}":                              `line 3: runtimeClass "G Visor": want the name of a RuntimeClass, such as gvisor`,
		"projects:\n  - id: a\n    settings: {sandbox: docker}":                                    `line 3: sandbox "docker": want agent-sandbox, or leave it out for a Job`,
		"projects:\n  - id: a\n    settings: {engine: magic,\n      keep: soon}":                   `line 3: engine "magic": want codex or builtin; line 4: keep "soon": want a duration such as 24h`,
		"projects:\n  - id: a\n    settings: {hiddenText: show}":                                   `line 3: hiddenText "show": want mark or drop`,
		"projects:\n  - id: a\n    settings: {language: tlh}":                                      `line 3: language "tlh": want one of en, ru`,
		"projects:\n  - id: a\n    settings:\n      learners: {-x: true}":                          `line 4: "-x" is no login`,
		"projects:\n  - id: a\n    prompts:\n      ru:\n        rules: |\n          {{.X}}":        `line 6: part "rules": <.X>: there is no field .X`,
		"projects:\n  - id: a\n    settings: {database: ../x}":                                     `line 3: database "../x": want the name of a Secret in the namespace codexk8s-databases, such as shop`,
		"projects:\n  - id: a\n    settings: {fallback: {m: m}}":                                   `line 3: fallback: "m" can't stand in for "m": want another model that the process allows`,
		"projects:\n  - id: a\n    settings: {hostedTools: [mcp]}":                                 `line 3: hostedTools: "mcp" is not offered: want web_search or web_search_preview`,
		"projects:\n  - id: a\n    settings: {modes: {dev: all},\n      servicesFile: /etc/x}":     `line 3: mode "all" of role dev: want full-env or code-only; line 4: servicesFile "/etc/x": want a file's path in the repository, such as deploy/services.yaml`,
		"projects:\n  - id: a\n    members: {bob: reader, bob@7: admin}":                           `line 3: login "bob" is in line 3 already`,
		"projects:\n  - id: a\n    members:\n      bob@7: reader\n      rob@7: admin":              `line 5: the account with the number "7" is in line 4 already`,
		"projects:\n  - id: a\n    settings: {parallel: 0}":                                        `line 3: parallel is 0: want at least 1`,
		"projects:\n  - id: a\n    repositories: [a/b@7]\n  - id: b\n    repositories: [c/d@7]":    `line 5: the repository with the number "7" is in line 3 already`,
		"owners: {": "no YAML: yaml: line 1: did not find expected node content",
	} {
		if _, err := project.Parse([]byte(content)); err == nil || err.Error() != want {
			t.Errorf("%s\ngave  %v\nwant %s", content, err, want)
		}
	}
}

func TestWhoWorksOnWhat(t *testing.T) {
	got, err := project.Parse([]byte(`owners: [Alice@5]
projects:
  - id: shop
    name: The shop
    settings: {parallel: 2, keep: 24h, modes: {dev: full-env}}
    repositories: [Acme/Shop, acme/shop@99]
    members: {bob: maintainer, Carol@7: reader}
  - id: "007"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &project.File{
		Owners: []project.Name{{Text: "alice", Number: 5, Line: 1}},
		Projects: []project.Project{{
			ID: "shop", Name: "The shop", Settings: project.Settings{Parallel: 2, Keep: "24h", Modes: map[string]string{"dev": "full-env"}},
			Repositories: []project.Name{{Text: "acme/shop", Line: 6}, {Text: "acme/shop", Number: 99, Line: 6}},
			Members:      []project.Member{{project.Name{Text: "carol", Number: 7, Line: 7}, access.Reader}, {project.Name{Text: "bob", Line: 7}, access.Maintainer}},
		}, {ID: "007", Name: "007"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoIsExplainedTo(t *testing.T) {
	on, off := true, false
	some := map[string]bool{"Carol": false, "dave@7": true}
	for _, c := range []struct {
		settings     project.Settings
		login        string
		id           int64
		installation bool
		want         bool
	}{
		{project.Settings{}, "bob", 1, false, false},
		{project.Settings{}, "bob", 1, true, true},
		{project.Settings{Learning: &off}, "bob", 1, true, false},
		{project.Settings{Learning: &on, Learners: some}, "bob", 1, false, true},
		{project.Settings{Learning: &on, Learners: some}, "carol", 2, true, false},
		{project.Settings{Learners: some}, "now-called-else", 7, false, true},
		{project.Settings{Learners: some}, "dave", 8, false, false}, // has the name by now
	} {
		if got := c.settings.Learns(c.login, c.id, c.installation); got != c.want {
			t.Errorf("%+v, for %s: %t, want %t", c.settings, c.login, got, c.want)
		}
	}
}
