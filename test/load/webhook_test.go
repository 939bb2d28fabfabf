package load

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"

	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	connections = 16
	secret      = "load"
)

// BenchmarkWebhook delivers GitHub's issues.labeled payload over 16 connections to the real webhook-adapter binary,
// with a Postgres that truly syncs to disk and a Broker that takes each event, and in turns to a hook that stores and
// sends nothing, the machine being the same for both at any time. Every acknowledgement is checked, and in the end the
// rows are counted. It reports
//
//	acks/s       durable acknowledgements per second, until the Broker has the last event too
//	of-hook      the same as a share of the hook's
//	p50-ms, p99-ms, max-ms   of one delivery, as its sender sees it
//	adapter-µs, postgres-µs, broker-µs   processor time for one delivery, of each process
//	hook-µs      the hook's for one of its own
//	client-µs    for one delivery of either
func BenchmarkWebhook(b *testing.B) {
	ordinary, example := labeledPayloads(b)
	b.Run("ordinary", func(b *testing.B) { benchmarkWebhook(b, ordinary) })
	b.Run("example", func(b *testing.B) { benchmarkWebhook(b, example) })
}

const (
	warmUp = 200 // connections, prepared statements, pages
	round  = 500 // deliveries to one side before the other's turn
)

func benchmarkWebhook(b *testing.B, payload []byte) {
	dbURL := pgtest.Durable(b)
	postgres := postmaster(b, dbURL)
	broker := startSelf(b, "broker")
	adapter := startAdapter(b, dbURL, broker)
	hook := startSelf(b, "hook")
	client := process{pid: os.Getpid()}
	deliver(b, hook, payload, warmUp)
	deliver(b, adapter, payload, warmUp)
	arrived(b, broker, warmUp)

	all := []process{adapter, postgres, broker, hook, client}
	before := processorTimes(b, all)
	var took []time.Duration
	var hookTook time.Duration
	b.SetBytes(int64(len(payload)))
	b.ResetTimer()
	for done := 0; done < b.N; {
		n := min(round, b.N-done)
		done += n
		b.StopTimer()
		start := time.Now()
		deliver(b, hook, payload, n)
		hookTook += time.Since(start)
		b.StartTimer()
		took = append(took, deliver(b, adapter, payload, n)...)
		arrived(b, broker, warmUp+done)
	}
	b.StopTimer()
	after := processorTimes(b, all)
	if n := count(b, dbURL); n != b.N+warmUp {
		b.Errorf("%d deliveries are stored, %d were acknowledged", n, b.N+warmUp)
	}

	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
	b.ReportMetric(hookTook.Seconds()/b.Elapsed().Seconds(), "of-hook")
	b.ReportMetric(quantile(took, 0.50), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	b.ReportMetric(quantile(took, 1), "max-ms")
	for i, name := range []string{"adapter-µs", "postgres-µs", "broker-µs", "hook-µs"} {
		b.ReportMetric(float64((after[i]-before[i]).Microseconds())/float64(b.N), name)
	}
	b.ReportMetric(float64((after[4]-before[4]).Microseconds())/float64(2*b.N), "client-µs")
}

// arrived waits until the Broker has so many events.
func arrived(b *testing.B, broker process, n int) {
	b.Helper()
	got := ""
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(time.Millisecond) {
		resp, err := http.Get(broker.url())
		if err != nil {
			b.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		if got = string(said); got == strconv.Itoa(n) {
			return
		}
	}
	b.Fatalf("the broker has %s of %d events", got, n)
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
func deliver(b *testing.B, to process, payload []byte, n int) []time.Duration {
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
			conn, err := net.Dial("tcp", to.addr)
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
