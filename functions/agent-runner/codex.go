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
// The CLI speaks the Responses API to the run's line, with the line's key. Its memory is one file, the rollout, which it
// appends to as it goes; that file in an empty CODEX_HOME is all that `exec resume` needs. The pod is the sandbox, so
// the CLI's own is off.
type codex struct {
	env       env
	line      *line
	model     string
	reasoning string
	searches  bool // the project allows web_search
	log       *runLog

	mu       sync.Mutex
	threadID string
}

// modelKey is the variable with the line's key.
const modelKey = "CODEXK8S_MODEL_KEY"

// codexConfig: https://github.com/openai/codex/blob/main/docs/config.md. The key is named, never written. The
// commands that the agent runs do not inherit it. The line repeats requests, so the CLI does not.
// The CLI's own default is to search the web, live, from OpenAI's network.
const codexConfig = `model_provider = "gateway"
check_for_update_on_startup = false
web_search = "disabled"

[model_providers.gateway]
name = "gateway"
base_url = %s
env_key = "CODEXK8S_MODEL_KEY"
wire_api = "responses"
request_max_retries = 0

[analytics]
enabled = false

[shell_environment_policy]
inherit = "all"
exclude = ["CODEXK8S_MODEL_KEY"]
`

func newCodex(e env, l *line, model, reasoning string, log *runLog) (*codex, error) {
	if _, err := exec.LookPath(e.CodexBin); err != nil {
		return nil, fmt.Errorf("find the Codex CLI, set CODEX_BIN to it or use the builtin engine: %w", err)
	}
	if err := os.RemoveAll(e.codexHome()); err != nil {
		return nil, fmt.Errorf("empty CODEX_HOME: %w", err)
	}
	if err := os.MkdirAll(e.codexHome(), 0o755); err != nil {
		return nil, fmt.Errorf("create CODEX_HOME: %w", err)
	}
	return &codex{env: e, line: l, model: model, reasoning: reasoning, log: log}, nil
}

// configure writes the CLI's settings, for one run: the line is opened anew for each.
func (c *codex) configure(address string) error {
	url, err := json.Marshal(address) // a JSON string is a TOML basic string
	if err != nil {
		return fmt.Errorf("write the URL of the model: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.env.codexHome(), "config.toml"), fmt.Appendf(nil, codexConfig, url), 0o644); err != nil {
		return fmt.Errorf("write the Codex configuration: %w", err)
	}
	return nil
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

// forget leaves the conversation.
func (c *codex) forget() { c.setThread("") }

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
	if c.searches {
		args = append(args, "-c", "web_search=live")
	}
	if id := c.thread(); id != "" {
		return append(args, "resume", id, "-")
	}
	return append(args, "-")
}

// errNoSession says that the CLI did not take the restored session; a new one is the way out.
var errNoSession = errors.New("the session could not be resumed")

// errKilled says that the CLI was killed by somebody else than us.
var errKilled = errors.New("killed (SIGKILL), as Linux does with a process when memory is used up")

func (c *codex) run(ctx context.Context, message string) (string, error) {
	address, key, shut, err := c.line.open()
	if err != nil {
		return "", err
	}
	defer shut()
	if err := c.configure(address); err != nil {
		return "", err
	}
	resumed := c.thread() != ""
	cmd := exec.Command(c.env.CodexBin, c.arguments()...)
	cmd.Dir = c.env.checkout()
	// A proxy that the pod may have is not for this process and the CLI.
	cmd.Env = append(os.Environ(), "CODEX_HOME="+c.env.codexHome(), modelKey+"="+key,
		"NO_PROXY="+os.Getenv("NO_PROXY")+",127.0.0.1", "no_proxy="+os.Getenv("no_proxy")+",127.0.0.1")
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
	if !turn.completed {
		killGroup(cmd.Process.Pid) // else what the agent left running is endAgent's
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return c.ended(&turn, resumed, cmd.ProcessState, err, problems.text())
}

// ended says what the end of the CLI means. A turn that was completed is the agent's work, whatever came after it.
func (c *codex) ended(turn *codexTurn, resumed bool, state *os.ProcessState, err error, said string) (string, error) {
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case turn.completed && turn.failure == "":
		if err != nil {
			c.log.say("The Codex CLI had completed its turn, and then ended badly: %v: %s", err, said)
		}
		return turn.message, nil
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "", fmt.Errorf("the Codex CLI was %w", errKilled)
	case resumed && turn.thread == "":
		c.forget()
		return "", fmt.Errorf("%w: %s", errNoSession, said)
	case turn.failure != "":
		return "", fmt.Errorf("the Codex CLI could not finish: %s", turn.failure)
	case err != nil:
		return "", fmt.Errorf("the Codex CLI ended badly: %w: %s", err, said)
	}
	return "", fmt.Errorf("the Codex CLI ended in the middle of its turn: %s", said)
}

// maxCodexLine bounds one event in memory. The longest are those with the output of a command.
const maxCodexLine = 8 << 20

// read gives every line to f, but for what of it is beyond maxCodexLine.
func read(in io.Reader, f func([]byte)) {
	lines := bufio.NewReaderSize(in, 64<<10)
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		if room := maxCodexLine - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(bytes.TrimSpace(line)) > 0 {
			f(line)
		}
		if line = line[:0]; cap(line) > 1<<20 {
			line = nil
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
