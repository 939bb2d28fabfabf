package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/store"
)

// Each version of a project's prompts stays; the same again is no version, and a file without them is one.
func TestAProjectsPromptsHaveVersions(t *testing.T) {
	w := newWorld(t)
	db := w.as("migrate")
	rules, gate := prompt.Parts{"en": {"rules": `{{template "trust" .}} é`}}, prompt.Parts{"ru": {"gate": "x"}}
	for _, c := range []struct {
		parts   prompt.Parts
		version int
	}{
		{nil, 0}, {rules, 1}, {rules, 1}, {gate, 2}, {rules, 3}, {nil, 4}, {nil, 4}, {gate, 5},
	} {
		if err := db.SaveProjects(t.Context(), &project.File{Projects: []project.Project{{ID: "shop", Name: "Shop", Settings: project.Settings{Language: "ru"}, Prompts: c.parts}}}); err != nil {
			t.Fatal(err)
		}
		got, err := db.Briefing(t.Context(), store.AgentRun{ID: runA, Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.parts, got.Prompts); diff != "" || got.Version != c.version || got.Settings.Language != "ru" || got.Process == nil {
			t.Errorf("version %d, want %d; parts (-want +got):\n%s", got.Version, c.version, diff)
		}
	}
	want := []string{
		"project shop has prompts of its own, version 1", "project shop has prompts of its own, version 2", "project shop has prompts of its own, version 3",
		"project shop has prompts of its own, version 5", "project shop has the installation's prompts",
	}
	if diff := cmp.Diff(want, w.sql.Lines(`SELECT detail FROM audit WHERE action = 'project.prompts_set' ORDER BY detail`)); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if _, err := db.Briefing(t.Context(), store.AgentRun{Project: "gone"}); err == nil {
		t.Error("a project that there is not is told of")
	}
}
