package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentapi"
)

// documents makes the run one of a stage that makes these files.
func (w *world) documents(body string) {
	w.gateway.change(func(g *fakeGateway) {
		g.assignment.Stage, g.assignment.Role, g.assignment.WriteScope, g.assignment.IssueBody = "prd", "pm", []string{"**/*.md"}, body
		g.assignment.GoesOn = true
		for _, name := range []string{"prd", "nfr", "user_stories"} {
			g.assignment.Artefacts = append(g.assignment.Artefacts, &agentapi.Artefact{Name: name, Path: "docs/work/1/" + name + ".md", About: "What it is about"})
		}
	})
}

// What is missing goes back into the same conversation, once; what is still missing then makes the pull request a draft
// and is said in it.
func TestIncompleteWorkGoesBackOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, engine, body string
		files              []string
		back, draft        bool
	}{
		{"complete", "codex", "Say it politely.", []string{"nfr", "prd", "user_stories"}, false, false},
		{"completed, codex", "codex", "Leave out: nfr.md", []string{"nfr", "prd", "user_stories"}, true, false},
		{"completed, builtin", "builtin", "Leave out: nfr.md", []string{"nfr", "prd", "user_stories"}, true, false},
		{"left out for good", "codex", "Leave out for good: nfr.md", []string{"prd", "user_stories"}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.engine)
			w.documents(c.body)
			if code := w.exit(w.pod(w.codex()...)); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			got := w.gateway.report()
			var want []string
			for _, name := range c.files {
				want = append(want, "docs/work/1/"+name+".md")
			}
			if diff := cmp.Diff(want, got.GetChangedFiles()); diff != "" || got.GetOutcome() != "succeeded" {
				t.Errorf("%s; files (-want +got):\n%s", got.GetOutcome(), diff)
			}
			const sent = "The work goes back to the agent: `docs/work/1/nfr.md` is missing"
			if n := strings.Count(w.gateway.log(), sent); n != map[bool]int{true: 1}[c.back] {
				t.Errorf("the work went back %d times:\n%s", n, w.gateway.log())
			}
			pull := w.github.PullRequests(testRepo)[0]
			const said = "The stage's work is not complete:\n\n- `docs/work/1/nfr.md` is missing"
			if pull.Pull.Draft != c.draft || strings.Contains(pull.Body, said) != c.draft || strings.Contains(got.GetSummary(), said) != c.draft {
				t.Errorf("draft %t, want %t:\n%s", pull.Pull.Draft, c.draft, pull.Body)
			}
			if !strings.Contains(pull.Body, "Part of #1") {
				t.Errorf("the pull request would close the issue:\n%s", pull.Body)
			}
		})
	}
}

// An agent may put anything in a file's place. Nothing is followed, and nothing is waited for.
func TestWhatMayStandInAFilesPlace(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"good.md": "# A\n\nText.\n", "todo.md": "TODO\n", "large.md": strings.Repeat("TODO\n", 1<<16)} {
		if err := os.WriteFile(path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Mkdir(path("folder.md"), 0o755), os.Symlink("good.md", path("link.md")), os.Symlink("/etc", path("outside")), syscall.Mkfifo(path("pipe.md"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]string{
		"good.md": "", "large.md": "", "todo.md": "is not finished: line 1: TODO", "none.md": "is missing", "folder.md": "is no file",
		"link.md": "is no file", "pipe.md": "is no file", "outside/passwd": "is no file", "good.md/x.md": "is no file",
	} {
		if got := fileFault(root, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
