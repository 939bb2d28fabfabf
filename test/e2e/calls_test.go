package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/tool"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// A toolCall is one that an agent is to make. What people are asked for stops its pod; people press the button, and it
// is told the outcome in its next pod. What needs nobody's yes is done while it waits for the answer to its call.
type toolCall struct {
	tool, arguments string
	asked, button   string // words of the message in the chats, and what people press there; "" = nobody is asked
	told            string // what the agent is told in the end, by the call itself or by run_history
}

var toolCalls = []toolCall{
	{tool.Ask, `{"question":"Which words shall it be?","options":["Bonjour","Salut"]}`, "Which words shall it be?", "Salut", "Answer: Salut"},
	{tool.RequestApproval, `{"action":"upgrade_shell","arguments":{"to":"5.2"},"justification":"The tests need it."}`, "upgrade_shell", "Approve", "Outcome: approved"},
	{tool.SecretSync, `{"name":"session-key","justification":"The tests need one."}`, "session-key", "Approve", "The Secret session-key is made"},
	{tool.DatabaseLifecycle, `{"action":"create","justification":"The tests need one."}`, "Create a database", "Approve", "The database is created."},
	{tool.DatabaseLifecycle, `{"action":"describe"}`, "", "", "has no tables."},
	{tool.LabelsAdd, `{"labels":["size/S","size/XL"]}`, "", "", "labels_add is done: "},
	{tool.LabelsRemove, `{"labels":["size/XL"]}`, "", "", "labels_remove is done: "},
	{tool.LabelsTransition, `{"from":"size/S","to":"size/M"}`, "", "", "labels_transition is done: "},
	{tool.LabelsList, `{}`, "", "", "Issue #"},
	{tool.StatusReport, `{"text":"Half of the words are there"}`, "", "", "People see it."},
	{tool.RunHistory, `{}`, "", "", ", this run"},
}

// TestCodexCallsEveryTool: the Codex CLI calls each of the platform's tools in one run. Where people decide, the run
// waits without a pod; all else is done, and told, while the pod goes on.
func TestCodexCallsEveryTool(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	cluster := withDatabase(ctx, t, s, sql)
	body, names := "One more language.\n", []string{}
	for _, c := range toolCalls {
		how := "Use"
		if c.button != "" {
			how = "Use first"
		}
		body += fmt.Sprintf("\n%s: %s %s", how, c.tool, c.arguments)
		names = append(names, c.tool)
	}
	slices.Sort(names)
	everybodys := slices.DeleteFunc(tool.Names(), func(name string) bool { return name == tool.PastRuns }) // TestAnAgentLearnsFromPastRuns calls it
	slices.Sort(everybodys)
	if diff := cmp.Diff(everybodys, slices.Compact(names)); diff != "" {
		t.Fatalf("not every tool is called (-want +got):\n%s", diff)
	}
	issue := label(t, s, body)
	pods := 1
	for _, c := range toolCalls {
		if c.button == "" {
			continue
		}
		var post fakechat.Post
		await(ctx, t, c.asked+" in Telegram", func() bool {
			all := postsWith(s, fakechat.Telegram, c.asked)
			if len(all) == 1 {
				post = all[0]
			}
			return len(all) == 1
		})
		waits(ctx, t, sql, issue)
		if _, err := s.Chat.Click(ctx, post, c.button, stack.Owner); err != nil {
			t.Fatal(err)
		}
		await(ctx, t, "the outcome in Telegram", func() bool { return len(postsWith(s, fakechat.Telegram, c.asked)[0].Buttons) == 0 })
		pods++
	}
	ends(ctx, t, sql, issue)
	if diff := cmp.Diff([]string{"succeeded"}, sql.Lines(`SELECT state FROM runs WHERE issue = $1`, issue)); diff != "" {
		t.Errorf("the run (-want +got):\n%s", diff)
	}
	if n := pgtest.One[int](sql, `SELECT count(*) FROM events WHERE type = 'dev.codexk8s.agent.requested'`); n != pods {
		t.Errorf("there were %d pods, want %d: one, and one for each decision", n, pods)
	}
	last := lastCall(s, "Use first: ")
	for _, c := range toolCalls {
		if !strings.Contains(last, c.told) {
			t.Errorf("%s %s: the agent is not told %q", c.tool, c.arguments, c.told)
		}
	}
	got, err := s.GitHub.Issue(stack.Repository, issue)
	if err != nil || !slices.Contains(got.Labels, "size/M") || slices.Contains(got.Labels, "size/S") || slices.Contains(got.Labels, "size/XL") {
		t.Errorf("the issue has the labels %q, %v", got.Labels, err)
	}
	namespace := pgtest.One[string](sql, `SELECT namespace FROM runs WHERE issue = $1`, issue)
	for _, name := range []string{"session-key", tool.DatabaseSecret} {
		if secret, err := kube.Get[corev1.Secret](ctx, cluster, gvr.Secrets, namespace, name); err != nil || secret == nil {
			t.Errorf("the Secret %s is %v, %v", name, secret, err)
		}
	}
	if diff := cmp.Diff([]string{"0"}, sql.Lines(`SELECT count(*)::text FROM audit WHERE action = 'tool.refused'`)); diff != "" {
		t.Errorf("calls that were refused (-want +got):\n%s", diff)
	}
}

