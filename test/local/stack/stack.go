// Package stack puts the platform (package local) together with the outside world: GitHub and OpenAI played by
// test/fakes, a demonstration repository with one issue, or the real ones where credentials say so.
//
//	make run ─┐             ┌─► fakegithub ──webhook──► webhook-adapter ─┐
//	make demo ├─► stack ────┼─► model server ◄── llm-caller              ├─ local.Platform
//	test/e2e ─┘             └─► config/, eventing/ ──────────────────────┘
//
// Play is what a person does with it: label, review, approve. make demo prints it and test/e2e asserts it.
//
// All that is kept is below one directory: platform/ (package local), github/ (package fakegithub), stack.json (secrets
// that must outlive the process), projects.yaml, and a lock, since one stack at a time may use it.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"codexk8s.dev/shared/budget"
	fakechat "codexk8s.dev/test/fakes/chat"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/lock"
	"codexk8s.dev/test/local/manifest"
)

// The demonstration's names.
const (
	Owner      = "owner"
	OwnerToken = "owner-token"
	Reader     = "reader"   // may set labels on GitHub, but start no run
	Stranger   = "stranger" // sees the repository, which is public
	Repository = "acme/demo"
	Issue      = 1
	IssueTitle = "Add a greeting in French"
)

// Ports of make run, so that what one writes down today works tomorrow. One that is taken is replaced by a free one.
const (
	webhookPort = 8100
	githubPort  = 8101
	modelPort   = 8102
	gatewayPort = 8103 // for pods of a real cluster only
	llmPort     = 8104
	clickPort   = 8105
	chatPort    = 8106
	consolePort = 8107
)

// Options say what to start. The zero value is a platform of its own on free ports, in a temporary directory.
type Options struct {
	// Dir keeps the state; empty means a temporary directory, removed at Stop.
	Dir string
	// FixedPorts asks for the ports of make run.
	FixedPorts bool
	// Outside are real systems in place of the fakes, see FromEnvironment.
	Outside Outside
	// Codex is the Codex CLI that agents run, see FindCodex; empty means the builtin engine.
	Codex string
	// Logs gets the output of all processes; may be nil, they are also kept in files.
	Logs io.Writer
	// OnDelivery is told of each attempt of the broker to deliver; may be nil. It must not block.
	OnDelivery func(broker.Delivery)
	// GitHubClock is the fake GitHub's; nil means the time of the machine.
	GitHubClock func() time.Time
	// Budgets are the demonstration project's own; nil means none.
	Budgets *budget.Policy
	// Change changes what the platform is started with; may be nil.
	Change func(*local.Options)
}

// Stack is all of it, running.
type Stack struct {
	Platform *local.Platform
	// GitHub, Model and Chat are nil where the real ones are used.
	GitHub *fakegithub.Server
	Model  *model.Server
	Chat   *fakechat.Server
	// Engine of the agents: "codex" or "builtin".
	Engine string
	// Dir is the state directory.
	Dir string
	// Notes are for the person who started it: what differs from what was asked for.
	Notes []string

	options   Options
	root      string
	reach     *reach // nil when agents run on this machine
	kept      kept
	clicks    int // port of approval-callback
	console   int // port of console
	modelHTTP *http.Server
	modelURL  string
	temporary bool
	lock      *os.File // of Dir
}

