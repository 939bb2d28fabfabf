package model

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// codexBinary finds the real Codex CLI: CODEX_BIN, the one that `make tools` installs, or the one in PATH.
func codexBinary(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CODEX_BIN"); bin != "" {
		return bin
	}
	// The native program inside npm's platform package: it needs no Node.
	found, err := filepath.Glob("../../node_modules/@openai/codex-*/vendor/*/bin/codex")
	if err == nil && len(found) > 0 {
		bin, err := filepath.Abs(found[0])
		if err != nil {
			t.Fatal(err)
		}
		return bin
	}
	bin, err := exec.LookPath("codex")
	if err != nil {
		t.Fatal("the Codex CLI is not installed: run `make tools`, or set CODEX_BIN")
	}
	return bin
}

// codex is one machine that runs the CLI against the fake.
type codex struct {
	t            *testing.T
	binary, home string
	work         string // working directory
	args         []string
}

// newCodex makes a fresh CODEX_HOME. It lies beside the test and not in the system's temporary folder, where Codex
// warns.
func newCodex(t *testing.T, url, work string) codex {
	t.Helper()
	home, err := os.MkdirTemp(".", ".codex-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if home, err = filepath.Abs(home); err != nil {
		t.Fatal(err)
	}
	config := `model = "gpt-5.4"
model_provider = "gw"
[model_providers.gw]
name = "gw"
base_url = "` + url + `/v1"
env_key = "RUN_TOKEN"
wire_api = "responses"
[analytics]
enabled = false
`
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return codex{t: t, binary: codexBinary(t), home: home, work: work}
}

// line is what the CLI prints with --json, reduced.
type line struct {
	Type     string `json:"type"`
	ThreadID string `json:"thread_id"`
	Item     struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		ExitCode *int   `json:"exit_code"`
	} `json:"item"`
}

// command is `codex exec` with the arguments, not yet started.
func (c codex) command(args ...string) *exec.Cmd {
	args = append([]string{"exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"}, append(c.args, args...)...)
	cmd := exec.Command(c.binary, args...)
	cmd.Dir = c.work
	cmd.Env = append(os.Environ(), "CODEX_HOME="+c.home, "RUN_TOKEN="+DefaultKey)
	return cmd
}

// run runs the CLI to its end and returns the thread, the exit codes of its commands and its last message.
func (c codex) run(args ...string) (thread string, exits []int, last string) {
	c.t.Helper()
	cmd := c.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("codex %v: %v\n%s\n%s", args, err, out, stderr.String())
	}
	scanner := bufio.NewScanner(bytes.NewReader(out))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			c.t.Fatalf("%s: %v", scanner.Text(), err)
		}
		switch {
		case l.ThreadID != "":
			thread = l.ThreadID
		case l.Type == "item.completed" && l.Item.Type == "command_execution" && l.Item.ExitCode != nil:
			exits = append(exits, *l.Item.ExitCode)
		case l.Type == "item.completed" && l.Item.Type == "agent_message":
			last = l.Item.Text
		}
	}
	return thread, exits, last
}

// rollouts copies the session of one home to another, which is all that a resume needs.
func (c codex) rollouts(to codex) {
	c.t.Helper()
	if err := os.CopyFS(filepath.Join(to.home, "sessions"), os.DirFS(filepath.Join(c.home, "sessions"))); err != nil {
		c.t.Fatal(err)
	}
}

