package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	openai "github.com/sashabaranov/go-openai"

	"codexk8s.dev/functions/agent-runner/internal/process"
)

// toolbox does what the builtin engine's model asks for, inside the workspace. The file tools go through an os.Root,
// which follows no link out of it. Every failure is an answer that the model can act on.
type toolbox struct {
	root *os.Root
	dir  string
}

// Bounds of one tool call.
const (
	maxToolOutput = 32 << 10
	maxListed     = 1000
	maxToolTime   = 10 * time.Minute
)

// toolAnswer is a tool's result.
type toolAnswer struct {
	text     string
	finished bool // the model called finish; text is its summary
}

var toolDefinitions = []openai.Tool{
	tool("read_file", "Read a text file.", "path"),
	tool("write_file", "Write a whole text file; missing folders are created.", "path", "content"),
	tool("list_files", "List all files below a folder. The root is \".\".", "path"),
	tool("run", "Run a shell command in the root of the repository. Returns its output and exit code.", "command"),
	tool("finish", "End the task. The summary becomes the pull request's description: its first line is one sentence.", "summary"),
}

func tool(name, description string, parameters ...string) openai.Tool {
	properties := map[string]any{}
	for _, p := range parameters {
		properties[p] = map[string]any{"type": "string"}
	}
	return openai.Tool{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{
		Name: name, Description: description,
		Parameters: map[string]any{"type": "object", "properties": properties, "required": parameters, "additionalProperties": false},
	}}
}

func (t *toolbox) call(ctx context.Context, name, arguments string) toolAnswer {
	var a struct{ Path, Content, Command, Summary string }
	if err := json.Unmarshal([]byte(arguments), &a); err != nil {
		return toolAnswer{text: fmt.Sprintf("error: the arguments are not the JSON object that %s takes: %v", name, err)}
	}
	var text string
	var err error
	switch name {
	case "read_file":
		text, err = t.readFile(a.Path)
	case "write_file":
		text, err = t.writeFile(a.Path, a.Content)
	case "list_files":
		text, err = t.listFiles(a.Path)
	case "run":
		text, err = t.run(ctx, a.Command)
	case "finish":
		return toolAnswer{text: a.Summary, finished: true}
	default:
		err = fmt.Errorf("there is no tool %q", name)
	}
	if err != nil {
		return toolAnswer{text: "error: " + err.Error()}
	}
	return toolAnswer{text: text}
}

// inside cleans a path and refuses what the model must not touch. Links inside the workspace are followed, and must not
// end in .git either.
func (t *toolbox) inside(name string) (string, error) {
	clean := path.Clean(filepath.ToSlash(strings.TrimSpace(name)))
	if !filepath.IsLocal(clean) {
		return "", fmt.Errorf("the path %q is outside of the repository", name)
	}
	real, err := resolve(t.dir, clean)
	if err != nil {
		return "", err
	}
	for _, p := range []string{clean, real} {
		for part := range strings.SplitSeq(p, "/") {
			if strings.EqualFold(part, ".git") {
				return "", errors.New("the .git folder is not yours to read or change")
			}
		}
	}
	return clean, nil
}

// resolve follows the links of the longest part of the path that exists.
func resolve(dir, name string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("finding the workspace: %w", err)
	}
	rest := ""
	for at := name; ; at = path.Dir(at) {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, at))
		if err == nil {
			rel, err := filepath.Rel(dir, real)
			if err != nil || !filepath.IsLocal(rel) {
				return "", fmt.Errorf("the path %q leads out of the repository", name)
			}
			return path.Join(filepath.ToSlash(rel), rest), nil
		}
		if at == "." {
			return "", fmt.Errorf("resolving %q: %w", name, err)
		}
		rest = path.Join(path.Base(at), rest)
	}
}

func (t *toolbox) readFile(name string) (string, error) {
	p, err := t.inside(name)
	if err != nil {
		return "", err
	}
	f, err := t.root.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would be waited for
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", notAFile(p)
	}
	// Only what is shown is read: a file may be larger than memory.
	var out output
	size := info.Size()
	for _, from := range []int64{0, max(maxToolOutput, size-maxToolOutput)} {
		if _, err := io.Copy(&out, io.NewSectionReader(f, from, maxToolOutput)); err != nil {
			return "", err
		}
	}
	if out.bytes = max(out.bytes, int(size)); bytes.IndexByte(out.head, 0) >= 0 || bytes.IndexByte(out.tail, 0) >= 0 {
		return "", fmt.Errorf("%s is a binary file of %d bytes", p, size)
	}
	return out.text(), nil
}

