package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/tool"
	fakekube "codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/pg/pgtest"
)

// withServer names a Postgres in the project's settings and lets us in there, as one who is no superuser. It is the one
// that has our own database.
func (f *fixture) withServer() {
	f.Helper()
	admin := "admin_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	f.sql.Do(`CREATE ROLE ` + admin + ` LOGIN CREATEDB CREATEROLE PASSWORD 'secret-word'`)
	f.Cleanup(func() {
		name := databaseName(namespace)
		for _, statement := range []string{`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`, `DROP ROLE IF EXISTS ` + name, `DROP ROLE ` + admin} {
			if _, err := f.sql.Exec(context.WithoutCancel(f.Context()), statement); err != nil {
				f.Error(err)
			}
		}
	})
	config := f.sql.Config().ConnConfig
	u := url.URL{Scheme: "postgres", User: url.UserPassword(admin, "secret-word"), Host: config.Host, Path: "/postgres"}
	u.Host += ":" + pgtest.One[string](f.sql, `SELECT current_setting('port')`)
	f.create(fakekube.Namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": agentpod.DatabasesNamespace}})
	f.create(fakekube.Secrets, map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "shop", "namespace": agentpod.DatabasesNamespace},
		"stringData": map[string]any{"url": u.String()},
	})
	f.sql.Do(`UPDATE projects SET settings = '{"database":"shop"}'`)
}

func (f *fixture) create(r *fakekube.Resource, object map[string]any) {
	f.Helper()
	if _, err := f.objects.Create(r, &unstructured.Unstructured{Object: object}); err != nil {
		f.Fatal(err)
	}
}

// lifecycle has the tool do something, and returns what is told of it.
func (f *fixture) lifecycle(id, action string) events.ToolExecuted {
	f.Helper()
	if code := f.deliver(id, approved(tool.DatabaseLifecycle, `{"action":"`+action+`"}`)); code != http.StatusAccepted {
		f.Fatalf("%s: answered %d", action, code)
	}
	return f.told()
}

// connection is what the run's Secret says.
func (f *fixture) connection() string {
	f.Helper()
	secret := f.secret(tool.DatabaseSecret)
	if secret == nil {
		f.Fatal("there is no Secret")
	}
	return string(secret.Data["url"])
}

// run has the database's role run a statement.
func (f *fixture) run(address, statement string) error {
	f.Helper()
	conn, err := pgx.Connect(f.Context(), address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(f.Context())) }()
	_, err = conn.Exec(f.Context(), statement)
	return err
}

// mayReach are the addresses that the policy of databases opens for the services of the run.
func (f *fixture) mayReach() (addresses []string) {
	f.Helper()
	policy := read[networkingv1.NetworkPolicy](f, fakekube.NetworkPolicies, namespace, "egress-database")
	if policy == nil || len(policy.Spec.PodSelector.MatchExpressions) != 1 {
		f.Fatalf("the policy is %+v", policy)
	}
	for _, rule := range policy.Spec.Egress {
		for _, to := range rule.To {
			addresses = append(addresses, to.IPBlock.CIDR)
		}
	}
	return addresses
}

func (f *fixture) databases() []string {
	f.Helper()
	return f.sql.Lines(`SELECT datname::text FROM pg_database WHERE datname = $1 UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname = $1`, databaseName(namespace))
}

// A database is made once for a run, found again by the run's next Job, described and deleted. Its password stands in
// the Secret and nowhere else.
func TestADatabaseOfARun(t *testing.T) {
	f := setup(t)
	f.waits()
	f.withServer()
	if got := f.lifecycle("1", tool.DescribeDatabase); got.Result != "There is no database." || got.Reason != "" {
		t.Errorf("described before it is there: %+v", got)
	}
	if got := f.lifecycle("2", tool.CreateDatabase); got.Reason != "" || !strings.HasPrefix(got.Result, "The database is created.") {
		t.Errorf("told %+v", got)
	}
	first := f.connection()
	if err := f.run(first, `CREATE TABLE people (name text)`); err != nil {
		t.Fatal(err)
	}
	keys := []string{}
	for key := range f.secret(tool.DatabaseSecret).Data {
		keys = append(keys, key)
	}
	if len(keys) != 6 {
		t.Errorf("the Secret has the keys %v", keys)
	}
	if got := f.lifecycle("3", tool.CreateDatabase); got.Reason != "" || !strings.HasPrefix(got.Result, "The database is there already") || f.connection() != first {
		t.Errorf("created twice: %+v", got)
	}
	if got := f.lifecycle("4", tool.DescribeDatabase); got.Reason != "" || !strings.Contains(got.Result, databaseName(namespace)) || !strings.Contains(got.Result, "public.people, ") {
		t.Errorf("described as %+v", got)
	}

	if diff := cmp.Diff([]string{"127.0.0.1/32"}, f.mayReach()); diff != "" {
		t.Errorf("the run's services may reach (-want +got):\n%s", diff)
	}

	// The next Job finds it as it is; if the namespace was lost, by a new password.
	f.expect("the next Job", f.deliver("5", request(runA, 1)), http.StatusAccepted, startedA2)
	if f.connection() != first {
		t.Error("the next Job changed the password")
	}
	f.end()
	if _, err := f.objects.Delete(fakekube.Namespaces, "", namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); f.namespace() != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if code := f.deliver("6", request(runA, 2)); code != http.StatusAccepted {
		t.Fatalf("the next Job in a new namespace: %d", code)
	}
	f.emitted()
	second := f.connection()
	if err := f.run(second, `INSERT INTO people VALUES ('ann')`); err != nil || second == first {
		t.Errorf("in the new namespace: %v", err)
	}

	for _, row := range f.sql.Lines(`SELECT convert_from(data, 'UTF8') FROM events UNION ALL SELECT detail FROM audit UNION ALL SELECT server FROM run_databases`) {
		for _, address := range []string{first, second} {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if password, _ := u.User.Password(); len(password) != 43 || strings.Contains(row, password) || strings.Contains(row, "secret-word") {
				t.Errorf("a password is told: %s", row)
			}
		}
	}
	for _, id := range []string{"7", "8"} {
		if got := f.lifecycle(id, tool.DeleteDatabase); got.Reason != "" {
			t.Errorf("deleted: %+v", got)
		}
		if left := f.databases(); len(left) > 0 || len(f.secret(tool.DatabaseSecret).Data) > 0 || len(f.mayReach()) > 0 {
			t.Errorf("left are %v and %v", left, f.secret(tool.DatabaseSecret))
		}
	}
}

