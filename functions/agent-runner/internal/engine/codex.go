package engine

import (
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

	"codexk8s.dev/functions/agent-runner/internal/process"
)

// codex is the engine that runs the Codex CLI, one process per message.
//
// The CLI speaks the Responses API to the run's line, with the line's key. Its memory is one file, the rollout, which
// it appends to; that file in an empty CODEX_HOME is all that `exec resume` needs. The pod is the sandbox, so the CLI's
// own is off.
type codex struct {
	Options

	mu       sync.Mutex
	threadID string
}

// modelKey is the variable with the line's key.
const modelKey = "CODEXK8S_MODEL_KEY"

// The platform's tools are an MCP server on the same line, with the same key.
//
// codexConfig: https://github.com/openai/codex/blob/main/docs/config.md. The key is named, never written, and the
// agent's commands do not inherit it. The line retries requests, so the CLI does not. By default the CLI would search
// the web, from OpenAI's network. The CLI waits one second for a server that is not required, and then begins without
// its tools and without a word; a gateway that scales from zero takes longer.
const codexConfig = `model_provider = "gateway"
check_for_update_on_startup = false
web_search = "disabled"

[model_providers.gateway]
name = "gateway"
base_url = %s
env_key = "CODEXK8S_MODEL_KEY"
wire_api = "responses"
request_max_retries = 0

[mcp_servers.platform]
url = %s
bearer_token_env_var = "CODEXK8S_MODEL_KEY"
required = true
startup_timeout_sec = 300
tool_timeout_sec = 300

[analytics]
enabled = false

[shell_environment_policy]
inherit = "all"
exclude = ["CODEXK8S_MODEL_KEY"]
`

func newCodex(o Options) (*codex, error) {
	if _, err := exec.LookPath(o.CodexBin); err != nil {
		return nil, fmt.Errorf("finding the Codex CLI, set CODEX_BIN to it or use the builtin engine: %w", err)
	}
	if err := os.RemoveAll(o.Home); err != nil {
		return nil, fmt.Errorf("emptying CODEX_HOME: %w", err)
	}
	if err := os.MkdirAll(o.Home, 0o755); err != nil {
		return nil, fmt.Errorf("creating CODEX_HOME: %w", err)
	}
	return &codex{Options: o}, nil
}

// configure writes the CLI's settings for one run: the line is opened again for each.
func (c *codex) configure(address string) error {
	url, err := json.Marshal(address) // a JSON string is a TOML basic string
	tools, toolsErr := json.Marshal(address + "/mcp")
	if err := errors.Join(err, toolsErr); err != nil {
		return fmt.Errorf("writing the URL of the model: %w", err)
	}
	if err := replace(filepath.Join(c.Home, "config.toml"), fmt.Appendf(nil, codexConfig, url, tools), 0o644); err != nil {
		return fmt.Errorf("writing the Codex configuration: %w", err)
	}
	return nil
}

// threadIDs are UUIDs. Checked because one becomes part of a file name pattern and of an argument.
var threadIDs = regexp.MustCompile(`\A[0-9a-fA-F-]{8,64}\z`)

func (c *codex) Resume(from Conversation) error {
	if !threadIDs.MatchString(from.ThreadID) {
		return fmt.Errorf("the session's thread id %q is not one of Codex", from.ThreadID)
	}
	if !filepath.IsLocal(from.Name) {
		return fmt.Errorf("the session's file name %q leaves CODEX_HOME", from.Name)
	}
	file := filepath.Join(c.Home, from.Name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("restoring the session: %w", err)
	}
	if err := replace(file, from.Data, 0o600); err != nil {
		return fmt.Errorf("restoring the session: %w", err)
	}
	c.setThread(from.ThreadID)
	return nil
}

// Forget leaves the conversation.
func (c *codex) Forget() { c.setThread("") }

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

