//go:build cluster

package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	fakechat "codexk8s.dev/test/fakes/chat"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	namespace = "codexk8s"
	owner     = "owner"  // may start runs in every project
	reader    = "reader" // may label issues, starts nothing, and is told so
)

// world is the deployment and what surrounds it; TestMain makes the only one.
type world struct {
	root   string // of the repository
	state  string // directory of the fakes, the overlay and the logs of children
	hostIP string
	suffix string // of this start's repositories

	github  *fakegithub.Server
	model   *model.Server
	chat    *fakechat.Server
	api     dynamic.Interface
	db      *pgxpool.Pool
	dbURL   string
	overlay string // folder of the test's component
	service string // image of a project's service
	hook    string // public URL of webhook-adapter
	secret  string // of the webhooks
	stop    []func()
}

var it *world

func TestMain(m *testing.M) {
	code := 1
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	w, err := start(ctx)
	cancel()
	if err == nil {
		it = w
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "preparing the cluster:", err)
	}
	if err := w.end(); err != nil {
		fmt.Fprintln(os.Stderr, "cleaning up:", err)
		code = 1
	}
	os.Exit(code)
}

// start makes the world outside, deploys the platform into the cluster, and joins the two.
func start(ctx context.Context) (_ *world, err error) {
	w := &world{suffix: random(3)}
	if w.root, err = filepath.Abs("../.."); err != nil {
		return w, err
	}
	if err := w.readEnvironment(); err != nil {
		return w, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return w, fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	config.QPS = -1
	if w.api, err = dynamic.NewForConfig(config); err != nil {
		return w, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"removing what an earlier start left", w.removeLeftovers}, {"building a project's service", w.buildService}, {"starting the fakes", w.startFakes}, {"starting the chats", w.startChats}, {"making what an operator makes", w.prepareNamespace}, {"installing agent-sandbox", w.installSandboxes}, {"deploying", w.deploy},
		{"waiting until all is ready", w.ready}, {"reaching the database", w.openDatabase}, {"connecting the webhooks", w.connectHooks}, {"connecting the chats", w.connectChats},
	}
	for _, s := range steps {
		begun := time.Now()
		if err := s.do(ctx); err != nil {
			return w, fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Printf("%6.1fs  %s\n", time.Since(begun).Seconds(), s.what)
	}
	return w, nil
}

// readEnvironment names everything that is missing, at once.
func (w *world) readEnvironment() error {
	var missing []string
	for name, what := range map[string]string{
		"KUBECONFIG": "a cluster with Knative that may be changed", "KO_DOCKER_REPO": "where ko pushes images",
		"TEST_HOST_IP": "this machine's address as pods reach it",
	} {
		if setting(name) == "" {
			missing = append(missing, name+" ("+what+")")
		}
	}
	for _, program := range []string{"kubectl", "ko", "git", "make"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, "the program "+program)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	w.hostIP = setting("TEST_HOST_IP")
	w.state = os.Getenv("KEEP")
	if w.state != "" {
		return os.MkdirAll(w.state, 0o755)
	}
	dir, err := os.MkdirTemp("", "codexk8s-cluster-")
	w.state = dir
	w.stop = append(w.stop, func() { _ = os.RemoveAll(dir) })
	return err
}

// setting is a variable, or what a cluster of the kit has for it.
func setting(name string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return os.Getenv(map[string]string{"TEST_HOST_IP": "CLUSTER_HOST_IP", "TEST_INGRESS": "CLUSTER_INGRESS"}[name])
}

// end stops the children, and takes the platform down unless it is to be kept.
func (w *world) end() error {
	var err error
	if os.Getenv("KEEP") == "" && w.api != nil {
		err = w.undeploy()
	}
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
	return err
}

// Ports of the fakes: fixed where they are free, so that a kept deployment finds them again.
const (
	githubPort = 18180
	modelPort  = 18181
)

func (w *world) startFakes(context.Context) error {
	quiet := slog.New(slog.DiscardHandler)
	var err error
	w.github, err = fakegithub.New(fakegithub.Options{
		Dir: filepath.Join(w.state, "github"), Addr: w.address(githubPort), Logger: quiet, Dial: w.dial,
	})
	if err != nil {
		return err
	}
	w.stop = append(w.stop, func() { _ = w.github.Close() })
	w.model = model.New(model.Options{})
	listener, err := net.Listen("tcp", w.address(modelPort))
	if err != nil {
		return fmt.Errorf("the fake OpenAI: %w", err)
	}
	server := &http.Server{Handler: w.model, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	w.stop = append(w.stop, func() { _ = server.Close() })
	for _, login := range []string{owner, reader} {
		if _, err := w.github.CreateUser(login); err != nil {
			return err
		}
	}
	files := maps.Clone(files)
	files["services.yaml"] = fmt.Sprintf(servicesFile, w.service)
	for _, p := range w.projects() {
		for _, repo := range p.Repositories {
			if err := w.github.CreateRepository(repo, files); err != nil {
				return err
			}
			if err := errors.Join(w.github.AddCollaborator(repo, owner, "admin"), w.github.AddCollaborator(repo, reader, "triage")); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) address(port int) string { return net.JoinHostPort(w.hostIP, strconv.Itoa(port)) }

// files are the repositories' first commit.
var files = map[string]string{
	"README.md":             "# Greetings\n\nOne file per language below `greetings/`.\n",
	"greetings/english.txt": "Hello, world!\n",
	"test.sh":               "#!/bin/sh\nset -e\nfor file in greetings/*.txt; do test -s \"$file\"; done\necho ok\n",
}

// project is an entry of projects.yaml. Each test has one, so that limits and failures stay apart.
type project struct {
	ID           string            `json:"id"`
	Repositories []string          `json:"repositories"`
	Members      map[string]string `json:"members"`
	Settings     map[string]any    `json:"settings,omitempty"`
}

func (w *world) projects() []project {
	names := []string{"zero", "warm", "evicted", "quota", "refused", "image", "removed", "lingering", "good", "leaving", "probed", "expired", "latency", "upgraded", "doctor", "pressure", "asking"}
	for _, function := range []string{"stage-router", "agent-launcher", "github-caller", "run-observer", "agent-gateway", "llm-caller"} {
		names = append(names, "killed-"+function)
	}
	var all []project
	for _, name := range names {
		all = append(all, project{ID: name + "-" + w.suffix, Repositories: []string{w.repo(name)}, Members: map[string]string{owner: "owner", reader: "reader"}})
	}
	for name, settings := range map[string]map[string]any{
		"full-env": {"modes": map[string]string{"dev": "full-env"}}, "sandbox": {"sandbox": "agent-sandbox"},
	} {
		all = append(all, project{ID: name + "-" + w.suffix, Repositories: []string{w.repo(name)}, Members: map[string]string{owner: "owner", reader: "reader"}, Settings: settings})
	}
	for _, name := range []string{"broker", "postgres", "rollout"} {
		p := project{ID: "crowd-" + name + "-" + w.suffix, Members: map[string]string{owner: "owner", reader: "reader"}}
		for n := range crowdRepositories {
			p.Repositories = append(p.Repositories, w.repo("crowd-"+name+"-"+strconv.Itoa(n)))
		}
		all = append(all, p)
	}
	return all
}

// repo is the full name of a repository of this start.
func (w *world) repo(name string) string { return "acme/" + name + "-" + w.suffix }

// dial is how webhooks go out: to TEST_INGRESS, whatever host they name, where that is set.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if ingress := setting("TEST_INGRESS"); ingress != "" {
		u, err := url.Parse(ingress)
		if err != nil {
			return nil, fmt.Errorf("TEST_INGRESS: %w", err)
		}
		address = u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), "80")
		}
	}
	return d.DialContext(ctx, network, address)
}

// connectHooks waits for webhook-adapter's public URL and points every repository's webhook to it.
func (w *world) connectHooks(ctx context.Context) error {
	at, err := w.kubectl(ctx, "-n", namespace, "get", "ksvc", "webhook-adapter", "-o", "jsonpath={.status.url}")
	if err != nil {
		return err
	}
	w.hook = at + "/github"
	for _, p := range w.projects() {
		for _, repo := range p.Repositories {
			if _, err := w.github.AddHook(repo, fakegithub.HookOptions{URL: w.hook, Secret: w.secret}); err != nil {
				return err
			}
		}
	}
	return w.github.Flush(ctx)
}

// kubectl returns what kubectl prints.
func (w *world) kubectl(ctx context.Context, args ...string) (string, error) {
	return w.kubectlWith(ctx, "", args...)
}

func (w *world) kubectlWith(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Stdin = strings.NewReader(input)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// run runs a program in the repository's root and shows its output when it fails.
func (w *world) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = w.root
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s %s: %w:\n%s", name, strings.Join(args, " "), err, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	return nil
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b)
}

func toYAML(v any) string {
	data, err := yaml.Marshal(v)
	if err != nil {
		panic(err) // of values that are written down here
	}
	return string(data)
}