func notAFile(name string) error {
	return fmt.Errorf("%s is a folder, a pipe, a socket or a device, not a file", name)
}

func (t *toolbox) writeFile(name, content string) (string, error) {
	p, err := t.inside(name)
	if err != nil {
		return "", err
	}
	if err := t.root.MkdirAll(path.Dir(p), 0o755); err != nil {
		return "", err
	}
	if old, err := t.root.Stat(p); err == nil && !old.Mode().IsRegular() {
		return "", notAFile(p)
	}
	f, err := t.root.OpenFile(p, os.O_WRONLY|os.O_CREATE|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return "", err
	}
	err = f.Truncate(0) // fails for what took the place of a file meanwhile
	if err == nil {
		_, err = f.WriteString(content)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("wrote %d bytes to %s", len(content), p), nil
}

func (t *toolbox) listFiles(name string) (string, error) {
	p, err := t.inside(name)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	listed := 0
	err = fs.WalkDir(t.root.FS(), p, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir():
			return nil
		case listed == maxListed:
			out.WriteString("[more files are left out; list a folder below]\n")
			return fs.SkipAll
		}
		listed++
		out.WriteString(name + "\n")
		return nil
	})
	if err != nil {
		return "", err
	}
	if listed == 0 {
		return "(no files)", nil
	}
	return cutMiddle(out.String(), 0), nil
}

// outputDelay is how long to wait for a command's output after it has ended, if something that it left running keeps
// the output open.
const outputDelay = time.Second

// run runs a command in a shell. What it leaves running, such as a server to try out, runs until the engine has
// finished (process.EndAgent).
func (t *toolbox) run(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxToolTime)
	defer cancel()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.SysProcAttr, cmd.WaitDelay = t.dir, process.OwnGroup(), outputDelay
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	finished := make(chan struct{})
	go process.Stop(ctx, cmd.Process.Pid, finished)
	err := cmd.Wait()
	close(finished)
	text := strings.TrimRight(out.text(), "\n")
	var exit *exec.ExitError
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ctx.Err() != nil:
		return text + fmt.Sprintf("\n[stopped after %s]", maxToolTime), nil
	case status.Signaled():
		return text + fmt.Sprintf("\n[ended by signal: %s]", status.Signal()), nil
	case errors.Is(err, exec.ErrWaitDelay):
		text += "\n[what the command left running goes on, and its output is not shown]"
	case err != nil && !errors.As(err, &exit):
		return "", err
	}
	return fmt.Sprintf("%s\n[exit code %d]", text, cmd.ProcessState.ExitCode()), nil
}

// output keeps the beginning and the end of what is written to it, whatever passes between.
type output struct {
	mu         sync.Mutex // the process and what it left running may write at the same time
	head, tail []byte
	bytes      int
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes += len(p)
	n := min(len(p), maxToolOutput-len(o.head))
	o.head = append(o.head, p[:n]...)
	o.tail = append(o.tail, p[n:]...)
	if len(o.tail) > 4*maxToolOutput {
		o.tail = append([]byte(nil), o.tail[len(o.tail)-maxToolOutput:]...)
	}
	return n + len(p[n:]), nil
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := append(append([]byte(nil), o.head...), o.tail...)
	return cutMiddle(strings.ToValidUTF8(string(all), "\uFFFD"), o.bytes-len(all))
}

// cutMiddle keeps the beginning and the end of long text, where the interesting lines are, and says how much is
// missing, of which some may be missing already. It cuts between lines where it can: half a secret is not recognised.
func cutMiddle(text string, missing int) string {
	if len(text) <= maxToolOutput && missing == 0 {
		return text
	}
	half := min(maxToolOutput, len(text)) / 2
	head, tail := text[:half], text[len(text)-half:]
	if end := strings.LastIndexByte(head, '\n'); end > half/2 {
		head = head[:end]
	}
	if begin := strings.IndexByte(tail, '\n'); begin >= 0 && begin < half/2 {
		tail = tail[begin+1:]
	}
	missing += len(text) - len(head) - len(tail)
	return strings.ToValidUTF8(head, "") + fmt.Sprintf("\n[%d bytes left out]\n", missing) + strings.ToValidUTF8(tail, "")
}
