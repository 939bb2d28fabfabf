package prompt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

// names are those of the parts of a language.
func names(language string) (all []string) {
	for _, t := range builtin()[language].Templates() {
		if !strings.HasSuffix(t.Name(), ".tmpl") {
			all = append(all, t.Name())
		}
	}
	slices.Sort(all)
	return all
}

func TestEveryLanguageHasTheSameParts(t *testing.T) {
	want := names(DefaultLanguage)
	for _, language := range Languages() {
		if diff := cmp.Diff(want, names(language)); diff != "" {
			t.Errorf("parts of %s and of %s:\n%s", DefaultLanguage, language, diff)
		}
	}
	var own []string
	for stage, makes := range stages {
		if stage == "audit" {
			stage, makes = "any", nil
		}
		for _, part := range stageParts {
			own = append(own, part+" "+stage)
		}
		for _, a := range makes {
			own = append(own, "artefact "+a)
		}
	}
	for _, kind := range Kinds() {
		own = append(own, string(kind))
	}
	own = append(own, slices.Concat(blocks, messages)...)
	slices.Sort(own)
	if diff := cmp.Diff(slices.Compact(own), want); diff != "" {
		t.Errorf("parts (-known to tests +there):\n%s", diff)
	}
}

func TestTheHashTellsWordingsApart(t *testing.T) {
	hashes := map[string]string{}
	everyPrompt(t, func(t *testing.T, in Input) {
		p, err := Render(in)
		if err != nil {
			t.Fatal(err)
		}
		want := Used{Template: string(in.Kind) + " " + in.Stage, Language: in.Language, Source: BuiltIn, Hash: p.Used.Hash}
		if p.Used != want || len(p.Used.Hash) != 64 {
			t.Errorf("it says of itself %+v, want %+v", p.Used, want)
		}
		if other, twice := hashes[p.Used.Hash]; twice {
			t.Errorf("the hash is that of %s, too", other)
		}
		hashes[p.Used.Hash] = p.Used.String()
		if !strings.Contains(p.Text, p.Used.String()) {
			t.Error("the prompt does not name its template")
		}
		in.Issue.Body, in.Learning, in.Number = "Another task", true, 13
		if again, err := Render(in); err != nil || again.Used != p.Used {
			t.Errorf("another task has the wording %+v, want %+v: %v", again.Used, p.Used, err)
		}
	})
}

func TestTheProjectsPartGoesBeforeTheInstallations(t *testing.T) {
	installation := Own{Installation, "9f8e7d6c5b4a", map[string]string{"goal dev": "Build it for {{.Project}}.", "goal prd": "Write it."}}
	of := Own{OfProject, "3", map[string]string{"goal dev": "Ship it.", "work dev": "Briefly: {{.Goal}}\n{{.Issue}}{{template \"rules\" .}}"}}
	for _, c := range []struct {
		own  []Own
		want Used
		says string
	}{
		{nil, Used{Source: BuiltIn}, "Implement the issue: working code"},
		{[]Own{installation}, Used{Source: Installation, Version: "9f8e7d6c5b4a"}, "Build it for shop."},
		{[]Own{installation, of}, Used{Source: OfProject, Version: "3"}, "Briefly: Ship it."},
		{[]Own{{OfProject, "4", map[string]string{"goal prd": "Other."}}}, Used{Source: BuiltIn}, "Implement the issue: working code"},
	} {
		in := input()
		in.Own = c.own
		p, err := Render(in)
		if err != nil {
			t.Fatal(err)
		}
		c.want.Template, c.want.Language, c.want.Hash = "work dev", "en", p.Used.Hash
		if p.Used != c.want || !strings.Contains(p.Text, c.says) {
			t.Errorf("with %v: %+v\n%s\nwant %+v and %q", c.own, p.Used, p.Text, c.want, c.says)
		}
	}
}

// What another release took and this one can't is not passed over.
func TestAPartThatCannotBeUsedFailsThePrompt(t *testing.T) {
	for text, want := range map[string]string{
		"One.\n\n{{.Colour}}": `the project's part "rules" of the prompt, line 3: <.Colour>: there is no field .Colour`,
		"{{if}}":              `the project's part "rules" of the prompt, line 1: missing value for if`,
		" ":                   `the project's part "rules" of the prompt, line 1: it is empty`,
	} {
		in := input()
		in.Own = []Own{{OfProject, "3", map[string]string{"rules": text}}}
		_, err := Render(in)
		if e := new(PartError); !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%q gave %v, want %s", text, err, want)
		}
	}
	in := input()
	in.Language = "tlh"
	if _, err := Render(in); err == nil || !strings.Contains(err.Error(), "want one of en, ru") {
		t.Errorf("an unknown language gave %v", err)
	}
}

