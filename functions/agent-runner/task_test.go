package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/prompt"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/test/fakes/model"
)

// Documents that stages before should have left are named where the checkout has them.
func TestDocumentsThatAreThereAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prd.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := facts(&agentapi.Assignment{WriteScope: []string{"**"}, Documents: []*agentapi.Artefact{{Name: "prd", Path: "prd.md", About: "x"}, {Name: "nfr", Path: "nfr.md"}}}, dir)
	if diff := cmp.Diff([]prompt.Artefact{{Name: "prd", Path: "prd.md", About: "x"}}, got.Documents); diff != "" || got.WriteScope != nil {
		t.Errorf("scope %q, documents (-want +got):\n%s", got.WriteScope, diff)
	}
}

// The model gets the project's words, in its language, and the platform hears what they were.
func TestATaskInTheProjectsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) {
		g.assignment.Language, g.assignment.IssueLabels = "ru", []string{"idea"}
		g.assignment.Wordings = []*agentapi.Wording{{Source: prompt.OfProject, Version: "3", Parts: map[string]string{"goal dev": "Поздоровайся по-французски."}}}
	})
	w.script(model.Step{Run: "echo Bonjour >french.txt"})
	if code := w.exit(w.pod(w.codex()...)); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if r := w.gateway.report(); r.GetOutcome() != "succeeded" {
		t.Fatalf("report %v", r)
	}
	used := w.gateway.prompt
	if used.GetTemplate() != "work dev" || used.GetLanguage() != "ru" || used.GetSource() != "project" || used.GetVersion() != "3" || len(used.GetHash()) != 64 {
		t.Errorf("the platform heard of %v", used)
	}
	if !strings.Contains(w.gateway.log(), "`work dev`, ru, project 3, "+used.GetHash()[:12]) {
		t.Errorf("the log does not say it:\n%s", w.gateway.log())
	}
}

// Nothing takes the place of words that can't be used, and the report says what to do.
func TestWordsThatCannotBeUsedEndTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "builtin")
	w.gateway.change(func(g *fakeGateway) {
		g.assignment.Wordings = []*agentapi.Wording{{Source: prompt.OfProject, Version: "3", Parts: map[string]string{"goal dev": "Do\n{{.Colour}}"}}}
	})
	w.exit(w.pod(w.codex()...))
	r := w.gateway.report()
	if r.GetReason() != reason.PromptInvalid || !strings.Contains(r.GetSummary(), `the project's part "goal dev" of the prompt, line 2: <.Colour>: there is no field .Colour`) {
		t.Errorf("report %v", r)
	}
}
