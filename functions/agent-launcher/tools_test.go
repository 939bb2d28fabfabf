package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/tool"
	fakekube "codexk8s.dev/test/local/kube"
)

// waits puts run A into the database, as one that waits for people.
func (f *fixture) waits() {
	f.Helper()
	f.over()
	f.sql.Do(`UPDATE runs SET state = 'waiting', waiting_for = 'approval', finished_at = NULL`)
}

func approved(name, arguments string) events.ToolApproved {
	return events.ToolApproved{
		RunRef: ref(runA), CallID: runB, Tool: name, Arguments: json.RawMessage(arguments),
		Namespace: namespace, Stage: "dev", Role: "dev", ExpiresAt: start.Add(24 * time.Hour),
	}
}

func (f *fixture) secret(name string) *corev1.Secret {
	return read[corev1.Secret](f, fakekube.Secrets, namespace, name)
}

// told is the one word on a tool that was emitted since the last call.
func (f *fixture) told() (t events.ToolExecuted) {
	f.Helper()
	all := f.emitted()
	if len(all) != 1 || !strings.HasPrefix(all[0], "tool.executed ") {
		f.Fatalf("emitted %q, want one tool.executed", all)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(all[0], "tool.executed ")), &t); err != nil {
		f.Fatal(err)
	}
	return t
}

// A Secret is made once, in a namespace that is made again if it is gone; only a rotation changes it. Its value is
// nowhere else.
func TestASecretIsMade(t *testing.T) {
	f := setup(t)
	f.waits()
	if code := f.deliver("1", approved(tool.SecretSync, `{"name":"session-key","rotate":false}`)); code != http.StatusAccepted {
		t.Fatal(code)
	}
	if got := f.told(); got.Reason != "" || got.CallID != runB || !strings.Contains(got.Result, "session-key") {
		t.Errorf("told %+v", got)
	}
	first := string(f.secret("session-key").Data[tool.SecretKey])
	if len(first) != 43 || f.namespace() == nil {
		t.Fatalf("the value has %d characters, the namespace is %v", len(first), f.namespace())
	}
	// Told again by the Broker, and called again by the agent.
	for _, id := range []string{"1", "2"} {
		if code := f.deliver(id, approved(tool.SecretSync, `{"name":"session-key","rotate":false}`)); code != http.StatusAccepted {
			t.Fatal(code)
		}
		f.told()
		if got := string(f.secret("session-key").Data[tool.SecretKey]); got != first {
			t.Errorf("event %s changed the value", id)
		}
	}
	f.deliver("3", approved(tool.SecretSync, `{"name":"session-key","rotate":true}`))
	f.told()
	second := string(f.secret("session-key").Data[tool.SecretKey])
	if second == first || len(second) != 43 {
		t.Error("a rotation made no other value")
	}
	for _, row := range f.sql.Lines(`SELECT convert_from(data, 'UTF8') FROM events UNION ALL SELECT detail FROM audit`) {
		if strings.Contains(row, first) || strings.Contains(row, second) {
			t.Errorf("the value is told: %s", row)
		}
	}
	// The run's next Job finds its namespace and leaves the Secret alone.
	f.expect("the next Job", f.deliver("4", request(runA, 1)), http.StatusAccepted, startedA2)
	if got := string(f.secret("session-key").Data[tool.SecretKey]); got != second {
		t.Error("the run's next Job changed the value")
	}
}

// What can't work is told once. What is another function's is left alone. While Kubernetes is away nothing is told.
func TestAToolThatCanNotBe(t *testing.T) {
	f := setup(t)
	f.waits()
	secret := approved(tool.SecretSync, `{"name":"session-key","rotate":false}`)
	f.expect("another function's", f.deliver("1", approved(tool.LabelsAdd, `{}`)), http.StatusAccepted)
	for id, c := range map[string]struct {
		edit func(*events.ToolApproved)
		want string
	}{
		"2": {func(a *events.ToolApproved) { a.Arguments = json.RawMessage(`{"name":"x","namespace":"kube-system"}`) }, "invalid_request"},
		"3": {func(a *events.ToolApproved) { a.Namespace = "kube-system" }, "namespace_invalid"},
		"4": {func(a *events.ToolApproved) { a.Arguments = json.RawMessage(`{"name":"Not_A_Name"}`) }, "kubernetes_refused"},
		"5": {func(a *events.ToolApproved) { a.RunID = runB }, "run_is_over"},
	} {
		call := secret
		c.edit(&call)
		if code := f.deliver(id, call); code != http.StatusAccepted {
			t.Errorf("%s: %d", c.want, code)
		}
		if got := f.told(); got.Reason != c.want {
			t.Errorf("told %+v, want %s", got, c.want)
		}
	}
	foreign := secret
	foreign.Issue = 13
	f.deliver("6", foreign)
	if got := f.told(); got.Reason != "namespace_taken" {
		t.Errorf("in another issue's namespace: %+v", got)
	}
	f.api.Close()
	if code := f.deliver("7", secret); code < http.StatusInternalServerError || len(f.emitted()) > 0 {
		t.Errorf("while Kubernetes is away: %d", code)
	}
	f.sql.Do(`UPDATE runs SET state = 'cancelled', finished_at = now()`)
	f.deliver("7", secret)
	if got := f.told(); got.Reason != "run_is_over" {
		t.Errorf("of a run that was stopped meanwhile: %+v", got)
	}
}