// files returns the contents of the folder, by path.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(folder, path))
		got[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestRealCodexWorksAndResumes lets the real CLI do an issue, then answer a review on another machine that got only the
// rollout and a fresh checkout.
func TestRealCodexWorksAndResumes(t *testing.T) {
	s := New(Options{})
	h := httptest.NewServer(s)
	defer h.Close()

	const tests = "grep -q Bonjour greetings/french.txt && echo PASS\n"
	first := newCodex(t, h.URL, checkout(t, map[string]string{"test.sh": tests}))
	thread, exits, last := first.run(dev)
	if thread == "" || !strings.HasPrefix(last, "Add a greeting in French\n") {
		t.Errorf("thread %q, last message %q", thread, last)
	}
	if diff := cmp.Diff([]int{0, 0, 0}, exits); diff != "" {
		t.Errorf("exit codes (-want +got):\n%s", diff)
	}
	want := map[string]string{"test.sh": tests, "greetings/french.txt": "Bonjour, le monde !\n"}
	if diff := cmp.Diff(want, files(t, first.work)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	calls := func() []string {
		var got []string
		for _, r := range s.Requests() {
			if r.Key != DefaultKey || !r.Stream || r.Status != 200 {
				t.Errorf("request with key %q, stream %v, status %d", r.Key, r.Stream, r.Status)
			}
			got = append(got, r.Call)
		}
		s.Reset()
		return got
	}
	if diff := cmp.Diff([]string{"exec_command", "exec_command", "exec_command", ""}, calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}

	second := newCodex(t, h.URL, checkout(t, want))
	first.rollouts(second)
	again, exits, last := second.run("resume", thread, revise)
	if again != thread || !strings.HasPrefix(last, "Answer the review: Add a greeting in French\n") {
		t.Errorf("thread %s became %s, last message %q", thread, again, last)
	}
	if diff := cmp.Diff([]int{0, 0, 0, 0}, exits); diff != "" {
		t.Errorf("exit codes (-want +got):\n%s", diff)
	}
	want["greetings/french.txt"] = "Bonjour, le monde !\nSalut !\n"
	if diff := cmp.Diff(want, files(t, second.work)); diff != "" {
		t.Errorf("files after the review (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"exec_command", "exec_command", "exec_command", "exec_command", ""}, calls()); diff != "" {
		t.Errorf("calls after the review (-want +got):\n%s", diff)
	}
}

// TestRealCodexGoesOnAfterAKill kills the CLI in the middle of a command and resumes the conversation elsewhere.
func TestRealCodexGoesOnAfterAKill(t *testing.T) {
	s := New(Options{})
	h := httptest.NewServer(s)
	defer h.Close()

	const endless = "echo $$ >pid && mv pid started\nexec sleep 600\n"
	first := newCodex(t, h.URL, checkout(t, map[string]string{"test.sh": endless}))
	cmd := first.command(dev)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for _, err := os.Stat(filepath.Join(first.work, "started")); err != nil; _, err = os.Stat(filepath.Join(first.work, "started")) {
		if time.Now().After(deadline) {
			t.Fatal("the tests of the repository were never started")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The command outlives the CLI; on Kubernetes the pod's end takes it along.
	text, err := os.ReadFile(filepath.Join(first.work, "started"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the killed CLI says that it ended well")
	}
	s.Reset()

	thread := ""
	for path := range files(t, filepath.Join(first.home, "sessions")) {
		name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
		thread = name[len(name)-36:]
	}
	second := newCodex(t, h.URL, checkout(t, map[string]string{"test.sh": "true\n"}))
	first.rollouts(second)
	again, exits, last := second.run("resume", thread, "The container was lost. Continue the task.")
	if again != thread || !strings.HasPrefix(last, "Add a greeting in French\n") {
		t.Errorf("thread %s became %s, last message %q", thread, again, last)
	}
	if diff := cmp.Diff([]int{0, 0, 0}, exits); diff != "" {
		t.Errorf("exit codes (-want +got):\n%s", diff)
	}
	want := map[string]string{"test.sh": "true\n", "greetings/french.txt": "Bonjour, le monde !\n"}
	if diff := cmp.Diff(want, files(t, second.work)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestRealCodexWaitsForALongCommand holds that a command which outlasts exec_command is waited for before the next
// step.
func TestRealCodexWaitsForALongCommand(t *testing.T) {
	s := New(Options{Scripts: []Script{{Name: "patience", Match: "patience", Final: "done", Steps: []Step{
		{Call: &Call{Tool: "exec_command", Arguments: map[string]any{"cmd": "sleep 2 && touch slept", "yield_time_ms": 250}}},
		{Run: "ls slept"},
	}}}})
	h := httptest.NewServer(s)
	defer h.Close()
	c := newCodex(t, h.URL, t.TempDir())
	_, exits, last := c.run("Have patience.")
	if diff := cmp.Diff([]int{0, 0}, exits); diff != "" || last != "done" {
		t.Errorf("last message %q, exit codes (-want +got):\n%s", last, diff)
	}
	var calls []string
	for _, r := range s.Requests() {
		calls = append(calls, r.Call)
	}
	if diff := cmp.Diff([]string{"exec_command", "write_stdin", "exec_command", ""}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestRealCodexFillsTheOutputSchema holds that the last message fits a schema when the CLI is given one.
func TestRealCodexFillsTheOutputSchema(t *testing.T) {
	h := httptest.NewServer(New(Options{}))
	defer h.Close()
	c := newCodex(t, h.URL, checkout(t, map[string]string{"README.md": "hello\n"}))
	schema := filepath.Join(c.home, "schema.json")
	text := `{"type":"object","additionalProperties":false,"required":["summary","open"],"properties":{"summary":{"type":"string"},"open":{"type":"array","items":{"type":"string"}}}}`
	if err := os.WriteFile(schema, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.args = []string{"--output-schema", schema}
	_, _, last := c.run("Write a page about hedgehogs")
	var got struct {
		Summary string
		Open    []string
	}
	if err := json.Unmarshal([]byte(last), &got); err != nil {
		t.Fatalf("%s: %v", last, err)
	}
	if !strings.HasPrefix(got.Summary, "Write a page about hedgehogs\n") || got.Open == nil {
		t.Errorf("got %+v", got)
	}
}

// checkout is a folder with the files.
func checkout(t *testing.T, content map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for path, text := range content {
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
