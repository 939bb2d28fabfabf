package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	gh "github.com/google/go-github/v66/github"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/runauth"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/tool"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	runID     = "5f7c1d2e-0000-4000-8000-000000000001"
	otherRun  = "5f7c1d2e-0000-4000-8000-000000000002"
	namespace = "codexk8s-run-5f7c1d2e0000"
)

var key = []byte("0123456789abcdef0123456789abcdef")

// fixture is the gateway with real Postgres, served as in production: h2c and HTTP/1.1 on one port.
type fixture struct {
	t    *testing.T
	db   *store.DB
	sql  *pgtest.DB
	h    *handler
	url  string
	http *http.Client

	mu      sync.Mutex
	sent    []event.Event
	sendErr error
}

func setup(t *testing.T) *fixture {
	t.Helper()
	url := pgtest.New(t)
	f := &fixture{t: t, sql: pgtest.Open(t, url)}
	var err error
	if f.db, err = store.Open(t.Context(), "agent-gateway", url); err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO projects (id, name, settings) VALUES ('shop', 'Shop', '{"instructions": "Write Go.", "hostedTools": ["web_search"], "hiddenText": "drop"}')`)
	f.exec(`INSERT INTO work_items (repository, issue, full_name, title, body, url, base_branch, clone_url, pull_request)
		VALUES ('acme/shop', 12, 'Acme/Shop', 'Round up', 'Please.', 'https://github.com/Acme/Shop/issues/12', 'main', 'https://github.com/Acme/Shop.git', 34)`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, revise, role, state, engine, model, reasoning, requested_by, intent, namespace, review, deadline, created_at)
		VALUES ($1, 'acme/shop', 12, 'shop', 'dev', true, 'dev', 'running', 'codex', 'gpt-5.4', 'high', 'olga', 'i1', $2,
		        '{"id": 7, "author": "olga", "body": "Nearly"}',
		        '2030-01-02T03:04:05Z', now())`, runID, namespace)
	gate, err := runauth.NewGate(string(key), f.db)
	if err != nil {
		t.Fatal(err)
	}
	f.h = &handler{
		db: f.db, gate: gate, process: stage.Default(), githubURL: "https://api.github.com/", patience: 10 * time.Millisecond,
		token: func(_ context.Context, repository string, _ int64, p *gh.InstallationPermissions) (github.Token, error) {
			return github.Token{Value: "ghs_" + repository + "_" + p.GetContents(), Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
		},
		send: func(_ context.Context, es ...event.Event) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.sendErr != nil {
				return f.sendErr
			}
			f.sent = append(f.sent, es...)
			return nil
		},
	}
	s := serve.New("agent-gateway", "")
	f.h.routes(s)
	server := httptest.NewUnstartedServer(s.Handler())
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	f.url = server.URL
	h2c := &http.Transport{Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	f.http = &http.Client{Transport: h2c}
	t.Cleanup(func() {
		h2c.CloseIdleConnections()
		server.Close()
		if err := f.db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	f.sql.Do(sql, args...)
}

func token(t *testing.T, change func(*runtoken.Claims)) string {
	t.Helper()
	claims := runtoken.Claims{RunID: runID, Namespace: namespace, ServiceAccount: "agent", Expires: time.Now().Add(time.Hour)}
	change(&claims)
	text, err := runtoken.Mint(key, claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// agent is a client of the run; with gRPC unless told otherwise.
func (f *fixture) agent(options ...connect.ClientOption) agentapi.SessionServiceClient {
	return f.agentWith(token(f.t, func(*runtoken.Claims) {}), options...)
}

func (f *fixture) agentWith(token string, options ...connect.ClientOption) agentapi.SessionServiceClient {
	bearer := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if token != "" {
				req.Header().Set("Authorization", "Bearer "+token)
			}
			return next(ctx, req)
		}
	})
	return agentapi.NewSessionServiceClient(f.http, f.url, append([]connect.ClientOption{connect.WithGRPC(), connect.WithInterceptors(bearer)}, options...)...)
}

func TestAssignmentByGRPCAndByPlainJSON(t *testing.T) {
	f := setup(t)
	got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &agentapi.Assignment{
		RunId: runID, Project: "shop", Repository: "Acme/Shop", CloneUrl: "https://github.com/Acme/Shop.git", GithubApiUrl: "https://api.github.com/",
		BaseBranch: "main", Branch: "codexk8s/issue-12", IssueNumber: 12, IssueTitle: "Round up", IssueBody: "Please.",
		IssueUrl: "https://github.com/Acme/Shop/issues/12", Stage: "dev", Kind: "revise", Revise: true, Role: "dev", Engine: "codex", Model: "gpt-5.4", Reasoning: "high",
		WriteScope: []string{"**"}, PullRequest: 34, Instructions: "Write Go.", HostedTools: []string{"web_search"}, HiddenText: "drop", Deadline: timestamppb.New(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
		Review: &agentapi.Review{Id: 7, Author: "olga", Body: "Nearly"}, Mode: "code-only", Namespace: namespace,
		Tools: []*agentapi.Tool{{Name: "ask", Free: true}, {Name: "request_approval", Free: true}, {Name: "status_report", Free: true}, {Name: "run_history", Free: true}},
	}
	got.Documents = nil // see TestAnAgentIsTold
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("assignment (-want +got):\n%s", diff)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+agentapi.SessionServiceGetAssignmentProcedure, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token(t, func(*runtoken.Claims) {}))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var plain struct{ RunID, Branch string }
	if err := json.NewDecoder(res.Body).Decode(&plain); err != nil || res.StatusCode != 200 || plain.RunID != runID || plain.Branch != "codexk8s/issue-12" {
		t.Errorf("by JSON: %d %+v %v", res.StatusCode, plain, err)
	}
}

func TestAStageThatTheProcessDoesNotKnowMayChangeNothing(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE runs SET stage = 'gone', review = NULL, deadline = NULL`)
	got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{scope.Nothing}, got.GetWriteScope()); diff != "" || got.GetReview() != nil || got.GetDeadline() != nil {
		t.Errorf("scope (-want +got):\n%s review %v deadline %v", diff, got.GetReview(), got.GetDeadline())
	}
}

func TestARevisesReviewIsAsOfItsLabel(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE runs SET review = '{"before": "2026-11-23T12:00:00Z"}'`)
	got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &agentapi.Review{Before: timestamppb.New(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))}
	if diff := cmp.Diff(want, got.GetReview(), protocmp.Transform()); diff != "" {
		t.Errorf("review (-want +got):\n%s", diff)
	}
}