// Conversation reads the rollout up to its last whole line, because the CLI may be writing the next one.
func (c *codex) Conversation() (Conversation, error) {
	id := c.thread()
	if id == "" {
		return Conversation{}, nil
	}
	files, err := filepath.Glob(filepath.Join(c.Home, "sessions", "*", "*", "*", "rollout-*-"+id+".jsonl"))
	if err != nil || len(files) == 0 {
		return Conversation{}, err // the file comes a moment after the thread id
	}
	file := files[len(files)-1] // names sort by time
	data, err := readFile(file)
	if err != nil {
		return Conversation{}, fmt.Errorf("reading the Codex session: %w", err)
	}
	name, err := filepath.Rel(c.Home, file)
	if err != nil {
		return Conversation{}, fmt.Errorf("naming the Codex session: %w", err)
	}
	return Conversation{ThreadID: id, Name: name, Data: data[:bytes.LastIndexByte(data, '\n')+1]}, nil
}

// The agent may write to CODEX_HOME too. It could have put a pipe there, at which whoever reads or writes waits without
// end, or a link that leads elsewhere.

// readFile reads a regular file.
func readFile(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, notAFile(filepath.Base(file)))
	}
	return io.ReadAll(f)
}

// replace makes a file in place of whatever has its name.
func replace(file string, data []byte, mode os.FileMode) error {
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// The message goes in by standard input ("-"): an argument may have 128 KiB on Linux, an issue may be larger, and every
// process on the machine can read arguments.
func (c *codex) arguments() []string {
	args := []string{"exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"}
	if c.Model != "" {
		args = append(args, "-m", c.Model)
	}
	if c.Reasoning != "" {
		args = append(args, "-c", "model_reasoning_effort="+c.Reasoning)
	}
	if c.Searches {
		args = append(args, "-c", "web_search=live")
	}
	if id := c.thread(); id != "" {
		return append(args, "resume", id, "-")
	}
	return append(args, "-")
}

// errNoSession says that the CLI did not accept the restored session; use a new one.
var errNoSession = errors.New("the session could not be resumed")

// errKilled says that the CLI was killed, and not by us.
var errKilled = errors.New("killed (SIGKILL), as Linux does with a process when memory is used up")

func (c *codex) Run(ctx context.Context, message string) (string, error) {
	address, key, shut, err := c.Line.Open()
	if err != nil {
		return "", err
	}
	defer shut()
	if err := c.configure(address); err != nil {
		return "", err
	}
	resumed := c.thread() != ""
	cmd := exec.Command(c.CodexBin, c.arguments()...)
	cmd.Dir = c.Dir
	// A proxy of the pod must not come between this process and the CLI.
	cmd.Env = append(os.Environ(), "CODEX_HOME="+c.Home, modelKey+"="+key,
		"NO_PROXY="+os.Getenv("NO_PROXY")+",127.0.0.1", "no_proxy="+os.Getenv("no_proxy")+",127.0.0.1")
	cmd.Stdin = strings.NewReader(message)
	cmd.SysProcAttr = process.OwnGroup()
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("starting the Codex CLI: %w", err)
	}
	problems := &tail{log: c.Log}
	cmd.Stderr = problems
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("starting the Codex CLI: %w", err)
	}
	finished := make(chan struct{})
	defer close(finished)
	go process.Stop(ctx, cmd.Process.Pid, finished)

	turn := codexTurn{log: c.Log, started: c.setThread}
	read(out, turn.line)
	err = cmd.Wait()
	if !turn.completed {
		process.Kill(cmd.Process.Pid) // else what the agent left running is endAgent's
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
			c.Log.Say("The Codex CLI had completed its turn, and then ended badly: %v: %s", err, said)
		}
		return turn.message, nil
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "", fmt.Errorf("the Codex CLI was %w", errKilled)
	case resumed && turn.thread == "":
		c.Forget()
		return "", fmt.Errorf("%w: %s", errNoSession, said)
	case turn.failure != "":
		return "", fmt.Errorf("the Codex CLI could not finish: %s", turn.failure)
	case err != nil:
		return "", fmt.Errorf("the Codex CLI ended badly: %w: %s", err, said)
	}
	return "", fmt.Errorf("the Codex CLI ended in the middle of its turn: %s", said)
}
