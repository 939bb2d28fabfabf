package model

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTask(t *testing.T) {
	scoped := strings.Replace(dev, "- …", "- You may change only paths that match one of: `src/**/*.go` `docs/**`. If", 1)
	first := Task{Number: 7, Title: "Add a greeting in French", Body: "People in Lyon ask for it."}
	for name, c := range map[string]struct {
		users []string
		want  Task
	}{
		"an issue": {[]string{dev}, first},
		"a scope":  {[]string{scoped}, Task{Number: 7, Title: first.Title, Body: first.Body, Scope: []string{"src/**/*.go", "docs/**"}}},
		"a review after it": {[]string{dev, revise}, Task{Number: 7, Title: first.Title, Body: first.Body,
			Review: "Please add the informal “Salut !” too.", Reviews: []string{"Please add the informal “Salut !” too."}}},
		"a lost pod": {[]string{dev, "The container was lost. Continue."}, first},
		"no fences":  {[]string{"Say hello\nto everybody"}, Task{Title: "Say hello", Body: "to everybody"}},
		"nobody":     {nil, Task{}},
	} {
		c.want.Prompt = ""
		if len(c.users) > 0 {
			c.want.Prompt = c.users[len(c.users)-1]
		}
		if diff := cmp.Diff(c.want, readTask(c.users)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPath(t *testing.T) {
	for _, c := range []struct {
		scope []string
		want  string
	}{
		{nil, "a.md"},
		{[]string{"**"}, "a.md"},
		{[]string{"src/*.go", "docs/**"}, "docs/a.md"},
		{[]string{"docs/guide/*"}, "docs/guide/a.md"},
		{[]string{"README.md"}, "a.md"},
	} {
		if got := (Task{Scope: c.scope}).Path("a.md"); got != c.want {
			t.Errorf("scope %q: got %s, want %s", c.scope, got, c.want)
		}
	}
}

func TestSlug(t *testing.T) {
	for title, want := range map[string]string{
		"Round prices up":         "round-prices-up",
		"  ../../etc/passwd & co": "etc-passwd-co",
		"Добавить":                "task-7",
		strings.Repeat("ab ", 40): strings.TrimSuffix(strings.Repeat("ab-", 16), "-"),
	} {
		if got := (Task{Title: title, Number: 7}).Slug(); got != want {
			t.Errorf("%q: got %q, want %q", title, got, want)
		}
	}
}

func TestFinalMessageHasAShortFirstLine(t *testing.T) {
	message := finalMessage(Task{Title: strings.Repeat("é", 100), Review: "no"}, "x")
	first, _, _ := strings.Cut(message, "\n")
	if n := len([]rune(first)); n > 72 {
		t.Errorf("%d characters: %s", n, first)
	}
}

// TestWriteCommand runs the command that writes a file, with content that would break out of careless quoting.
func TestWriteCommand(t *testing.T) {
	folder := t.TempDir()
	content := "it's $HOME `id` \"x\" \\\nEND\nEND_\n$(touch broken)"
	command := Step{Write: &File{Path: "a b/it's.txt", Content: content}}.command()
	shell := exec.Command("bash", "-c", command)
	shell.Dir = folder
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(folder, "a b", "it's.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(content+"\n", string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("more was written: %v", entries)
	}
}

func TestScriptsAreChosenByPrompt(t *testing.T) {
	s := New(Options{Scripts: []Script{{
		Name: "progress", Match: "TELL the platform",
		Steps: []Step{{Call: &Call{Tool: "mcp__platform/progress", Arguments: map[string]any{"text": "half way"}}}, {Call: &Call{Tool: "absent"}}},
		Final: "told",
	}}})
	c := &conversation{tools: map[string]string{"progress": "mcp__platform"}}
	c.user("<environment_context>…</environment_context>")
	c.user("Please tell the platform.")
	got, script := s.next(c)
	if diff := cmp.Diff(turn{tool: "progress", namespace: "mcp__platform", arguments: `{"text":"half way"}`}, got, cmp.AllowUnexported(turn{})); diff != "" || script != "progress" {
		t.Errorf("script %s (-want +got):\n%s", script, diff)
	}
	c.result("ok", false)
	if got, _ := s.next(c); got.text != "told" {
		t.Errorf("after the call: %+v", got)
	}
}

// TestACommandThatRunsOnIsWaitedFor holds the waits and their bound.
func TestACommandThatRunsOnIsWaitedFor(t *testing.T) {
	s := New(Options{})
	c := &conversation{tools: map[string]string{"exec_command": "", pollTool: ""}}
	c.user("hello")
	c.result("Process running with session ID 81\nOutput:\n", false)
	for range maxPolls {
		got, _ := s.next(c)
		if got.tool != pollTool || !strings.Contains(got.arguments, `"session_id":81`) {
			t.Fatalf("got %+v, want a wait", got)
		}
		c.result("Process running with session ID 81\nOutput:\n", true)
	}
	if got, _ := s.next(c); got.tool != "exec_command" {
		t.Errorf("after all waits: got %+v, want the next step", got)
	}
}

func TestFitMakesWhatTheSchemaAsksFor(t *testing.T) {
	schema := `{"type":"object","required":["branch","summary","outcome","files","n","done"],"properties":{"branch":{"type":"string"},
		"summary":{"type":"string"},"outcome":{"type":"string","enum":["succeeded","failed"]},"files":{"type":"array"},"n":{"type":"integer"},"done":{"type":"boolean"}}}`
	var got map[string]any
	if err := json.Unmarshal([]byte(fit(json.RawMessage(schema), "done it")), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"branch": "", "summary": "done it", "outcome": "succeeded", "files": []any{}, "n": float64(0), "done": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