// What process and project say now is for later runs.
func TestWhatARunMayDoIsFixedWhenItIsRequested(t *testing.T) {
	f := setup(t)
	f.exec(`UPDATE runs SET kind = 'work', stage = 'gone', granted = '{"process": "0123456789ab", "write": ["docs/**"], "hostedTools": []}'`)
	got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.GetWriteScope(), []string{"docs/**"}) || len(got.GetHostedTools()) != 0 || got.GetKind() != "work" || got.GetRevise() {
		t.Errorf("scope %q, tools %q, kind %q", got.GetWriteScope(), got.GetHostedTools(), got.GetKind())
	}
}

func TestHeartbeatAndProgressAreSeen(t *testing.T) {
	f := setup(t)
	a := f.agent()
	beat, err := a.Heartbeat(t.Context(), &agentapi.HeartbeatRequest{Phase: "engine"})
	if err != nil || beat.GetStop() {
		t.Fatalf("heartbeat %v %v", beat, err)
	}
	if _, err := a.ReportProgress(t.Context(), &agentapi.ReportProgressRequest{Text: "reads\x00 price.go"}); err != nil {
		t.Fatal(err)
	}
	var progress string
	var fresh bool
	if err := f.sql.QueryRow(t.Context(), `SELECT progress, heartbeat_at > now() - interval '1 minute' FROM runs`).Scan(&progress, &fresh); err != nil {
		t.Fatal(err)
	}
	if progress != "reads price.go" || !fresh {
		t.Errorf("progress %q, fresh %v", progress, fresh)
	}
	_, err = a.ReportProgress(t.Context(), &agentapi.ReportProgressRequest{Text: strings.Repeat("ä", tool.MaxProgress+1)})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("too long a progress: %v", err)
	}
	f.exec(`UPDATE runs SET state = 'waiting', waiting_for = 'approval', reason = 'approval'`)
	beat, err = a.Heartbeat(t.Context(), &agentapi.HeartbeatRequest{})
	if err != nil || !beat.GetStop() || beat.GetReason() != "waiting: approval" {
		t.Errorf("heartbeat of a waiting run: %v %v", beat, err)
	}
}

