package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestAnAgentLearnsFromPastRuns: people learn from what an agent explains on the lines of its pull request, and another
// agent from what became of it. Codex reads two runs of its project and the review between them, and proposes a pull
// request that changes documents alone. Runs of another project are none to it.
func TestAnAgentLearnsFromPastRuns(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	sql.Do(`UPDATE projects SET settings = settings || '{"learning": true}'`)
	label(t, s, "One more language.")
	await(ctx, t, "the end of the run", func() bool {
		return len(sql.Lines(`SELECT id::text FROM runs WHERE state = 'succeeded'`)) == 1
	})
	pull := s.GitHub.PullRequests(stack.Repository)[0].Number
	explained := fmt.Sprintf("comment %s#%d greetings/french.txt:1 \"The greeting comes first, so that who reads only one line has it.\"", stack.Repository, pull)
	await(ctx, t, "what the agent explains, on its line", func() bool {
		return slices.Contains(gates{t: t, ctx: ctx, s: s, sql: sql}.reviews(pull), explained)
	})
	if _, err := s.GitHub.Review(stack.Repository, pull, "REQUEST_CHANGES", `Say "Salut" too, as always.`, nil, stack.Owner); err != nil {
		t.Fatal(err)
	}
	await(ctx, t, "the end of the revise", func() bool {
		return len(sql.Lines(`SELECT id::text FROM runs WHERE kind = 'revise' AND state = 'succeeded'`)) == 1
	})
	runs := sql.Lines(`SELECT id::text FROM runs ORDER BY created_at`)
	foreign := "0a000000-0000-4000-8000-000000000002"
	sql.Do(`INSERT INTO projects (id, name) VALUES ('bank', 'Bank')`)
	sql.Do(`INSERT INTO work_items (repository, issue, full_name, url, base_branch, clone_url) VALUES ('acme/bank', 1, 'acme/bank', '', 'main', '')`)
	sql.Do(`INSERT INTO runs (id, repository, issue, project_id, stage, revise, kind, role, state, summary, engine, model, reasoning, requested_by, intent, namespace, finished_at, created_at)
		VALUES ($1, 'acme/bank', 1, 'bank', 'dev', false, 'work', 'dev', 'succeeded', 'Of the bank.', 'codex', 'm', 'high', 'olga', 'i', 'n', now(), now())`, foreign)

	body := "Ask first: Which runs matter most?\nUse: past_runs {}"
	for _, run := range append(runs, foreign) {
		body += fmt.Sprintf("\nUse: past_runs {\"run\":%q}", run)
	}
	issue, err := s.GitHub.CreateIssue(stack.Repository, "What we learn", body, stack.Owner)
	if err == nil {
		err = s.GitHub.AddLabel(stack.Repository, issue, "run:self-improve", stack.Owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	waits(ctx, t, sql, issue)
	cluster, err := kube.Open(s.Platform.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := kube.Get[corev1.Secret](ctx, cluster, gvr.Secrets, pgtest.One[string](sql, `SELECT namespace FROM runs WHERE issue = $1`, issue), agentpod.SecretName)
	if err != nil || secret == nil {
		t.Fatalf("the run's token: %v, %v", secret, err)
	}
	call := func(run string) string {
		return mcp(ctx, t, s.Platform.URL("agent-gateway")+"/mcp", string(secret.Data[agentpod.TokenKey]), "tools/call", fmt.Sprintf(`{"name":"past_runs","arguments":{"run":%q}}`, run))
	}
	none := "0a000000-0000-4000-8000-000000000009"
	if got := call(foreign); got != strings.ReplaceAll(call(none), none, foreign) || strings.Contains(got, "bank") {
		t.Errorf("another project's run: %q", got)
	}
	if got := call(runs[1]); !strings.Contains(got, `Say "Salut" too, as always.`) {
		t.Errorf("the revise: %q", got)
	}
	if _, err := s.GitHub.Comment(stack.Repository, issue, "/answer The newest.", stack.Owner); err != nil {
		t.Fatal(err)
	}
	ends(ctx, t, sql, issue)
	if diff := cmp.Diff([]string{"self-improve succeeded "}, sql.Lines(`SELECT stage || ' ' || state || ' ' || reason FROM runs WHERE issue = $1`, issue)); diff != "" {
		t.Errorf("the run (-want +got):\n%s", diff)
	}
	last := lastCall(s, "Which runs matter most?")
	for _, told := range append([]string{"as always.", "dev revise: 1 runs", "project demo has no run " + foreign}, runs...) {
		if !strings.Contains(last, told) {
			t.Errorf("the agent is not told %q", told)
		}
	}
	if strings.Contains(last, "Of the bank.") {
		t.Error("the agent is told of another project")
	}
	if text, err := s.GitHub.File(stack.Repository, fmt.Sprintf("codexk8s/issue-%d-self-improve", issue), fmt.Sprintf("docs/work/%d/self_improvement.md", issue)); err != nil || !strings.Contains(text, "## Patterns") {
		t.Errorf("what it proposes: %q, %v", text, err)
	}
}
