package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/functions/agent-runner/internal/process"
	"codexk8s.dev/shared/agentapi"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/fakes/model"
)

// asProgram makes the test binary behave as agent-runner, so that tests kill a real process and git calls a real
// credential helper.
const asProgram = "AGENT_RUNNER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		enginePause = 50 * time.Millisecond
		main()
		return
	}
	// A test waits for most of its time, for a server that is away or a process that ends. -parallel says otherwise.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const (
	testToken = "run-token-for-tests-0123456789"
	testRepo  = "acme/shop"
	testRun   = "7d4f7f0a-3c55-4d0e-9d5c-5a1f4f9f0a01"
)

// world is everything outside of the pod: the gateway, GitHub with its Git server, and the model. before is told each
// step that crosses the border before it is carried out, after when it was and the answer is about to go back.
type world struct {
	t       *testing.T
	github  *fakegithub.Server
	model   *model.Server
	gateway *fakeGateway
	proxy   string // GitHub as the pod sees it
	llm     string
	dir     string

	mu     sync.Mutex
	last   int // process id of the last pod
	before func(step string)
	after  func(step string)
}

// hook sets before or after.
func (w *world) hook(which *func(string), f func(step string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*which = f
}

// runner is the process id of the last pod.
func (w *world) runner() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// tell calls before or after; never with the lock held, since a hook may wait.
func (w *world) tell(which *func(string), step string) {
	w.mu.Lock()
	f := *which
	w.mu.Unlock()
	f(step)
}

func newWorld(t *testing.T, engine string) *world {
	t.Helper()
	w := &world{t: t, before: func(string) {}, after: func(string) {}}
	var err error
	if w.github, err = fakegithub.New(fakegithub.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.github.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.github.CreateRepository(testRepo, map[string]string{"README.md": "# shop\n", "src/price.go": "package shop\n"}); err != nil {
		t.Fatal(err)
	}
	issue, err := w.github.CreateIssue(testRepo, "Add a greeting in French", "Say it politely.", "acme")
	if err != nil {
		t.Fatal(err)
	}
	w.model = model.New(model.Options{Keys: []string{testToken}})
	w.llm = w.serve("model", w.model) + "/v1"
	target, err := url.Parse(w.github.URL())
	if err != nil {
		t.Fatal(err)
	}
	w.proxy = w.serve("github", httputil.NewSingleHostReverseProxy(target))
	w.gateway = &fakeGateway{assignment: &agentapi.Assignment{
		RunId: testRun, Project: "shop", Repository: testRepo, CloneUrl: w.proxy + "/" + testRepo + ".git", GithubApiUrl: w.proxy + "/api/v3/",
		BaseBranch: "main", Branch: "codexk8s/issue-1", IssueNumber: int32(issue), IssueTitle: "Add a greeting in French",
		IssueBody: "Say it politely.", IssueUrl: "https://github.com/acme/shop/issues/1", Stage: "dev", Role: "dev", Engine: engine, Model: "gpt-5.5",
	}}
	mux := http.NewServeMux()
	mux.Handle(agentapi.NewSessionServiceHandler(w.gateway))
	mux.Handle("/mcp", w.gateway.tools())
	w.gateway.url = w.serve("gateway", mux)
	w.dir = t.TempDir()
	return w
}

// serve puts a handler on a socket, with the hooks round it. A step is "gateway LoadSnapshot", "github POST
// /path?query", "model POST /v1/responses".
func (w *world) serve(name string, h http.Handler) string {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		step := name + " " + r.Method + " " + r.URL.RequestURI()
		if name == "gateway" {
			step = name + r.URL.Path[strings.LastIndex(r.URL.Path, "/"):]
		}
		w.tell(&w.before, step)
		if r.Context().Err() != nil {
			return // the pod is gone
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
		w.tell(&w.after, step)
		for key, values := range answer.Header() {
			rw.Header()[key] = values
		}
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes())
	}))
	w.t.Cleanup(s.Close)
	return s.URL
}