// lastCall is the model's last call of the conversation that holds these words.
func lastCall(s *stack.Stack, words string) (body string) {
	for _, call := range s.Model.Requests() {
		if strings.Contains(string(call.Body), words) {
			body = string(call.Body)
		}
	}
	return body
}

// noteStage has an agent that may ask and look back, whatever else its role may.
const noteStage = `stages:
  - name: note
    label: run:note
    role: dev
    about: Asks, and looks back
    timeout: 60m
    keep: 24h
    write: ["**"]
    tools: [ask, run_history]
    makes: [pull_request]
`

// TestAToolOutsideOfItsPolicyIsNotThere: what the stage does not name is not offered to Codex, however it looks for it,
// and refused as a tool that there is not when somebody calls it with the run's own token.
func TestAToolOutsideOfItsPolicyIsNotThere(t *testing.T) {
	o := codex(t)
	o.Change = func(o *local.Options) {
		file := map[string]string{"PROCESS_FILE": processFile(t)}
		for _, function := range []string{"stage-router", "agent-gateway"} {
			if o.Env[function] == nil {
				o.Env[function] = map[string]string{}
			}
			maps.Copy(o.Env[function], file)
		}
	}
	ctx, s := start(t, o)
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	issue, err := s.GitHub.CreateIssue(stack.Repository, stack.IssueTitle, "One more language.\n\nUse first: ask {\"question\":\"Which words?\"}\nUse: secret_sync {\"name\":\"session-key\"}", stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, "run:note", stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	waits(ctx, t, sql, issue)
	cluster, err := kube.Open(s.Platform.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := kube.Get[corev1.Secret](ctx, cluster, gvr.Secrets, pgtest.One[string](sql, `SELECT namespace FROM runs`), agentpod.SecretName)
	if err != nil || secret == nil {
		t.Fatalf("the run's token: %v, %v", secret, err)
	}
	call := func(method, params string) string {
		return mcp(ctx, t, s.Platform.URL("agent-gateway")+"/mcp", string(secret.Data[agentpod.TokenKey]), method, params)
	}
	if got := call("tools/list", `{}`); got != "ask run_history" {
		t.Errorf("the tools of the run are %s", got)
	}
	none := call("tools/call", `{"name":"no_such_tool","arguments":{}}`)
	if got := call("tools/call", `{"name":"secret_sync","arguments":{"name":"session-key"}}`); got != strings.ReplaceAll(none, "no_such_tool", "secret_sync") || !strings.HasPrefix(got, "refused: ") {
		t.Errorf("a call of secret_sync: %q; of a tool that there is not: %q", got, none)
	}
	if _, err := s.GitHub.Comment(stack.Repository, issue, "/answer Salut", stack.Owner); err != nil {
		t.Fatal(err)
	}
	ends(ctx, t, sql, issue)
	got := sql.Lines(`SELECT state FROM runs UNION ALL SELECT action || ' ' || reason || ' ' || detail FROM audit WHERE action = 'tool.refused'`)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"succeeded", "tool.refused unknown_tool no_such_tool", "tool.refused unknown_tool secret_sync"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, r := range s.Model.Requests() {
		if strings.Contains(string(r.Body), `"name":"secret_sync"`) {
			t.Fatalf("Codex has offered secret_sync: %s", r.Body)
		}
	}
	if !strings.Contains(lastCall(s, "Use first: "), `"name":"ask"`) {
		t.Error("Codex has not offered ask, so that it offered nothing else says nothing")
	}
}

// processFile is the platform's own process with one stage more.
func processFile(t *testing.T) string {
	t.Helper()
	own, err := os.ReadFile(filepath.Join("..", "..", "shared", "stage", "process.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(own), "\nstages:\n", "\n"+noteStage, 1)
	text = strings.Replace(text, "stages: [", "stages: [note, ", 1) // of a profile
	path := filepath.Join(t.TempDir(), "process.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// mcp makes one call as an agent's client does, and returns the names of the tools, or what it is told.
func mcp(ctx context.Context, t *testing.T, url, token, method, params string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var said struct {
		Result struct {
			Tools   []struct{ Name string }
			Content []struct{ Text string }
		}
		Error struct{ Message string }
	}
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil {
		t.Fatalf("%s is answered %s %s: %v", method, res.Status, text, err)
	}
	words := []string{}
	for _, offered := range said.Result.Tools {
		words = append(words, offered.Name)
	}
	for _, c := range said.Result.Content {
		words = append(words, c.Text)
	}
	if said.Error.Message != "" {
		return "refused: " + said.Error.Message
	}
	return strings.Join(words, " ")
}