// Start starts everything. After an error nothing is left running.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{options: o, Dir: o.Dir, Engine: "builtin"}
	// What the image of a real cluster holds is not known here; the recipe in functions/agent-runner/image brings the
	// CLI.
	if o.Codex != "" || o.Outside.Kubeconfig != "" {
		s.Engine = "codex"
	}
	if o.Outside.Engine != "" {
		s.Engine = o.Outside.Engine
	}
	if s.Engine == "codex" && o.Codex == "" && o.Outside.Kubeconfig == "" {
		return nil, errors.New("AGENT_ENGINE is codex, and there is no codex binary: `make tools` installs one")
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if o.Outside.Kubeconfig != "" {
		if s.reach, err = o.Outside.reach(); err != nil {
			return nil, err
		}
	}
	if err := o.Outside.databaseAnswers(ctx); err != nil {
		return nil, err
	}
	if s.root, err = moduleRoot(); err != nil {
		return nil, err
	}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "codexk8s-"); err != nil {
			return nil, fmt.Errorf("making the state directory: %w", err)
		}
		s.temporary = true
	}
	if s.Dir, err = filepath.Abs(s.Dir); err != nil {
		return nil, fmt.Errorf("finding the state directory: %w", err)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	if s.lock, err = lock.Take(filepath.Join(s.Dir, "lock")); err != nil {
		return nil, fmt.Errorf("the state in %s is in use by another make run: stop that one, or give this one its own, as in STATE_DIR=.state2 make run: %w", s.Dir, err)
	}
	if err := s.keep(); err != nil {
		return nil, err
	}
	if err := s.startFakes(); err != nil {
		return nil, err
	}
	if err := s.startPlatform(ctx); err != nil {
		return nil, err
	}
	if s.GitHub != nil {
		if err := s.connectHook(); err != nil {
			return nil, err
		}
	}
	if err := s.connectChats(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Stack) startPlatform(ctx context.Context) error {
	dirs := []string{filepath.Join(s.root, "config"), filepath.Join(s.root, "config", "overlays", "full-env"), filepath.Join(s.root, "eventing")}
	set, err := manifest.Load(dirs...)
	if err != nil {
		return fmt.Errorf("reading the manifests: %w", err)
	}
	if s.clicks, err = s.freePort(clickPort, "approval-callback"); err != nil {
		return err
	}
	if s.console, err = s.freePort(consolePort, "console"); err != nil {
		return err
	}
	// One place for every run: linking is what takes long, and the go command leaves a program alone that is up to
	// date.
	binaries := filepath.Join(s.root, ".bin")
	if _, err := build.Images(ctx, s.root, binaries, set.Images(), false); err != nil {
		return err
	}
	o := local.Options{
		ManifestDirs: dirs, Module: s.root, Binaries: binaries,
		StateDir:   filepath.Join(s.Dir, "platform"),
		Database:   local.Database{URL: s.options.Outside.DatabaseURL, Secret: "codexk8s-database", Key: "url", Durable: !s.temporary},
		Secrets:    s.secrets(),
		ConfigMaps: map[string]map[string]string{"codexk8s-settings": s.settings()},
		Env:        s.serviceEnv(),
		JobEnv:     map[string]map[string]string{"migrate": {"PROJECTS_FILE": s.projectsFile()}},
		Logs:       s.options.Logs, OnDelivery: s.options.OnDelivery,
		Grace: 5 * time.Second,
	}
	if s.options.Codex != "" {
		o.JobEnv["agent"] = map[string]string{"CODEX_BIN": s.options.Codex}
	}
	o.Ports = map[string]int{"approval-callback": s.clicks, "console": s.console}
	if s.options.FixedPorts {
		o.Ports["webhook-adapter"] = s.port(webhookPort, "webhook-adapter")
	}
	if s.reach != nil {
		o.Kubeconfig, o.Hosts = s.options.Outside.Kubeconfig, s.reach.hosts
		maps.Copy(o.Ports, s.reach.ports)
	}
	if s.options.Change != nil {
		s.options.Change(&o)
	}
	if s.Platform, err = local.Start(ctx, o); err != nil {
		return err
	}
	if s.reach != nil {
		s.Notes = append(s.Notes, s.reach.notReached(ctx)...)
	}
	return nil
}

// startFakes starts the servers for which there are no credentials.
func (s *Stack) startFakes() error {
	if s.options.Outside.OpenAIKey == "" {
		s.Model = model.New(model.Options{})
		listener, err := net.Listen("tcp", s.address(modelPort, "the fake OpenAI"))
		if err != nil {
			return fmt.Errorf("starting the fake OpenAI: %w", err)
		}
		s.modelURL = "http://" + listener.Addr().String()
		s.modelHTTP = &http.Server{Handler: s.Model, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = s.modelHTTP.Serve(listener) }()
	}
	if err := s.startChats(); err != nil {
		return err
	}
	if s.options.Outside.realGitHub() {
		return nil
	}
	o := fakegithub.Options{Dir: filepath.Join(s.Dir, "github"), Now: s.options.GitHubClock}
	if s.reach == nil {
		o.Addr = s.address(githubPort, "the fake GitHub")
	} else if err := s.addressForPods(&o); err != nil {
		return err
	}
	var err error
	if s.GitHub, err = fakegithub.New(o); err != nil {
		return fmt.Errorf("starting the fake GitHub: %w", err)
	}
	return s.fillGitHub()
}

// address is where a fake listens.
func (s *Stack) address(port int, who string) string {
	if !s.options.FixedPorts {
		port = 0
	} else {
		port = s.port(port, who)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// addressForPods has the fake GitHub listen where agents can reach it from their pods.
func (s *Stack) addressForPods(o *fakegithub.Options) error {
	port := githubPort
	if !s.options.FixedPorts {
		var err error
		if port, err = child.FreePort(); err != nil {
			return fmt.Errorf("starting the fake GitHub: %w", err)
		}
	}
	o.Addr = net.JoinHostPort(s.reach.hosts["agent-gateway"], strconv.Itoa(port))
	o.URL = "http://" + net.JoinHostPort(s.reach.name, strconv.Itoa(port))
	s.reach.openGit(s.options.Outside, port)
	return nil
}

// port returns the port if it is free, else 0, which stands for any free one.
func (s *Stack) port(port int, who string) int {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("port %d is taken, so %s has another one", port, who))
		return 0
	}
	_ = listener.Close()
	return port
}

// freePort is a port that can be told to others before somebody listens there.
func (s *Stack) freePort(port int, who string) (int, error) {
	if s.options.FixedPorts {
		port = s.port(port, who)
	} else {
		port = 0
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("looking for a port for %s: %w", who, err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Kubeconfig is the file that names the cluster in which agents run.
func (s *Stack) Kubeconfig() string {
	return cmp.Or(s.options.Outside.Kubeconfig, s.Platform.Kubeconfig())
}

// Agents says in words what agents run.
func (s *Stack) Agents() string {
	switch {
	case s.Engine == "codex":
		return "the Codex CLI"
	case s.options.Outside.Engine != "":
		return "the builtin engine"
	}
	return "the builtin engine, because there is no codex binary (`make tools` installs one)"
}

// Stop stops everything and removes a temporary directory. It may be called twice.
func (s *Stack) Stop() {
	if s.Platform != nil {
		s.Platform.Stop()
	}
	if s.modelHTTP != nil {
		_ = s.modelHTTP.Close()
	}
	if s.GitHub != nil {
		_ = s.GitHub.Close()
	}
	if s.Chat != nil {
		_ = s.Chat.Close()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if s.temporary {
		_ = os.RemoveAll(s.Dir)
	}
}

// moduleRoot is the directory of go.mod, at or above the current one.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the current directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("there is no go.mod here or above: start it inside the repository")
		}
		dir = filepath.Dir(dir)
	}
}
