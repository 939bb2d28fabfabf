package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// codex is the engine that runs the Codex CLI, one process per message.
//
// The CLI speaks the Responses API to LLM_URL with the run token as key. Its memory is one file, the rollout, which it
// appends to as it goes; that file in an empty CODEX_HOME is all that `exec resume` needs. The pod is the sandbox, so
// the CLI's own is off.
type codex struct {
	env       env
	model     string
	reasoning string
	log       *runLog

	mu       sync.Mutex
	threadID string
}

// codexConfig: https://github.com/openai/codex/blob/main/docs/config.md. The token is named, never written. The
// commands that the agent runs do not inherit it.
const codexConfig = `model_provider = "gateway"
check_for_update_on_startup = false

[model_providers.gateway]
name = "gateway"
base_url = %s
env_key = "RUN_TOKEN"
wire_api = "responses"

[analytics]
enabled = false

[shell_environment_policy]
inherit = "all"
exclude = ["RUN_TOKEN"]
`

func newCodex(e env, model, reasoning string, log *runLog) (*codex, error) {
	if _, err := exec.LookPath(e.CodexBin); err != nil {
		return nil, fmt.Errorf("find the Codex CLI, set CODEX_BIN to it or use the builtin engine: %w", err)
	}
	if err := os.RemoveAll(e.codexHome()); err != nil {
		return nil, fmt.Errorf("empty CODEX_HOME: %w", err)
	}
	if err := os.MkdirAll(e.codexHome(), 0o755); err != nil {
		return nil, fmt.Errorf("create CODEX_HOME: %w", err)
	}
	url, err := json.Marshal(e.LLMURL) // a JSON string is a TOML basic string
	if err != nil {
		return nil, fmt.Errorf("write the URL of the model: %w", err)
	}
	config := fmt.Appendf(nil, codexConfig, url)
	if err := os.WriteFile(filepath.Join(e.codexHome(), "config.toml"), config, 0o644); err != nil {
		return nil, fmt.Errorf("write the Codex configuration: %w", err)
	}
	return &codex{env: e, model: model, reasoning: reasoning, log: log}, nil
}

// threadIDs are UUIDs. Checked because one becomes part of a file name pattern and of an argument.
var threadIDs = regexp.MustCompile(`\A[0-9a-fA-F-]{8,64}\z`)

func (c *codex) resume(from conversation) error {
	if !threadIDs.MatchString(from.ThreadID) {
		return fmt.Errorf("the session's thread id %q is not one of Codex", from.ThreadID)
	}
	if !filepath.IsLocal(from.Name) {
		return fmt.Errorf("the session's file name %q leaves CODEX_HOME", from.Name)
	}
	file := filepath.Join(c.env.codexHome(), from.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("restore the session: %w", err)
	}
	if err := os.WriteFile(file, from.Data, 0o600); err != nil {
		return fmt.Errorf("restore the session: %w", err)
	}
	c.setThread(from.ThreadID)
	return nil
}

func (c *codex) setThread(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threadID = id
}

func (c *codex) thread() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.threadID
}

// conversation reads the rollout up to its last whole line, since the CLI may be writing the next one.
func (c *codex) conversation() (conversation, error) {
	id := c.thread()
	if id == "" {
		return conversation{}, nil
	}
	files, err := filepath.Glob(filepath.Join(c.env.codexHome(), "sessions", "*", "*", "*", "rollout-*-"+id+".jsonl"))
	if err != nil || len(files) == 0 {
		return conversation{}, err // the file comes a moment after the thread id
	}
	file := files[len(files)-1] // names sort by time
	data, err := os.ReadFile(file)
	if err != nil {
		return conversation{}, fmt.Errorf("read the Codex session: %w", err)
	}
	name, err := filepath.Rel(c.env.codexHome(), file)
	if err != nil {
		return conversation{}, fmt.Errorf("name the Codex session: %w", err)
	}
	return conversation{ThreadID: id, Name: name, Data: data[:bytes.LastIndexByte(data, '\n')+1]}, nil
}

