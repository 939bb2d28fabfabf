package checkout

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Commit identity of the agent's work.
const (
	authorName  = "codexk8s agent"
	authorEmail = "agent@codexk8s.dev"
)

// commits are the names of objects: SHA-1, which is what GitHub has.
var commits = regexp.MustCompile(`\A[0-9a-f]{40}\z`)

// settings are those of every git process. Those of pack and core.bigFileThreshold bound its memory: larger files are
// streamed and not compared with others.
var settings = []string{
	"-c", "core.hooksPath=" + os.DevNull, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-c", "core.autocrlf=false",
	"-c", "core.safecrlf=false", "-c", "core.excludesFile=" + os.DevNull, "-c", "core.attributesFile=" + os.DevNull,
	"-c", "commit.gpgSign=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false",
	"-c", "fetch.unpackLimit=1", // packs alone, see Renew
	"-c", "core.bigFileThreshold=4m", "-c", "core.deltaBaseCacheLimit=16m", "-c", "pack.threads=1", "-c", "pack.windowMemory=16m", "-c", "pack.deltaCacheSize=16m",
	"-c", "protocol.ext.allow=never", "-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=60",
}

// gitError is a failed git command. Its text is the end of git's standard error, with secrets replaced. Standard output
// is not part of it, because it may be file contents.
type gitError struct {
	command string // e.g. "fetch"
	said    string // standard error
	told    string // standard output of push --porcelain
	err     error
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: %v: %s", e.command, e.err, tailOf(e.said))
}
func (e *gitError) Unwrap() error { return e.err }

// maxSaid bounds what git says in an error.
const maxSaid = 2 << 10

func tailOf(text string) string {
	text = strings.TrimSpace(text)
	if over := len(text) - maxSaid; over > 0 {
		text = "… " + strings.ToValidUTF8(text[over:], "")
	}
	return text
}

// ending keeps the end of what is written to it: a server may send any amount of text.
type ending struct{ kept []byte }

func (e *ending) Write(p []byte) (int, error) {
	const most = 64 << 10
	e.kept = append(e.kept, p...)
	if over := len(e.kept) - most; over > most { // seldom, for speed
		e.kept = append(e.kept[:0], e.kept[over:]...)
	}
	return len(p), nil
}

func (e *ending) String() string { return string(e.kept) }

// astray are prefixes of variables that could redirect git, ssh or curl. The home folder is one: curl reads passwords
// from a file in it, and agents can write to it.
var astray = []string{"GIT_", "LC_", "XDG_", "SSH_", "CURL_", "NETRC=", "HOME="}

// environ is the environment without what could redirect git.
func (r *Repository) environ(more ...string) []string {
	var out []string
	for _, v := range os.Environ() {
		if !slices.ContainsFunc(astray, func(name string) bool { return strings.HasPrefix(v, name) }) {
			out = append(out, v)
		}
	}
	return append(append(out, "LC_ALL=C", "HOME="+os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_AUTHOR_NAME="+authorName, "GIT_AUTHOR_EMAIL="+authorEmail, "GIT_COMMITTER_NAME="+authorName, "GIT_COMMITTER_EMAIL="+authorEmail), more...)
}

// command is a git process in our own directory.
func (r *Repository) command(ctx context.Context, environ []string, args ...string) *exec.Cmd {
	own := []string{"GIT_DIR=" + r.GitDir, "GIT_NO_REPLACE_OBJECTS=1"}
	return r.process(ctx, r.GitDir, r.environ(slices.Concat(own, environ)...), args...)
}

// inFiles is command with the agent's files as the work tree, so that their attributes and ignore rules apply.
func (r *Repository) inFiles(ctx context.Context, args ...string) *exec.Cmd {
	cmd := r.command(ctx, []string{"GIT_WORK_TREE=" + r.Dir}, args...)
	cmd.Dir = r.Dir
	return cmd
}

func (r *Repository) process(ctx context.Context, dir string, environ []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", slices.Concat(settings, args)...)
	cmd.Dir, cmd.Env = dir, environ
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// read runs cmd and gives its output to take, which may stop early.
func (r *Repository) read(ctx context.Context, cmd *exec.Cmd, take func(io.Reader) error) error {
	var said ending
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting git: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting git: %w", err)
	}
	taken := take(out)
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return r.failed(ctx, cmd, said.String(), "", err)
	}
	return taken
}

func (r *Repository) failed(ctx context.Context, cmd *exec.Cmd, said, told string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &gitError{command: cmd.Args[1+len(settings)], said: r.Clean(said), told: r.Clean(told), err: err}
}

// text runs a command whose output is short.
func (r *Repository) text(ctx context.Context, cmd *exec.Cmd) (string, error) {
	out, _, err := r.run(ctx, cmd)
	return out, err
}

// run is text, with what git said on its standard error.
func (r *Repository) run(ctx context.Context, cmd *exec.Cmd) (told, said string, err error) {
	var out bytes.Buffer
	var end ending
	cmd.Stdout, cmd.Stderr = &out, &end
	if err := cmd.Run(); err != nil {
		return out.String(), end.String(), r.failed(ctx, cmd, end.String(), out.String(), err)
	}
	return out.String(), end.String(), nil
}

// line runs git in our own directory and returns its output without the final newline.
func (r *Repository) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.text(ctx, r.command(ctx, nil, args...))
	return strings.TrimSpace(out), err
}

// agentGit runs git in the agent's clone, with the agent's settings: only to set it up, and to look for hints. It never
// talks to a server, even if the settings want objects fetched on demand.
func (r *Repository) agentGit(ctx context.Context, args ...string) (string, error) {
	return r.text(ctx, r.process(ctx, r.Dir, r.environ("GIT_ALLOW_PROTOCOL=none"), args...))
}

// records calls f for each part of in that ends with a zero byte, without it.
func records(in io.Reader, f func(string) error) error {
	for lines := bufio.NewReader(in); ; {
		record, err := lines.ReadString(0)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading what git lists: %w", err)
		}
		if err := f(record[:len(record)-1]); err != nil {
			return err
		}
	}
}

// entry is one file of a tree.
type entry struct {
	mode string // 100644, 100755, 120000 (symbolic link), 160000 (submodule)
	id   string // of blob or commit
}

const (
	modeFile      = "100644"
	modeProgram   = "100755"
	modeLink      = "120000"
	modeSubmodule = "160000"
)

// listing is all files of a tree, by path.
type listing map[string]entry

func (r *Repository) list(ctx context.Context, commit string) (listing, error) {
	all := listing{}
	err := r.read(ctx, r.command(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", commit), func(out io.Reader) error {
		return records(out, func(record string) error {
			head, path, _ := strings.Cut(record, "\t")
			fields := strings.Fields(head)
			if len(fields) != 3 {
				return fmt.Errorf("git lists %q", head)
			}
			all[path] = entry{fields[0], fields[2]}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing the files of %.12s: %w", commit, err)
	}
	return all, nil
}
