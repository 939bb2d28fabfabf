package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/kube"
	"codexk8s.dev/shared/kube/gvr"
	"codexk8s.dev/shared/tool"
	"codexk8s.dev/test/local/pg/pgtest"
	"codexk8s.dev/test/local/stack"
)

// TestWhatPeopleApproveIsDoneOnce: Codex wants a Secret, the run waits without a pod, a click approves it, the platform
// makes the Secret, and the same conversation goes on to its pull request. The value is nowhere but in the Secret.
func TestWhatPeopleApproveIsDoneOnce(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	issue, post := asked(ctx, t, s, sql, "One more language.\n\n"+`Use first: secret_sync {"name":"session-key","justification":"The tests need one."}`)
	cluster, err := kube.Open(s.Platform.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	secret := func() *corev1.Secret {
		got, err := kube.Get[corev1.Secret](ctx, cluster, gvr.Secrets, pgtest.One[string](sql, `SELECT namespace FROM runs WHERE issue = $1`, issue), "session-key")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if secret() != nil || !strings.Contains(post.Text, "session-key") {
		t.Fatalf("before anybody has approved: the Secret is %v, and Telegram shows %q", secret(), post.Text)
	}
	if _, err := s.Chat.Click(ctx, post, "Approve", stack.Owner); err != nil {
		t.Fatal(err)
	}
	ends(ctx, t, sql, issue)
	if diff := cmp.Diff([]string{"succeeded 1"}, sql.Lines(`SELECT state || ' ' || attempt FROM runs WHERE issue = $1`, issue)); diff != "" {
		t.Errorf("one run with two Jobs (-want +got):\n%s", diff)
	}
	made := secret()
	if made == nil || len(made.Data[tool.SecretKey]) != 43 {
		t.Fatalf("the Secret is %v", made)
	}
	for what, query := range map[string]string{
		"an approved tool": `SELECT count(*) FROM events WHERE type = 'dev.codexk8s.tool.approved'`, "its result": `SELECT count(*) FROM events WHERE type = 'dev.codexk8s.tool.executed'`,
	} {
		if n := pgtest.One[int](sql, query); n != 1 {
			t.Errorf("%s is there %d times", what, n)
		}
	}
	value := string(made.Data[tool.SecretKey])
	for _, query := range []string{
		`SELECT convert_from(data, 'UTF8') FROM events`, `SELECT detail FROM audit`, `SELECT line FROM run_logs`, `SELECT asks::text FROM runs`, `SELECT ticket::text FROM approvals`,
	} {
		for _, row := range sql.Lines(query) {
			if strings.Contains(row, value) {
				t.Errorf("%s tells the value", query)
			}
		}
	}
}

// TestADatabaseIsMadeForARun: Codex wants a database, somebody approves it, the platform makes it on the project's
// Postgres, and the run's next Job finds the Secret that says how to connect. Nobody is told the password.
func TestADatabaseIsMadeForARun(t *testing.T) {
	ctx, s := start(t, codex(t))
	sql := pgtest.Open(t, s.Platform.DatabaseURL())
	cluster := withDatabase(ctx, t, s, sql)
	issue, post := asked(ctx, t, s, sql, "One more language.\n\n"+`Use first: database_lifecycle {"action":"create","justification":"The tests need one."}`)
	if _, err := s.Chat.Click(ctx, post, "Approve", stack.Owner); err != nil {
		t.Fatal(err)
	}
	ends(ctx, t, sql, issue)
	if diff := cmp.Diff([]string{"succeeded 1"}, sql.Lines(`SELECT state || ' ' || attempt FROM runs WHERE issue = $1`, issue)); diff != "" {
		t.Errorf("one run with two Jobs (-want +got):\n%s", diff)
	}
	namespace := pgtest.One[string](sql, `SELECT namespace FROM runs WHERE issue = $1`, issue)
	secret, err := kube.Get[corev1.Secret](ctx, cluster, gvr.Secrets, namespace, tool.DatabaseSecret)
	if err != nil || secret == nil {
		t.Fatalf("the Secret is %v, %v", secret, err)
	}
	conn, err := pgx.Connect(ctx, string(secret.Data["url"]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	password := string(secret.Data["PGPASSWORD"])
	for _, query := range []string{`SELECT convert_from(data, 'UTF8') FROM events`, `SELECT detail FROM audit`, `SELECT line FROM run_logs`, `SELECT asks::text FROM runs`} {
		for _, row := range sql.Lines(query) {
			if strings.Contains(row, password) {
				t.Errorf("%s tells the password", query)
			}
		}
	}
}

// withDatabase gives the demonstration's project a server for databases of runs: the platform's own.
func withDatabase(ctx context.Context, t *testing.T, s *stack.Stack, sql *pgtest.DB) *kube.Client {
	t.Helper()
	sql.Do(`UPDATE projects SET settings = settings || '{"database":"demo"}'`)
	cluster, err := kube.Open(s.Platform.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	admin := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: agentpod.DatabasesNamespace},
		Data: map[string][]byte{"url": []byte(s.Platform.DatabaseURL())},
	}
	if err := cluster.Create(ctx, gvr.Secrets, admin); err != nil {
		t.Fatal(err)
	}
	return cluster
}
