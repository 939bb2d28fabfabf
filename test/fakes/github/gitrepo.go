package fakegithub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitRepo runs Git commands in a bare repository.
type gitRepo struct{ dir string }

// gitTimeout ends a Git command that hangs.
const gitTimeout = time.Minute

const zeroSHA = "0000000000000000000000000000000000000000"

func (s *Server) git(r *repository) gitRepo {
	return gitRepo{filepath.Join(s.dir, "repositories", strings.ToLower(r.Owner), strings.ToLower(r.Name)+".git")}
}

// gitEnv keeps the configuration of the person at this machine out, and lets the server, run as any user, read its
// repositories.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_AUTHOR_NAME=GitHub", "GIT_AUTHOR_EMAIL=noreply@github.com", "GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com",
	}
}

func (g gitRepo) run(args ...string) (string, error) { return g.feed("", nil, args...) }

// feed runs a command with an input, and env beside the usual environment.
func (g gitRepo) feed(input string, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = g.dir, append(gitEnv(), env...)
	cmd.Stdin = strings.NewReader(input)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// create makes the bare repository with one commit of files (path → content) on branch.
func (g gitRepo) create(branch string, files map[string]string, at time.Time) error {
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return fmt.Errorf("making a repository: %w", err)
	}
	if _, err := g.run("init", "--quiet", "--bare", "--initial-branch="+branch); err != nil {
		return err
	}
	for _, kv := range [][2]string{
		{"gc.auto", "0"}, {"receive.autogc", "false"}, {"core.hooksPath", "/dev/null"}, {"receive.hideRefs", "refs/pull"},
		{"uploadpack.allowAnySHA1InWant", "true"}, {"uploadpack.allowFilter", "true"},
	} {
		if _, err := g.run("config", kv[0], kv[1]); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		return nil
	}
	var b strings.Builder
	const message = "Initial commit"
	fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter GitHub <noreply@github.com> %d +0000\ndata %d\n%s\n", branch, at.Unix(), len(message), message)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		mode := "100644"
		if strings.HasPrefix(files[path], "#!") {
			mode = "100755"
		}
		fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, strconv.Quote(path), len(files[path]), files[path])
	}
	_, err := g.feed(b.String(), nil, "fast-import", "--quiet")
	return err
}

// resolve answers the commit of a full reference name.
func (g gitRepo) resolve(ref string) (string, error) {
	if data, err := os.ReadFile(filepath.Join(g.dir, filepath.Clean("/"+ref))); err == nil {
		if sha := strings.TrimSpace(string(data)); len(sha) == len(zeroSHA) {
			return sha, nil // a loose reference; saves a process
		}
	}
	out, err := g.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return strings.TrimSpace(out), err
}

// commit answers the commit that a branch, tag, full reference or object name stands for.
func (g gitRepo) commit(name string) (string, error) {
	for _, ref := range []string{"refs/heads/" + name, "refs/tags/" + name} {
		if sha, err := g.resolve(ref); err == nil {
			return sha, nil
		}
	}
	if strings.HasPrefix(name, "heads/") || strings.HasPrefix(name, "tags/") {
		name = "refs/" + name
	}
	out, err := g.run("rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	return strings.TrimSpace(out), err
}

// heads answers the commits of all branches.
func (g gitRepo) heads() (map[string]string, error) {
	out, err := g.run("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads")
	if err != nil {
		return nil, err
	}
	heads := map[string]string{}
	for line := range strings.Lines(out) {
		ref, sha, _ := strings.Cut(strings.TrimSpace(line), " ")
		heads[strings.TrimPrefix(ref, "refs/heads/")] = sha
	}
	return heads, nil
}

// isAncestor says whether old is part of the history of sha.
func (g gitRepo) isAncestor(old, sha string) bool {
	_, err := g.run("merge-base", "--is-ancestor", old, sha)
	return err == nil
}

type treeEntry struct {
	mode, kind, sha, path string
	size                  int
}

// tree lists a path: itself, or with a slash at its end what is in it. "" lists the root.
func (g gitRepo) tree(sha, path string) ([]treeEntry, error) {
	args := []string{"ls-tree", "-z", "--long", "--full-tree", sha}
	if path != "" {
		args = append(args, "--", path)
	}
	out, err := g.run(args...)
	if err != nil {
		return nil, err
	}
	var entries []treeEntry
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		meta, name, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 4 {
			continue
		}
		size, _ := strconv.Atoi(fields[3]) // "-" for directories
		entries = append(entries, treeEntry{mode: fields[0], kind: fields[1], sha: fields[2], path: name, size: size})
	}
	return entries, nil
}

// errConflict is a merge that needs a person.
var errConflict = errors.New("merge conflict")

// merge makes the commit that merges (or, squashed, adds) head on top of base, without moving any branch.
func (g gitRepo) merge(base, head, message string, squash bool, author *User, at time.Time) (string, error) {
	tree, err := g.run("merge-tree", "--write-tree", base, head)
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return "", errConflict
		}
		return "", fmt.Errorf("%w (merging needs git 2.38 or newer)", err)
	}
	args := []string{"commit-tree", strings.TrimSpace(tree), "-p", base}
	if !squash {
		args = append(args, "-p", head)
	}
	date := fmt.Sprintf("%d +0000", at.Unix())
	env := []string{
		"GIT_AUTHOR_NAME=" + author.Login, fmt.Sprintf("GIT_AUTHOR_EMAIL=%d+%s@users.noreply.github.com", author.ID, author.Login),
		"GIT_AUTHOR_DATE=" + date, "GIT_COMMITTER_DATE=" + date,
	}
	out, err := g.feed(message, env, args...)
	return strings.TrimSpace(out), err
}
