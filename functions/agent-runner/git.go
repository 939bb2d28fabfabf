package main

import (
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

	"github.com/cenkalti/backoff/v5"
)

// repository is the run's checkout, driven by the git CLI.
//
// The agent works in it and may leave anything behind: commits, other branches, hooks, settings. So nothing of that is
// relied on: every command names the remote by URL and switches hooks off, changed files are found with an index
// of our own, and the commit is made from that index onto the commit that the run began with (see work.go).
type repository struct {
	dir      string   // the work tree
	index    string   // our index file
	url      string   // clone URL
	self     string   // this binary, as credential helper
	environ  []string // of every git process
	retryFor time.Duration
	redact   *redactor
}

// commit identity of the agent's work.
const (
	authorName  = "codexk8s agent"
	authorEmail = "agent@codexk8s.dev"
)

func newRepository(e env, cloneURL string, redact *redactor) (*repository, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program to use it as credential helper: %w", err)
	}
	r := &repository{dir: e.checkout(), index: e.indexFile(), url: cloneURL, self: self, retryFor: e.RetryFor, redact: redact}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "LC_") {
			r.environ = append(r.environ, v)
		}
	}
	r.environ = append(r.environ, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		credentialURLVariable+"="+cloneURL,
		"GIT_AUTHOR_NAME="+authorName, "GIT_AUTHOR_EMAIL="+authorEmail, "GIT_COMMITTER_NAME="+authorName, "GIT_COMMITTER_EMAIL="+authorEmail)
	return r, nil
}

// gitError is a failed git command. Its text is git's own, with secrets replaced.
type gitError struct {
	command string // e.g. "fetch"
	output  string
	err     error
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: %v: %s", e.command, e.err, strings.TrimSpace(e.output))
}
func (e *gitError) Unwrap() error { return e.err }

// git runs one command and returns its standard output.
func (r *repository) git(ctx context.Context, args ...string) (string, error) {
	return r.gitWith(ctx, nil, nil, args...)
}

// gitWith runs git with input and more environment.
func (r *repository) gitWith(ctx context.Context, in io.Reader, environ []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{
		"-c", "credential.helper=", // forget helpers from elsewhere
		"-c", "credential.helper=!" + shellQuote(r.self) + " " + credentialCommand,
		"-c", "credential.useHttpPath=true",
		"-c", "core.hooksPath=" + os.DevNull, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false",
		"-c", "core.autocrlf=false", "-c", "commit.gpgSign=false", "-c", "gc.auto=0", "-c", "advice.detachedHead=false",
		"-c", "protocol.ext.allow=never", "-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=60",
	}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, slices.Concat(r.environ, environ), in
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", &gitError{command: args[0], output: r.redact.clean(problem.String() + out.String()), err: err}
	}
	return out.String(), nil
}

// line runs git and returns its output without the newline at its end.
func (r *repository) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.git(ctx, args...)
	return strings.TrimSpace(out), err
}

// remote runs a command that talks to the server, again and again while the server cannot be reached.
func (r *repository) remote(ctx context.Context, args ...string) (string, error) {
	return backoff.Retry(ctx, func() (string, error) {
		out, err := r.git(ctx, args...)
		if err != nil && !transientGit(err) {
			return "", backoff.Permanent(err)
		}
		return out, err
	}, backoff.WithMaxElapsedTime(r.retryFor))
}

// transientMessages are what git and curl say about servers that may be back in a moment. "could not read Username" is
// here because our credential helper fails only when the gateway does.
var transientMessages = regexp.MustCompile(`(?i)could not resolve host|connection (refused|reset|timed out|was aborted)|failed to connect|` +
	`returned error: (5\d\d|429)|early EOF|RPC failed|unexpected disconnect|timed out|timeout|too slow|Empty reply|hung up unexpectedly|` +
	`could not read (Username|Password)|cannot lock ref|failed to lock|Internal Server Error|(gnutls|SSL)_\w+`)

func transientGit(err error) bool {
	var g *gitError
	return errors.As(err, &g) && transientMessages.MatchString(g.output)
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// checkedOut is where a run begins.
type checkedOut struct {
	base   string // commit of the base branch
	branch string // commit of the agent's branch on the server; empty = it does not exist there
	head   string // what the work tree holds: branch, else base
}

// errNoBase says that there is nothing to branch from: reported as a failure, since only a person can repair it.
var errNoBase = errors.New("the base branch does not exist")

// open fetches the two branches into an empty folder. A kept folder is removed first: nothing in it is known to be
// good, and uncommitted work comes back from the session snapshot.
func (r *repository) open(ctx context.Context, baseBranch, branch string) (checkedOut, error) {
	var c checkedOut
	for _, path := range []string{r.dir, r.index} {
		if err := os.RemoveAll(path); err != nil {
			return c, fmt.Errorf("remove the kept workspace: %w", err)
		}
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return c, fmt.Errorf("create the workspace: %w", err)
	}
	if _, err := r.git(ctx, "init", "--quiet", "--initial-branch="+branch); err != nil {
		return c, fmt.Errorf("create the checkout: %w", err)
	}
	if _, err := r.git(ctx, "remote", "add", "origin", r.url); err != nil {
		return c, fmt.Errorf("create the checkout: %w", err)
	}
	if err := r.fetch(ctx, baseBranch, branch, &c); err != nil {
		return c, err
	}
	c.head = c.base
	if c.branch != "" {
		c.head = c.branch
	}
	return c, r.checkout(ctx, branch, c.head)
}

// fetch brings both branches as they are on the server now.
func (r *repository) fetch(ctx context.Context, baseBranch, branch string, c *checkedOut) error {
	listed, err := r.remote(ctx, "ls-remote", r.url, "refs/heads/"+baseBranch, "refs/heads/"+branch)
	if err != nil {
		return fmt.Errorf("list the branches of %s: %w", r.url, err)
	}
	on := map[string]string{}
	for line := range strings.Lines(listed) {
		if sha, ref, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			on[ref] = sha
		}
	}
	if on["refs/heads/"+baseBranch] == "" {
		return fmt.Errorf("%w: %q in %s", errNoBase, baseBranch, r.url)
	}
	specs := []string{"+refs/heads/" + baseBranch + ":refs/remotes/origin/" + baseBranch}
	if on["refs/heads/"+branch] != "" {
		specs = append(specs, "+refs/heads/"+branch+":refs/remotes/origin/"+branch)
	}
	if _, err := r.remote(ctx, append([]string{"fetch", "--quiet", "--no-tags", r.url}, specs...)...); err != nil {
		return fmt.Errorf("fetch %s: %w", r.url, err)
	}
	if c.base, err = r.line(ctx, "rev-parse", "refs/remotes/origin/"+baseBranch); err != nil {
		return fmt.Errorf("read the base branch: %w", err)
	}
	c.branch = ""
	if on["refs/heads/"+branch] != "" {
		if c.branch, err = r.line(ctx, "rev-parse", "refs/remotes/origin/"+branch); err != nil {
			return fmt.Errorf("read the agent's branch: %w", err)
		}
	}
	return nil
}

func (r *repository) checkout(ctx context.Context, branch, commit string) error {
	if _, err := r.git(ctx, "checkout", "--quiet", "--force", "-B", branch, commit); err != nil {
		return fmt.Errorf("check out %s: %w", branch, err)
	}
	return nil
}

// has says whether the commit was fetched.
func (r *repository) has(ctx context.Context, commit string) bool {
	_, err := r.git(ctx, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}