// pod starts the program in a new container: an empty work folder each time.
func (w *world) pod(environ ...string) *exec.Cmd {
	w.t.Helper()
	dir, err := os.MkdirTemp(w.dir, "pod")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.podIn(dir, environ...)
}

func (w *world) podIn(dir string, environ ...string) *exec.Cmd {
	w.t.Helper()
	return w.start(dir, os.Args[0], nil, environ...)
}

func (w *world) start(dir, program string, as *syscall.Credential, environ ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append([]string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "WORK_DIR=" + filepath.Join(dir, "work"), "GOCOVERDIR=" + dir,
		"RUN_ID=" + testRun, "RUN_TOKEN=" + testToken, "AGENT_GATEWAY_URL=" + w.gateway.url, "LLM_URL=" + w.llm,
		"HEARTBEAT_INTERVAL=50ms", "SNAPSHOT_INTERVAL=50ms", "RETRY_FOR=20s", "GIT_AUTHOR_NAME=wrong",
		"GORACE=atexit_sleep_ms=0", // the race detector's wait of a second at each exit, and git starts us often
	}, environ...)
	out := &testLog{t: w.t}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = process.OwnGroup()
	cmd.SysProcAttr.Credential = as
	w.mu.Lock() // so that no hook hears of the pod before its process id is known
	defer w.mu.Unlock()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.last = cmd.Process.Pid
	return cmd
}

// exit waits for the program and returns its exit code, -1 when a signal ended it.
func (w *world) exit(cmd *exec.Cmd) int {
	w.t.Helper()
	limit := time.AfterFunc(5*time.Minute, func() {
		w.t.Error("the program did not end")
		process.Kill(cmd.Process.Pid)
	})
	defer limit.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// executable writes a file that is to be executed. No child may be begun meanwhile: it would hold the file open for
// writing, and nobody can execute such a file (https://go.dev/issue/22315).
func executable(t *testing.T, path string, data []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// killed ends the program the way a lost node does.
func killed(cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGKILL) }

// testLog shows the program's log when the test fails, and keeps it for looking for secrets.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("%s", strings.TrimSpace(string(p)))
	if strings.Contains(string(p), testToken) || strings.Contains(string(p), "acme-token") {
		l.t.Error("a secret is in the program's log")
	}
	return len(p), nil
}

// fakeGateway is the Session API in memory, with the rules of session.proto.
type fakeGateway struct {
	agentapi.UnimplementedSessionServiceHandler
	url string

	mu         sync.Mutex
	assignment *agentapi.Assignment
	logs       map[int64]string
	snapshot   *agentapi.LoadSnapshotResponse
	saves      int
	reports    []*agentapi.ReportRequest
	progress   []string
	prompt     *agentapi.Prompt
	phases     map[string]bool
	stop       string // reason to answer heartbeats with
	told       bool   // a heartbeat was answered with stop
	refuse     error
	asked      []string      // calls of tools: name and arguments
	wakes      time.Duration // until the first call of a tool is taken, as if from zero
	// credentials are those that were asked for: may it write?
	credentials []bool
	// noCredential is the answer to GetGitCredential instead of one.
	noCredential error
}

