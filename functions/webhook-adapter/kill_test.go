package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// process starts the function as a process of its own, which is this test binary; see TestMain.
func process(t *testing.T, dbURL, sink string) (cmd *exec.Cmd, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_RUN_ADAPTER=1", "DATABASE_URL="+dbURL, "GITHUB_WEBHOOK_SECRETS=new,old",
		fmt.Sprintf("PORT=%d", port), "K_SINK="+sink, "QUIET_PERIOD=10ms")
	cmd.Stderr = &bytes.Buffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the function said:\n%s", cmd.Stderr)
		}
	})
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	for range 500 {
		if resp, err := http.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			return cmd, url
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the function did not become ready")
	return nil, ""
}

func deliver(t *testing.T, url, guid string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/github", bytes.NewReader([]byte(labeled)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers(guid, "issues", "new", []byte(labeled)) {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// The Broker hangs, so the event is stored and acknowledged and never sent when the process is killed.
func TestKilledBetweenCommitAndSend(t *testing.T) {
	reached, hang := make(chan struct{}, 1), make(chan struct{})
	broker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{}; <-hang }))
	defer broker.Close()
	defer close(hang)
	dbURL := pgtest.New(t)
	cmd, url := process(t, dbURL, broker.URL)
	if code := deliver(t, url, "g-1"); code != http.StatusAccepted {
		t.Fatalf("answered %d", code)
	}
	<-reached
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	db, err := store.Open(t.Context(), "timekeeper", dbURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }()
	pgtest.Open(t, dbURL).Do(`UPDATE pending SET due_at = now()`)
	due, err := db.Due(t.Context(), 10)
	if err != nil || len(due) != 1 || due[0].ID() != "g-1" {
		t.Errorf("due: %v, %v", due, err)
	}
	_, url = process(t, dbURL, broker.URL)
	if code := deliver(t, url, "g-1"); code != http.StatusOK {
		t.Errorf("the redelivery was answered %d, want 200: it is a duplicate", code)
	}
}

// On SIGTERM everything that was acknowledged is sent before the process ends.
func TestGracefulDrain(t *testing.T) {
	sent := make(chan string, 100)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		sent <- r.Header.Get("ce-id")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	cmd, url := process(t, pgtest.New(t), broker.URL)
	for i := range 30 {
		if code := deliver(t, url, fmt.Sprint("g-", i)); code != http.StatusAccepted {
			t.Fatalf("answered %d", code)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the function ended with %v", err)
	}
	if len(sent) != 30 {
		t.Errorf("%d of 30 events were sent before the end", len(sent))
	}
}

func TestNoSecretNoStart(t *testing.T) {
	for _, secrets := range []string{"", " , "} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TEST_RUN_ADAPTER=1", "DATABASE_URL=postgres://localhost/x", "PORT=0", "GITHUB_WEBHOOK_SECRETS="+secrets)
		if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("SECRET")) && !bytes.Contains(out, []byte("secret")) {
			t.Errorf("secrets %q: %v\n%s", secrets, err, out)
		}
	}
}
