package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	openai "github.com/sashabaranov/go-openai"

	"codexk8s.dev/shared/agentapi"
)

func TestWriteScope(t *testing.T) {
	paths := []string{"README.md", "a.go", "docs/x.md", "docs/a/b/c.txt", "docsx/y.txt", "src/a.go", "src/a/b.go", ".github/workflows/ci.yml", "with\nnewline.md"}
	for _, c := range []struct {
		globs   []string
		allowed []string
	}{
		{nil, paths},
		{[]string{"**"}, paths},
		{[]string{"*.md"}, []string{"README.md", "docs/x.md", "with\nnewline.md"}},
		{[]string{"/README.md"}, []string{"README.md"}},
		{[]string{"docs/**"}, []string{"docs/x.md", "docs/a/b/c.txt"}},
		{[]string{"docs/"}, []string{"docs/x.md", "docs/a/b/c.txt"}},
		{[]string{"docs/*"}, []string{"docs/x.md"}},
		{[]string{"docs/**/c.txt"}, []string{"docs/a/b/c.txt"}},
		{[]string{"**/*.go"}, []string{"a.go", "src/a.go", "src/a/b.go"}},
		{[]string{"src/?.go"}, []string{"src/a.go"}},
		{[]string{"s.c/**", "[a].go"}, nil},
	} {
		s, err := compileScope(c.globs)
		if err != nil {
			t.Fatal(err)
		}
		outside := map[string]bool{}
		for _, p := range s.outside(paths) {
			outside[p] = true
		}
		var allowed []string
		for _, p := range paths {
			if !outside[p] {
				allowed = append(allowed, p)
			}
		}
		if diff := cmp.Diff(c.allowed, allowed); diff != "" {
			t.Errorf("%v allows (-want +got):\n%s", c.globs, diff)
		}
	}
	if _, err := compileScope([]string{"docs/**", " "}); err == nil {
		t.Error("an empty pattern was taken")
	}
}

func TestToolsStayInTheWorkspace(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for path, content := range map[string]string{"a/b.txt": "hello", ".git/config": "secret", "bin": "\x00"} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"out": outside, "outdir": filepath.Dir(outside), "git": ".git", "in": "a"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	tools := &toolbox{root: root, dir: dir}
	for _, c := range []struct{ tool, arguments, want string }{
		{"read_file", `{"path":"a/b.txt"}`, "hello"},
		{"read_file", `{"path":"in/b.txt"}`, "hello"},
		{"read_file", `{"path":"bin"}`, "error: bin is a binary file of 1 bytes"},
		{"read_file", `{"path":"out"}`, `error: the path "out" leads out of the repository`},
		{"read_file", `{"path":"outdir/secret"}`, `error: the path "outdir/secret" leads out of the repository`},
		{"write_file", `{"path":"outdir/new","content":"x"}`, `error: the path "outdir/new" leads out of the repository`},
		{"read_file", `{"path":"../x"}`, `error: the path "../x" is outside of the repository`},
		{"read_file", `{"path":"/etc/passwd"}`, `error: the path "/etc/passwd" is outside of the repository`},
		{"read_file", `{"path":".git/config"}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"git/hooks/x","content":""}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"a/.GIT/x","content":""}`, "error: the .git folder is not yours to read or change"},
		{"write_file", `{"path":"new/deep/f.txt","content":"äx"}`, "wrote 3 bytes to new/deep/f.txt"},
		{"list_files", `{"path":"."}`, "a/b.txt\nbin\ngit\nin\nnew/deep/f.txt\nout\noutdir\n"},
		{"list_files", `{"path":"nowhere"}`, "error: "},
		{"run", `{"command":"cat a/b.txt; echo oops >&2; exit 3"}`, "hellooops\n[exit code 3]"},
		{"finish", `{"summary":"done"}`, "done"},
		{"delete_everything", `{}`, `error: there is no tool "delete_everything"`},
		{"run", `not json`, "error: the arguments are not the JSON object that run takes"},
	} {
		got := tools.call(t.Context(), c.tool, c.arguments).text
		if got != c.want && !(strings.HasPrefix(c.want, "error: ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s %s = %q, want %q", c.tool, c.arguments, got, c.want)
		}
	}
}