// change sets what the gateway answers from now on, or looks at what it was told.
func (g *fakeGateway) change(f func(*fakeGateway)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

func (g *fakeGateway) authorize(ctx context.Context) error {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok || info.RequestHeader().Get("Authorization") != "Bearer "+testToken {
		return connect.NewError(connect.CodeUnauthenticated, errors.New("wrong run token"))
	}
	return g.refuse
}

func (g *fakeGateway) GetAssignment(ctx context.Context, _ *agentapi.GetAssignmentRequest) (*agentapi.Assignment, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.authorize(ctx); err != nil {
		return nil, err
	}
	return proto.Clone(g.assignment).(*agentapi.Assignment), nil
}

func (g *fakeGateway) Heartbeat(ctx context.Context, req *agentapi.HeartbeatRequest) (*agentapi.HeartbeatResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phases == nil {
		g.phases = map[string]bool{}
	}
	g.phases[req.GetPhase()] = true
	g.told = g.told || g.stop != ""
	if req.GetPrompt() != nil {
		g.prompt = req.GetPrompt()
	}
	return &agentapi.HeartbeatResponse{Stop: g.stop != "", Reason: g.stop}, g.authorize(ctx)
}

func (g *fakeGateway) AppendLogs(ctx context.Context, req *agentapi.AppendLogsRequest) (*agentapi.AppendLogsResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.authorize(ctx); err != nil {
		return nil, err
	}
	if g.logs == nil {
		g.logs = map[int64]string{}
	}
	for i, line := range req.GetLines() {
		seq := req.GetFirstSeq() + int64(i)
		if _, there := g.logs[seq]; !there {
			g.logs[seq] = line.GetStream() + ": " + line.GetText()
		}
	}
	return &agentapi.AppendLogsResponse{NextSeq: int64(len(g.logs)) + 1}, nil
}

func (g *fakeGateway) ReportProgress(ctx context.Context, req *agentapi.ReportProgressRequest) (*agentapi.ReportProgressResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.progress = append(g.progress, req.GetText())
	return &agentapi.ReportProgressResponse{}, g.authorize(ctx)
}

func (g *fakeGateway) LoadSnapshot(ctx context.Context, _ *agentapi.LoadSnapshotRequest) (*agentapi.LoadSnapshotResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.snapshot == nil {
		return &agentapi.LoadSnapshotResponse{}, g.authorize(ctx)
	}
	return proto.Clone(g.snapshot).(*agentapi.LoadSnapshotResponse), g.authorize(ctx)
}

func (g *fakeGateway) SaveSnapshot(ctx context.Context, req *agentapi.SaveSnapshotRequest) (*agentapi.SaveSnapshotResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.authorize(ctx); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(req.GetData()); string(sum[:]) != string(req.GetSha256()) {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("checksum"))
	}
	if req.GetExpectedVersion() != g.snapshot.GetVersion() {
		return nil, connect.NewError(connect.CodeAborted, errors.New("not the newest version"))
	}
	g.saves++
	g.snapshot = &agentapi.LoadSnapshotResponse{
		Version: req.GetExpectedVersion() + 1, ThreadId: req.GetThreadId(), Sha256: req.GetSha256(), Data: req.GetData(), RunId: g.assignment.GetRunId(),
	}
	return &agentapi.SaveSnapshotResponse{Version: g.snapshot.GetVersion()}, nil
}

func (g *fakeGateway) GetGitCredential(ctx context.Context, _ *agentapi.GetGitCredentialRequest) (*agentapi.GetGitCredentialResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
		g.credentials = append(g.credentials, info.RequestHeader().Get(agentapi.PodHeader) != "")
	}
	if g.noCredential != nil {
		return nil, g.noCredential
	}
	return &agentapi.GetGitCredentialResponse{
		Username: "x-access-token", Password: "acme-token", ExpiresAt: timestamppb.New(time.Now().Add(time.Hour)),
	}, g.authorize(ctx)
}

func (g *fakeGateway) Report(ctx context.Context, req *agentapi.ReportRequest) (*agentapi.ReportResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, req)
	return &agentapi.ReportResponse{Outcome: g.reports[0].GetOutcome(), Reason: g.reports[0].GetReason()}, g.authorize(ctx)
}

// log is all log text of the run.
func (g *fakeGateway) log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b strings.Builder
	for seq := int64(1); seq <= int64(len(g.logs)); seq++ {
		b.WriteString(g.logs[seq] + "\n")
	}
	return b.String()
}

// report is the result that counts.
func (g *fakeGateway) report() *agentapi.ReportRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reports) == 0 {
		return nil
	}
	return g.reports[0]
}