// TestTheFirstPodSaysWhatTheRunIsBasedOn, unless it is known, and the next pod is told.
func TestTheFirstPodSaysWhatTheRunIsBasedOn(t *testing.T) {
	f := setup(t)
	first, later := strings.Repeat("a1", 20), strings.Repeat("b2", 20)
	for _, commit := range []string{"", "--upload-pack=x", first, later} {
		if _, err := f.agent().Heartbeat(t.Context(), &agentapi.HeartbeatRequest{BaseCommit: commit}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.agent().GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{}); err != nil || got.GetBaseCommit() != first {
		t.Errorf("the next pod is told %q, want %q (%v)", got.GetBaseCommit(), first, err)
	}
}

func TestLogLinesAreStoredOnce(t *testing.T) {
	f := setup(t)
	a := f.agent()
	at := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	line := func(text string) *agentapi.LogLine { return &agentapi.LogLine{At: at, Stream: "agent", Text: text} }
	for _, c := range []struct {
		first int64
		lines []*agentapi.LogLine
		next  int64
	}{
		{0, nil, 1},
		{1, []*agentapi.LogLine{line("one"), line("two\x00")}, 3},
		{2, []*agentapi.LogLine{line("TWO"), line("three")}, 4},
		{1, []*agentapi.LogLine{line("ONE")}, 4},
		{store.MaxLogLines + 1, []*agentapi.LogLine{line("too many")}, 4},
		{0, nil, 4},
	} {
		res, err := a.AppendLogs(t.Context(), &agentapi.AppendLogsRequest{FirstSeq: c.first, Lines: c.lines})
		if err != nil || res.GetNextSeq() != c.next {
			t.Errorf("from %d: next %d, %v; want %d", c.first, res.GetNextSeq(), err, c.next)
		}
	}
	got, err := f.db.Logs(t.Context(), runID, 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].At = got[i].At.UTC()
	}
	want := []store.LogLine{{Seq: 2, At: at.AsTime(), Stream: "agent", Text: "two"}, {Seq: 3, At: at.AsTime(), Stream: "agent", Text: "three"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for _, bad := range []*agentapi.AppendLogsRequest{
		{FirstSeq: 0, Lines: []*agentapi.LogLine{line("x")}},
		{FirstSeq: 9, Lines: []*agentapi.LogLine{{Stream: "root"}}},
		{FirstSeq: 9, Lines: make([]*agentapi.LogLine, maxLines+1)},
	} {
		if _, err := a.AppendLogs(t.Context(), bad); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("a bad call: %v", err)
		}
	}
}

// A run that does not stop to talk fills its log, not the database.
func TestALogHasAnEnd(t *testing.T) {
	f := setup(t)
	a := f.agent()
	long := strings.Repeat("x", maxLine+1)
	for _, first := range []int64{1, store.MaxLogLines - 1} {
		lines := []*agentapi.LogLine{{Stream: "agent", Text: long}, {Stream: "agent", Text: long}, {Stream: "agent", Text: long}}
		if _, err := a.AppendLogs(t.Context(), &agentapi.AppendLogsRequest{FirstSeq: first, Lines: lines}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.db.Logs(t.Context(), runID, 1, 10)
	if err != nil || len(got) != 5 {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	for i, most := range []int{maxLine, maxLine, maxLine, 1 << 10, 100} {
		if n := len(got[i].Text); n > most+20 || n < 40 {
			t.Errorf("line %d has %d bytes, want at most %d", got[i].Seq, n, most)
		}
	}
	if last := got[4]; last.Seq != store.MaxLogLines || !strings.Contains(last.Text, "full") {
		t.Errorf("the last line is %d: %q", last.Seq, last.Text)
	}
}

func TestACredentialIsForTheOneRepository(t *testing.T) {
	f := setup(t)
	got, err := f.agent().GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &agentapi.GetGitCredentialResponse{Username: "x-access-token", Password: "ghs_Acme/Shop_write", ExpiresAt: timestamppb.New(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("credential (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		err  error
		want connect.Code
	}{
		{&github.Refused{Status: 404, Message: "Not Found"}, connect.CodeFailedPrecondition},
		{&github.RateLimited{Until: time.Now()}, connect.CodeUnavailable},
		{errors.New("secret detail"), connect.CodeUnavailable},
	} {
		f.h.token = func(context.Context, string, int64, *gh.InstallationPermissions) (github.Token, error) {
			return github.Token{}, c.err
		}
		_, err := f.agent().GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
		if connect.CodeOf(err) != c.want || strings.Contains(err.Error(), "secret detail") {
			t.Errorf("%v becomes %v, want %v", c.err, err, c.want)
		}
	}
}
