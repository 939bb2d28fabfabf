package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pushAs is a person who pushes one file to the agent's branch while the agent works.
func (w *world) pushAs(t *testing.T, file, content string) {
	t.Helper()
	dir := t.TempDir()
	url := strings.Replace(w.github.CloneURL(testRepo), "http://", "http://acme:acme-token@", 1)
	git := func(args ...string) {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=olga", "GIT_AUTHOR_EMAIL=o@x", "GIT_COMMITTER_NAME=olga", "GIT_COMMITTER_EMAIL=o@x")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("git %s: %v: %s", args[0], err, out)
		}
	}
	git("clone", "-q", url, ".")
	git("checkout", "-q", "-b", "codexk8s/issue-1")
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
		t.Error(err)
	}
	git("add", "-A")
	git("commit", "-qm", "by a person")
	git("push", "-q", "origin", "codexk8s/issue-1")
}

// codex is the environment with the real Codex CLI: CODEX_BIN, else the pinned one of test/package.json, else PATH.
func (w *world) codex() []string {
	w.t.Helper()
	if bin := os.Getenv("CODEX_BIN"); bin != "" {
		return []string{"CODEX_BIN=" + bin}
	}
	found, err := filepath.Glob("../../test/node_modules/@openai/codex-*/vendor/*/bin/codex")
	if err == nil && len(found) > 0 {
		if bin, err := filepath.Abs(found[0]); err == nil {
			return []string{"CODEX_BIN=" + bin}
		}
	}
	bin, err := exec.LookPath("codex")
	if err != nil {
		w.t.Fatal("the Codex CLI is not installed; run `make tools`, or set CODEX_BIN to it")
	}
	return []string{"CODEX_BIN=" + bin}
}
