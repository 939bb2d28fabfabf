package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codexk8s.dev/functions/agent-runner/internal/checkout"
	"codexk8s.dev/functions/agent-runner/internal/process"
	"codexk8s.dev/shared/variables"
)

// Places are what an agent may reach of the platform.
type Places struct {
	GatewayURL string `envconfig:"AGENT_GATEWAY_URL" required:"true"` // where agent-gateway listens
	LLMURL     string `envconfig:"LLM_URL" required:"true"`           // OpenAI-compatible, ends in /v1
}

// env is what the pod gives, see shared/agentpod.
type env struct {
	Places
	RunID    string `envconfig:"RUN_ID" required:"true"`    // UUID, for logs and names; the token says who we are
	RunToken string `envconfig:"RUN_TOKEN" required:"true"` // the pod's only secret
	WorkDir  string `envconfig:"WORK_DIR" required:"true"`  // writable, for the checkout and the session
	CodexBin string `envconfig:"CODEX_BIN" default:"codex"` // the Codex CLI

	HeartbeatInterval time.Duration `envconfig:"HEARTBEAT_INTERVAL" default:"15s"` // how soon a stop is noticed
	SnapshotInterval  time.Duration `envconfig:"SNAPSHOT_INTERVAL" default:"10s"`  // how much work a lost pod may lose
	RetryFor          time.Duration `envconfig:"RETRY_FOR" default:"3m"`           // how long to try an unreachable gateway or GitHub
}

// settings reads the environment, and removes the run token from it, so that no child inherits it.
func settings() (env, error) {
	var e env
	if err := process.TakeToken(); err != nil {
		return env{}, err
	}
	err := variables.Read(&e)
	if err = errors.Join(err, os.Unsetenv(process.TokenVariable)); err != nil {
		return env{}, fmt.Errorf("reading the environment: %w", err)
	}
	if e.WorkDir, err = filepath.Abs(e.WorkDir); err != nil {
		return env{}, fmt.Errorf("making WORK_DIR absolute: %w", err)
	}
	if err := os.MkdirAll(e.WorkDir, 0o755); err != nil {
		return env{}, fmt.Errorf("creating WORK_DIR, give a writable folder: %w", err)
	}
	return e, nil
}

// Folders below WORK_DIR. The git directory is ours alone, see package checkout.
func (e env) checkout() string  { return filepath.Join(e.WorkDir, "repo") }
func (e env) codexHome() string { return filepath.Join(e.WorkDir, "codex") }
func (e env) gitDir() string    { return filepath.Join(e.WorkDir, "git") }

// repository says where the run's checkout is, and how git gets a credential for it.
func (e env) repository(cloneURL string) (checkout.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return checkout.Options{}, fmt.Errorf("finding this program to use it as credential helper: %w", err)
	}
	return checkout.Options{
		Dir: e.checkout(), GitDir: e.gitDir(), URL: cloneURL, RetryFor: e.RetryFor,
		Helper: "!'" + strings.ReplaceAll(self, "'", `'\''`) + "' " + checkout.HelperCommand,
	}, nil
}
