package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/agent-runner/internal/gateway"
	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/redact"
)

// sink is a gateway that keeps the log's lines.
type sink struct {
	agentapi.SessionServiceClient
	lines []string
}

func (s *sink) AppendLogs(_ context.Context, req *agentapi.AppendLogsRequest) (*agentapi.AppendLogsResponse, error) {
	for _, l := range req.GetLines() {
		s.lines = append(s.lines, l.GetStream()+": "+l.GetText())
	}
	return &agentapi.AppendLogsResponse{NextSeq: 1}, nil
}

func (s *sink) ReportProgress(context.Context, *agentapi.ReportProgressRequest) (*agentapi.ReportProgressResponse, error) {
	return &agentapi.ReportProgressResponse{}, nil
}

// newLog returns a log, and what tells its lines: "stream: text".
func newLog(t *testing.T) (*gateway.Log, func() []string) {
	t.Helper()
	to := &sink{}
	log := &gateway.Log{Gateway: to, Secrets: &redact.Secrets{}}
	return log, func() []string {
		t.Helper()
		if err := log.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return to.lines
	}
}

func TestCodexEvents(t *testing.T) {
	t.Parallel()
	log, lines := newLog(t)
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
	got := lines()
	want := []string{"runner: codex: no metadata", "agent: $ ls", "agent: a", "agent: b", "agent: [exit code 2]", "agent: first", "agent: add x",
		"agent: not json", "agent: done", "runner: tokens: 10 in (4 cached), 2 out"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if thread != "0192-abcdef01" || turn.message != "done" || !turn.completed || turn.failure != "" {
		t.Errorf("turn %+v of thread %q", turn, thread)
	}
}

// An event of the CLI that is longer than what is kept costs no more than that, and the next one is read.
func TestAnEndlessEventIsLeftOut(t *testing.T) {
	t.Parallel()
	var lengths []int
	read(io.MultiReader(strings.NewReader("{}\n"), io.LimitReader(endless{}, 64<<20), strings.NewReader("\n{}")), func(line []byte) { lengths = append(lengths, len(line)) })
	if len(lengths) != 3 || lengths[1] > maxCodexLine || lengths[2] != 2 {
		t.Errorf("events of %v bytes", lengths)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A process writes in blocks that end anywhere.
func TestASecretAcrossWritesIsReplaced(t *testing.T) {
	t.Parallel()
	secret := "ghs" + "_1234567_eyJ" + "hbGciOiJSUzI1NiJ9.eyJ" + "pc3MiOiIxMjM0NTY3In0.c2ln-bmF0_dXJl" // in parts, so that no scanner finds one here
	text := "fetching with " + secret + " now\nnext\n"
	for cut := range len(text) {
		log, lines := newLog(t)
		out := &tail{log: log}
		for _, piece := range []string{text[:cut], text[cut:]} {
			if _, err := out.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff("fetching with [redacted] now next", out.text()); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
		}
		if got := lines()[0]; got != "runner: fetching with [redacted] now" {
			t.Fatalf("cut at %d: log %q", cut, got)
		}
	}
}

// The agent may write to CODEX_HOME. What it puts in place of the CLI's files holds nothing up and leads nowhere.
func TestPipesInPlaceOfTheCLIsFiles(t *testing.T) {
	t.Parallel()
	c := &codex{Options: Options{Home: t.TempDir()}}
	const thread = "0192-abcdef01"
	name := "sessions/2026/11/23/rollout-1-" + thread + ".jsonl"
	if err := c.Resume(Conversation{ThreadID: thread, Name: name, Data: []byte("{}\n{")}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Conversation(); err != nil || string(got.Data) != "{}\n" {
		t.Fatalf("the conversation is %q, %v", got.Data, err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	session, config := filepath.Join(c.Home, name), filepath.Join(c.Home, "config.toml")
	for what, put := range map[string]func(file string) error{
		"a pipe":   func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"a link":   func(file string) error { return os.Symlink(outside, file) },
		"a folder": func(file string) error { return os.MkdirAll(filepath.Join(file, "x"), 0o700) },
	} {
		for _, file := range []string{session, config} {
			if err := errors.Join(os.RemoveAll(file), put(file)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := c.Conversation(); err == nil {
			t.Errorf("%s: the conversation is %q", what, got.Data)
		}
		if err := c.configure("http://127.0.0.1:1"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if info, err := os.Lstat(config); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: the configuration is %v, %v", what, info, err)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "kept\n" {
		t.Errorf("outside is %q, %v", got, err)
	}
}
