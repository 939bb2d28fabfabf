package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/runtoken"
)

func TestWhoIsNotTheAgentIsRefused(t *testing.T) {
	f := setup(t)
	for name, c := range map[string]struct {
		token string
		want  connect.Code
	}{
		"no token":          {"", connect.CodeUnauthenticated},
		"garbage":           {"garbage", connect.CodeUnauthenticated},
		"expired":           {token(t, func(c *runtoken.Claims) { c.Expires = time.Now().Add(-time.Second) }), connect.CodeUnauthenticated},
		"another namespace": {token(t, func(c *runtoken.Claims) { c.Namespace = "default" }), connect.CodeUnauthenticated},
		"no such run":       {token(t, func(c *runtoken.Claims) { c.RunID = otherRun }), connect.CodeUnavailable},
		"no uuid":           {token(t, func(c *runtoken.Claims) { c.RunID = "'; DROP" }), connect.CodeUnavailable},
	} {
		_, err := f.agentWith(c.token).GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
		if got := connect.CodeOf(err); got != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A message is read by whose token is ours, and of one run one large message at a time: who sends megabytes holds
// neither the function's memory nor another run's turn.
func TestMessagesAreReadOfWhomWeKnow(t *testing.T) {
	f := setup(t)
	// begin sends the head of a large message and no more, and returns what is answered within that time; "" = nothing.
	begin := func(token string, within time.Duration) string {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = fmt.Fprintf(c, "POST /%s/SaveSnapshot HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\nContent-Length: 2000000\r\nAuthorization: Bearer %s\r\n\r\n",
			agentapi.SessionServiceName, token)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(within))
		status, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(status)
	}
	for _, stranger := range []string{"", "garbage", token(t, func(c *runtoken.Claims) { c.Expires = time.Now().Add(-time.Second) })} {
		if got := begin(stranger, time.Minute); !strings.HasPrefix(got, "HTTP/1.1 401 ") {
			t.Errorf("the token %q: %q", stranger, got)
		}
	}
	own, second := token(t, func(*runtoken.Claims) {}), ""
	for second == "" { // until the first one is being read
		second = begin(own, 100*time.Millisecond)
	}
	if strings.Contains(second, " 200 ") {
		t.Errorf("a second large message of the run: %q", second)
	}
	other := f.agentWith(token(t, func(c *runtoken.Claims) { c.RunID = otherRun }))
	_, err := other.SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{Data: make([]byte, 2_000_000)})
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(fmt.Sprint(err), "not in the database") {
		t.Errorf("another run's is not read: %v", err)
	}
	_, err = f.agent(connect.WithSendGzip()).SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{Data: make([]byte, 2_000_000)})
	if connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("a message that grows as it is unpacked: %v", err)
	}
	if _, err := f.agent().Heartbeat(t.Context(), &agentapi.HeartbeatRequest{}); err != nil {
		t.Errorf("a small message: %v", err)
	}
}

func TestOnlyAnActiveRunMayAct(t *testing.T) {
	f := setup(t)
	a := f.agent()
	sum := sha256.Sum256(nil)
	calls := map[string]func() error{
		"GetAssignment": func() error { _, err := a.GetAssignment(t.Context(), &agentapi.GetAssignmentRequest{}); return err },
		"LoadSnapshot":  func() error { _, err := a.LoadSnapshot(t.Context(), &agentapi.LoadSnapshotRequest{}); return err },
		"GetGitCredential": func() error {
			_, err := a.GetGitCredential(t.Context(), &agentapi.GetGitCredentialRequest{})
			return err
		},
		"ReportProgress": func() error { _, err := a.ReportProgress(t.Context(), &agentapi.ReportProgressRequest{}); return err },
		"Report":         func() error { _, err := a.Report(t.Context(), &agentapi.ReportRequest{Outcome: "failed"}); return err },
		"AppendLogs":     func() error { _, err := a.AppendLogs(t.Context(), &agentapi.AppendLogsRequest{}); return err },
		"SaveSnapshot": func() error {
			_, err := a.SaveSnapshot(t.Context(), &agentapi.SaveSnapshotRequest{ExpectedVersion: 99, Sha256: sum[:]})
			return err
		},
	}
	lastWords := []string{"AppendLogs", "SaveSnapshot"}
	for _, state := range []string{"cancelled", "succeeded"} {
		f.exec(`UPDATE runs SET state = $1, finished_at = now()`, state)
		for name, call := range calls {
			err := call()
			if slices.Contains(lastWords, name) {
				if connect.CodeOf(err) == connect.CodePermissionDenied {
					t.Errorf("%s of a run that is %s: %v; its pod may still say its last words", name, state, err)
				}
				continue
			}
			if connect.CodeOf(err) != connect.CodePermissionDenied || !strings.Contains(fmt.Sprint(err), state) {
				t.Errorf("%s of a run that is %s: %v", name, state, err)
			}
		}
		beat, err := a.Heartbeat(t.Context(), &agentapi.HeartbeatRequest{})
		if err != nil || !beat.GetStop() || beat.GetReason() != state {
			t.Errorf("heartbeat of a run that is %s: %v %v", state, beat, err)
		}
	}

	// A restored database is behind its agents: they wait for it, and none is told to stop.
	calls["Heartbeat"] = func() error { _, err := a.Heartbeat(t.Context(), &agentapi.HeartbeatRequest{}); return err }
	for _, state := range []string{"requested", "queued"} {
		f.exec(`UPDATE runs SET state = $1, finished_at = NULL`, state)
		for name, call := range calls {
			if err := call(); connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(fmt.Sprint(err), state) {
				t.Errorf("%s of a run that is %s: %v", name, state, err)
			}
		}
	}
}