func TestPartsAreCheckedWithTheirLines(t *testing.T) {
	const rules = `{{template "rules" .}}`
	for text, want := range map[string]string{
		"{}": "",
		"en:\n  artefact prd: |\n    The requirements\n    - **Why**: who asks for them?\nru:\n  goal audit: Проверь {{.Repository}}.\n": "",
		"en:\n  work: |\n    {{.Goal}} {{.Issue}} " + rules + "\n  revise dev: |\n    {{.Issue}}{{.Review}}{{template \"trust\" .}}\n":   "",
		"de:\n  rules: x\n":     `line 1: "de": want a language, one of en, ru`,
		"en:\n  goals prd: x\n": `line 2: part "goals prd": there is no such part`,
		"en:\n  house: x\n":     `line 2: part "house": there is no such part`,
		"en: {trust: x}\n":      `line 1: part "trust": it tells agents what not to trust, and can't be replaced`,
		"en:\n  goal dev: |\n    Do it.\n    {{.Titel}}\n":                   `line 4: part "goal dev": <.Titel>: there is no field .Titel`,
		"en:\n  goal dev: |\n    {{.Number}}\n\n    {{.Number\n":             `line 5: part "goal dev": unclosed action`,
		"en:\n  goal dev: |\n    {{define \"rules\"}}{{end}}x\n":             `line 3: part "goal dev": it defines another part: give each a name of its own in the file`,
		"en:\n  goal dev: |\n    {{template \"house\" .}}\n":                 `line 3: part "goal dev": <{{template "house" .}}>: template "house" not defined`,
		"en:\n  goal dev: ''\n":                                              `line 2: part "goal dev": it is empty`,
		"en:\n  work: |\n    {{.Goal}}" + rules + "\n":                       `line 3: part "work": the prompt lacks {{.Issue}} as it is, with the marks around it`,
		"en:\n  revise: |\n    {{.Issue}}" + rules + "\n":                    `line 3: part "revise": the prompt lacks {{.Review}} as it is, with the marks around it`,
		"en:\n  discussion dev: |\n    {{.Issue}}" + rules + "\n":            `line 3: part "discussion dev": the prompt lacks {{.Talk}} as it is, with the marks around it`,
		"en:\n  decided: Go on.\n":                                           `line 2: part "decided": the prompt lacks {{.Said}} of each of .Decisions as it is, with the marks around it`,
		"en:\n  work: |\n    {{.Issue}}{{slice .Issue 0 90}}" + rules + "\n": `line 3: part "work": text of others stands outside of its marks: write the fields that hold it as they are`,
		"en:\n  rules: |\n    Be good.\n":                                    `line 3: part "rules": the prompt lacks the rules about text of others: {{template "trust" .}} has to stand in it, or {{template "rules" .}}`,
		"en:\n  work: |\n    {{.Issue}}\n":                                   `line 3: part "work": the prompt lacks the rules about text of others`,
		"en:\n  goal dev: " + strings.Repeat("x", maxPart+1):                 fmt.Sprintf(`line 2: part "goal dev": it has %d bytes, at most %d are taken`, maxPart+1, maxPart),
		"en: [x]\n": "reading the prompts: line 1: want names and values, not a list",
	} {
		_, err := Parse([]byte(text))
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "the prompts are invalid: ")
		}
		if got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s\ngave %s\nwant %s", text, got, want)
		}
	}
}

// Each built-in part may be replaced by itself: what is asked of others' parts is true of ours.
func TestTheBuiltInPartsPassTheCheck(t *testing.T) {
	for _, language := range Languages() {
		for _, name := range names(language) {
			if e := check(language, name, builtin()[language].Lookup(name).Root.String()); e != nil && name != "trust" {
				t.Errorf("%s, part %q: %v", language, name, e)
			}
		}
	}
}

func TestAKindWithoutStageIsForAny(t *testing.T) {
	in := input()
	in.Stage, in.Kind = "", events.KindDiscussion
	if p, err := Render(in); err != nil || p.Used.Template != "discussion" {
		t.Errorf("got %+v, %v", p.Used, err)
	}
}