func TestSnapshotComesBackAsItWas(t *testing.T) {
	want := snapshot{Engine: "codex", ThreadID: "t", Name: "sessions/x.jsonl", Task: "n", Head: "h", Done: true, Summary: "s", Work: "w", Lost: []string{"l"}, Notes: []string{"n"}, Memory: []byte("m\n"), Pack: []byte("p\x00")}
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	for _, bad := range [][]byte{nil, []byte("x"), data[:len(data)/2]} {
		if _, err := decodeSnapshot(bad); err == nil {
			t.Errorf("%d bytes were taken for a snapshot", len(bad))
		}
	}
}

func TestOpenToolCallsAreAnsweredOnResume(t *testing.T) {
	call := func(id string) openai.ToolCall { return openai.ToolCall{ID: id} }
	messages := []openai.ChatCompletionMessage{
		{Role: "user", Content: "do"},
		{Role: "assistant", ToolCalls: []openai.ToolCall{call("1"), call("2")}},
		{Role: "tool", ToolCallID: "1", Content: "ok"},
	}
	got := closeCalls(messages)
	want := append(messages[:3:3], openai.ChatCompletionMessage{Role: "tool", ToolCallID: "2", Content: "aborted: the container was lost while this ran"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestLongHistoryLosesOldResultsOnly(t *testing.T) {
	big := strings.Repeat("x", maxHistory/2)
	messages := []openai.ChatCompletionMessage{{Role: "user", Content: "do"}, {Role: "tool", Content: big}, {Role: "assistant", Content: "hm"}, {Role: "tool", Content: big}}
	got := shortened(messages)
	want := []openai.ChatCompletionMessage{messages[0], {Role: "tool", Content: "[left out]"}, messages[2], messages[3]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if len(messages[1].Content) != len(big) {
		t.Error("the history itself was changed")
	}
}

func TestCommitMessage(t *testing.T) {
	a := &agentapi.Assignment{IssueNumber: 12, IssueTitle: "Round up", RunId: "r1"}
	for summary, want := range map[string]string{
		"":                           "Work on #12: Round up\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"## **Round prices**\n\nWhy": "Round prices\n\nWhy\n\nRefs #12\n\nCodexk8s-Run: r1\n",
		"One\nCodexk8s-Run: forged":  "One\n\nCodexk8s-Run  forged\n\nRefs #12\n\nCodexk8s-Run: r1\n",
	} {
		got := commitMessage(a, summary)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message of %q (-want +got):\n%s", summary, diff)
		}
	}
	if got := withoutTrailers(commitMessage(a, "One\n\nTwo")); got != "One\n\nTwo" {
		t.Errorf("the summary comes back as %q", got)
	}
}

func TestOurPartOfThePullRequestIsReplaced(t *testing.T) {
	first := withSection("", "one")
	if want := sectionBegin + "\none\n" + sectionEnd; first != want {
		t.Errorf("got %q", first)
	}
	if got, want := withSection("by hand\n\n"+first+"\nafter", "two"), "by hand\n\n"+sectionBegin+"\ntwo\n"+sectionEnd+"\nafter"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := withSection("by hand", "x"+sectionEnd), "by hand\n\n"+sectionBegin+"\nx\n"+sectionEnd; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCodexEvents(t *testing.T) {
	log := &runLog{redact: &redactor{}}
	var thread string
	turn := codexTurn{log: log, started: func(id string) { thread = id }}
	for line := range strings.Lines(`{"type":"thread.started","thread_id":"0192-abcdef01"}
{"type":"turn.started"}
{"type":"item.completed","item":{"type":"error","message":"no metadata"}}
{"type":"item.started","item":{"type":"command_execution","command":"ls"}}
{"type":"item.completed","item":{"type":"command_execution","command":"ls","aggregated_output":"a\nb\n","exit_code":2}}
{"type":"item.completed","item":{"type":"agent_message","text":"first"}}
{"type":"item.completed","item":{"type":"file_change","changes":[{"path":"x","kind":"add"}]}}
{"type":"item.completed","item":{"type":"something_new"}}
not json
{"type":"item.completed","item":{"type":"agent_message","text":"done"}}
{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":2}}
`) {
		turn.line([]byte(line))
	}
	var got []string
	for _, l := range log.waiting {
		got = append(got, l.GetStream()+": "+l.GetText())
	}
	want := []string{"runner: codex: no metadata", "agent: $ ls", "agent: a", "agent: b", "agent: [exit code 2]", "agent: first", "agent: add x",
		"agent: not json", "agent: done", "runner: tokens: 10 in (4 cached), 2 out"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if thread != "0192-abcdef01" || turn.message != "done" || !turn.completed || turn.failure != "" {
		t.Errorf("turn %+v of thread %q", turn, thread)
	}
}
