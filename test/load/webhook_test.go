package load

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/local/pg"
)

const (
	connections = 16
	secret      = "load"
)

// BenchmarkWebhook delivers GitHub's issues.labeled payload over 16 connections to the real webhook-adapter binary, with
// a Postgres that truly syncs to disk and a Broker that takes each event. Every acknowledgement is checked, and in the end
// the rows are counted. It reports
//
//	acks/s       durable acknowledgements per second
//	p50-ms, p99-ms, max-ms   of one delivery, as its sender sees it
//	cpu-µs/ack   processor time of the function's process, its sending to the Broker included
func BenchmarkWebhook(b *testing.B) {
	ordinary, example := labeledPayloads(b)
	b.Run("ordinary", func(b *testing.B) { benchmarkWebhook(b, ordinary) })
	b.Run("example", func(b *testing.B) { benchmarkWebhook(b, example) })
}

func benchmarkWebhook(b *testing.B, payload []byte) {
	dbURL := durablePostgres(b)
	var sent atomic.Int64
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sent.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer broker.Close()
	adapter := startAdapter(b, dbURL, broker.URL)
	measure(b, adapter, payload)
	for wait := time.Now(); sent.Load() < int64(b.N+200) && time.Since(wait) < 10*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	if n := count(b, dbURL); n != b.N+200 {
		b.Errorf("%d deliveries are stored, %d were acknowledged", n, b.N+200)
	}
	if sent.Load() != int64(b.N+200) {
		b.Logf("the broker got %d of %d events so far; the rest is timekeeper's", sent.Load(), b.N+200)
	}
}

// measure delivers b.N times and reports what it took.
func measure(b *testing.B, a *adapter, payload []byte) {
	b.Helper()
	b.SetBytes(int64(len(payload)))
	deliver(b, a, payload, 200) // connections, prepared statements, pages
	cpu := a.cpu(b)
	b.ResetTimer()
	took := deliver(b, a, payload, b.N)
	b.StopTimer()
	cpu = a.cpu(b) - cpu
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
	b.ReportMetric(quantile(took, 0.50), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	b.ReportMetric(quantile(took, 1), "max-ms")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/ack")
}

func durablePostgres(b *testing.B) string {
	b.Helper()
	server, err := pg.Start(b.Context(), pg.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	url := server.URL("")
	if _, err := migrations.Up(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	return url
}

func count(b *testing.B, url string) (n int) {
	b.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM deliveries JOIN events ON id = guid WHERE status = 'accepted'`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

type adapter struct {
	cmd  *exec.Cmd
	addr string
}

func startAdapter(b *testing.B, dbURL, sink string) *adapter {
	b.Helper()
	path := binary(b, "webhook-adapter")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	a := &adapter{addr: l.Addr().String()}
	l.Close()
	_, port, _ := net.SplitHostPort(a.addr)
	a.cmd = exec.Command(path)
	a.cmd.Env = append(os.Environ(), "DATABASE_URL="+dbURL, "GITHUB_WEBHOOK_SECRETS="+secret, "PORT="+port, "K_SINK="+sink)
	a.start(b)
	return a
}

// start starts the program and waits until it answers.
func (a *adapter) start(b *testing.B) {
	b.Helper()
	logs, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer logs.Close()
	a.cmd.Stderr = logs
	if err := a.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	})
	for range 1000 {
		if resp, err := http.Get("http://" + a.addr + "/readyz"); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatalf("%s did not become ready", a.cmd.Path)
}

// cpu is the processor time that the process has used, from Linux's /proc; elsewhere 0.
func (a *adapter) cpu(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// Fields 14 and 15 of proc(5), counted after the name in parentheses, in ticks of a hundredth of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatalf("reading /proc: %v %v", err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// labeledPayloads are GitHub's own issues.labeled example as it comes over the wire (12 KB), and the same without the
// optional parts of the issue, which is what an ordinary issue has (6 to 8 KB).
func labeledPayloads(b *testing.B) (ordinary, example []byte) {
	b.Helper()
	data, err := os.ReadFile(filepath.Join("..", "node_modules", "@octokit", "webhooks-examples", "api.github.com", "index.json"))
	if err != nil {
		b.Fatalf("GitHub's webhook examples are missing, run make tools: %v", err)
	}
	var groups []struct {
		Name     string
		Examples []map[string]any
	}
	if err := json.Unmarshal(data, &groups); err != nil {
		b.Fatal(err)
	}
	for _, g := range groups {
		for _, ex := range g.Examples {
			if g.Name != "issues" || ex["action"] != "labeled" {
				continue
			}
			example = marshal(b, ex)
			issue := ex["issue"].(map[string]any)
			for _, optional := range []string{"milestone", "assignee", "assignees", "performed_via_github_app", "reactions", "body", "active_lock_reason", "closed_at"} {
				delete(issue, optional)
			}
			if ordinary = marshal(b, ex); len(ordinary) < 6000 || len(ordinary) > 8192 {
				b.Fatalf("the ordinary payload has %d bytes, want 6 to 8 KB", len(ordinary))
			}
			return ordinary, example
		}
	}
	b.Fatal("no issues.labeled among the examples")
	return nil, nil
}

func marshal(b *testing.B, v any) []byte {
	b.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// deliver makes n deliveries, each with a GUID of its own, and returns how long each took.
func deliver(b *testing.B, a *adapter, payload []byte, n int) []time.Duration {
	b.Helper()
	head := fmt.Sprintf("POST /github HTTP/1.1\r\nHost: hooks\r\nUser-Agent: GitHub-Hookshot/load\r\nContent-Type: application/json\r\n"+
		"X-GitHub-Event: issues\r\nX-GitHub-Hook-ID: 1\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\nX-GitHub-Delivery: ",
		webhook.Sign([]byte(secret), payload), len(payload))
	took := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	for range connections {
		wg.Go(func() {
			// A plain connection: net/http's client would cost more than the function it measures.
			conn, err := net.Dial("tcp", a.addr)
			if err != nil {
				cancel(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			var request []byte
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				request = append(append(append(request[:0], head...), uuid.NewString()...), "\r\n\r\n"...)
				request = append(request, payload...)
				start := time.Now()
				status, err := exchange(conn, answers, request)
				took[i] = time.Since(start)
				if err != nil || status != http.StatusAccepted {
					cancel(fmt.Errorf("answered %d: %w", status, err))
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		b.Fatal(err)
	}
	return took
}

func exchange(conn net.Conn, answers *bufio.Reader, request []byte) (status int, err error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
