package stage

import (
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/prompt"
)

// TestEveryStageHasItsPrompt: in each language and of each kind, with words of its own for the stage and each artefact
// that it makes or works from, and the path of each.
func TestEveryStageHasItsPrompt(t *testing.T) {
	p := Default()
	files := func(names []string) (all []prompt.Artefact) {
		for _, name := range names {
			if a := p.Artefact(name); a.Path != "" {
				all = append(all, prompt.Artefact{Name: name, Path: a.PathFor(12), About: "NOT DESCRIBED"})
			}
		}
		return all
	}
	anybodys := map[string]string{} // goal, by language
	for _, s := range append([]Stage{{Name: "of-nobody"}}, p.Stages...) {
		for _, language := range prompt.Languages() {
			for _, kind := range prompt.Kinds() {
				got, err := prompt.Render(prompt.Input{Nonce: strings.Repeat("0", 32), Language: language, Facts: prompt.Facts{
					Repository: "acme/shop", Number: 12, Stage: s.Name, Role: s.Role, Kind: kind, WriteScope: s.Write,
					Artefacts: files(s.Makes), Documents: files(slices.Concat(s.Needs, s.Reads)),
				}})
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case s.Name == "of-nobody" && kind == events.KindWork:
					anybodys[language] = strings.Split(got.Text, "\n\n")[1]
				case s.Name != "of-nobody" && strings.Contains(got.Text, anybodys[language]):
					t.Errorf("stage %s has no words of its own in %s, %s:\n%s", s.Name, language, kind, got.Text)
				}
				if strings.Contains(got.Text, "NOT DESCRIBED") {
					t.Errorf("stage %s, %s, %s: an artefact has no words:\n%s", s.Name, language, kind, got.Text)
				}
				for _, a := range slices.Concat(files(s.Makes), files(s.Needs), files(s.Reads)) {
					if kind != events.KindDiscussion && !strings.Contains(got.Text, "`"+a.Path+"`") {
						t.Errorf("stage %s, %s, %s: %s is not named", s.Name, language, kind, a.Path)
					}
				}
			}
		}
	}
}