// The message goes in by standard input ("-"): an argument may have 128 KiB on Linux, an issue may be larger, and what
// is an argument can be read by every process of the machine.
func (c *codex) arguments() []string {
	args := []string{"exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"}
	if c.model != "" {
		args = append(args, "-m", c.model)
	}
	if c.reasoning != "" {
		args = append(args, "-c", "model_reasoning_effort="+c.reasoning)
	}
	if id := c.thread(); id != "" {
		return append(args, "resume", id, "-")
	}
	return append(args, "-")
}

// errNoSession says that the CLI did not take the restored session; a new one is the way out.
var errNoSession = errors.New("the session could not be resumed")

func (c *codex) run(ctx context.Context, message string) (string, error) {
	resumed := c.thread() != ""
	cmd := exec.Command(c.env.CodexBin, c.arguments()...)
	cmd.Dir = c.env.checkout()
	cmd.Env = append(os.Environ(), "CODEX_HOME="+c.env.codexHome(), "RUN_TOKEN="+c.env.RunToken)
	cmd.Stdin = strings.NewReader(message)
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("start the Codex CLI: %w", err)
	}
	problems := &tail{log: c.log}
	cmd.Stderr = problems
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the Codex CLI: %w", err)
	}
	finished := make(chan struct{})
	defer close(finished)
	go stopGroup(ctx, cmd.Process.Pid, finished)

	turn := codexTurn{log: c.log, started: c.setThread}
	read(out, turn.line)
	err = cmd.Wait()
	killGroup(cmd.Process.Pid) // whatever the agent left running
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case resumed && turn.thread == "":
		c.setThread("")
		return "", fmt.Errorf("%w: %s", errNoSession, problems.text())
	case turn.failure != "":
		return "", codexFailure(turn.failure)
	case err != nil:
		return "", fmt.Errorf("the Codex CLI ended badly: %w: %s", err, problems.text())
	case !turn.completed:
		return "", fmt.Errorf("the Codex CLI ended in the middle of its turn: %s", problems.text())
	}
	return turn.message, nil
}

// refusedByModel matches what the CLI says of an answer that it does not retry because the request itself was refused.
var refusedByModel = regexp.MustCompile(`\bstatus (400|401|402|403|404|413|422)\b`)

func codexFailure(text string) error {
	if refusedByModel.MatchString(text) {
		return engineFailure(text)
	}
	return fmt.Errorf("the Codex CLI could not finish: %s", text)
}

// read gives every line to f. Lines are as long as the output of the commands that the agent runs.
func read(in io.Reader, f func([]byte)) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			f(line)
		}
		if err != nil {
			return
		}
	}
}

// stopGroup asks the process to end when ctx does, and insists after a while. The CLI saves its rollout as it goes, so
// SIGTERM loses nothing.
func stopGroup(ctx context.Context, pid int, finished <-chan struct{}) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	_ = syscall.Kill(pid, syscall.SIGTERM) // an error means it is gone, which is what we want
	select {
	case <-finished:
	case <-time.After(5 * time.Second):
		killGroup(pid)
	}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// tail logs what a process writes to its standard error, line by line, and keeps the end of it for the error text.
// Whole lines, because a secret that is cut in two is not recognised.
type tail struct {
	log  *runLog
	mu   sync.Mutex
	part []byte   // of a line that goes on
	last []string // lines
	size int      // bytes in last
}

const (
	maxTail     = 2 << 10
	maxTailLine = 64 << 10 // a longer line is told in pieces
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	end := bytes.LastIndexByte(t.part, '\n') + 1
	if end == 0 && len(t.part) > maxTailLine {
		end = len(t.part)
	}
	if end > 0 {
		t.keep(string(t.part[:end]))
		t.part = append([]byte(nil), t.part[end:]...)
	}
	return len(p), nil
}

// keep takes whole lines.
func (t *tail) keep(text string) {
	t.log.add(streamRunner, text)
	for line := range strings.Lines(text) {
		t.last, t.size = append(t.last, line), t.size+len(line)
	}
	for t.size > maxTail && len(t.last) > 1 {
		t.last, t.size = t.last[1:], t.size-len(t.last[0])
	}
}

// text is the end of what was written, after the process has ended.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.part) > 0 {
		t.keep(string(t.part))
		t.part = nil
	}
	return shortLine(t.log.redact.clean(strings.Join(t.last, "")), maxTail)
}