// A process that died while it made a database has left it with a password that nobody knows: the next delivery sets
// another one.
func TestADatabaseThatWasNotFinished(t *testing.T) {
	f := setup(t)
	f.waits()
	f.withServer()
	f.lifecycle("1", tool.CreateDatabase)
	first := f.connection()
	f.sql.Do(`UPDATE run_databases SET made = false`)
	if got := f.lifecycle("2", tool.CreateDatabase); got.Reason != "" || f.connection() == first {
		t.Errorf("told %+v", got)
	}
	if err := f.run(f.connection(), `SELECT 1`); err != nil {
		t.Error(err)
	}
	f.sql.Do(`DROP DATABASE ` + databaseName(namespace)) // by an operator
	if got := f.lifecycle("3", tool.CreateDatabase); got.Reason != "" || f.run(f.connection(), `SELECT 1`) != nil {
		t.Errorf("told %+v", got)
	}
}

// A database goes with the run's namespace, whatever the project's settings say by then, and not while a run of the
// issue waits.
func TestADatabaseGoesWithItsNamespace(t *testing.T) {
	f := setup(t)
	f.waits()
	f.withServer()
	f.lifecycle("1", tool.CreateDatabase)
	f.sql.Do(`UPDATE projects SET settings = '{}'`)
	f.clock = start.Add(100 * 24 * time.Hour)
	expired := events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}
	f.expect("while it waits", f.deliver("2", expired), http.StatusAccepted)
	if _, err := f.objects.Delete(fakekube.Namespaces, "", namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.expect("while it waits, its namespace lost", f.deliver("3", expired), http.StatusAccepted, removedA)
	if n := len(f.databases()); n != 2 {
		t.Fatalf("the database of a run that waits is removed: %v", f.databases())
	}
	f.sql.Do(`UPDATE runs SET state = 'cancelled', waiting_for = '', finished_at = now()`)
	for _, id := range []string{"4", "5"} {
		f.expect("after its end", f.deliver(id, expired), http.StatusAccepted, removedA)
		if left := f.databases(); len(left) > 0 {
			t.Errorf("left are %v", left)
		}
	}
	if left := f.sql.Lines(`SELECT namespace FROM run_databases`); len(left) > 0 {
		t.Errorf("on record are %v", left)
	}
}

// Which database is meant is nobody's to say, and what can't be is told once.
func TestADatabaseThatCanNotBe(t *testing.T) {
	f := setup(t)
	f.waits()
	f.withServer()
	for id, c := range map[string]struct {
		arguments string
		edit      func(*events.ToolApproved)
		want      string
	}{
		"1": {`{"action":"create","name":"postgres"}`, nil, "invalid_request"},
		"2": {`{"action":"create; DROP DATABASE postgres"}`, nil, "invalid_request"},
		"3": {`{"action":"create"}`, func(a *events.ToolApproved) { a.Namespace = `codexk8s-run-"; DROP` }, "kubernetes_refused"},
		"4": {`{"action":"create"}`, func(a *events.ToolApproved) { a.Namespace = "postgres" }, "namespace_invalid"},
		"5": {`{"action":"create"}`, func(a *events.ToolApproved) { a.Project = "other" }, databaseUnknown},
	} {
		call := approved(tool.DatabaseLifecycle, c.arguments)
		if c.edit != nil {
			c.edit(&call)
		}
		f.sql.Do(`DELETE FROM run_databases`)
		data, err := json.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		f.sql.Log(events.Source("stage-router"), id, call.EventType(), data)
		if code := f.post(id, call, data); code != http.StatusAccepted {
			t.Errorf("%s: %d", c.arguments, code)
			continue
		}
		if got := f.told(); got.Reason != c.want {
			t.Errorf("%s: told %+v, want %s", c.arguments, got, c.want)
		}
	}
	f.sql.Do(`UPDATE projects SET settings = '{"database":"another"}'`)
	if got := f.lifecycle("7", tool.CreateDatabase); got.Reason != databaseUnknown || !strings.Contains(got.Result, "Secret another") {
		t.Errorf("without its Secret: %+v", got)
	}
	// The run itself goes on without it.
	f.expect("the next Job", f.deliver("8", request(runA, 1)), http.StatusAccepted, startedA2)
	f.end()
	f.clock = start.Add(100 * 24 * time.Hour)
	f.sql.Do(`UPDATE runs SET state = 'cancelled', waiting_for = '', finished_at = now()`)
	f.expect("its end", f.deliver("9", events.EnvironmentExpired{RunRef: ref(runA), Namespace: namespace}), http.StatusAccepted, removedA)
	if diff := cmp.Diff([]string{"database.left database_unknown"}, f.sql.Lines(`SELECT action || ' ' || reason FROM audit WHERE action = 'database.left'`)); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}
