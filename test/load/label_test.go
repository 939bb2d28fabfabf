package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/jackc/pgx/v5/pgxpool"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/test/local"
	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/stack"
)

// How many labels are set: warm ones cost a tenth of a second with what follows, those from zero half a second.
const (
	warmLabels = 200
	zeroLabels = 30
)

// BenchmarkLabelToJob sets the trigger label over GitHub's REST API, on a fresh issue each time, and waits for the
// run's Job in the Kubernetes API: the real binaries from their manifests on package local, the fake GitHub, a Postgres
// that syncs to disk. The Jobs themselves do not run. The time begins before the request to GitHub and ends when the
// API tells watchers of the Job. In "warm" every function runs already, in "zero" none does: each is started by its
// first event on the way. It reports
//
//	p50-ms, p99-ms, max-ms  from the label to the Job
//	webhook-p50-ms          of that, until the broker has GitHub's event: GitHub, webhook, commit, sending
//	router-p50-ms           until it has agent.requested: a broker hop, stage-router's decision and admission
//	launch-p50-ms           until the Job exists: a hop, agent-launcher, three round trips to Kubernetes
func BenchmarkLabelToJob(b *testing.B) {
	w := startWorld(b)
	w.Platform.Jobs.Stop() // the agents' Jobs are made and not run
	for range 5 {          // connections, prepared statements
		w.label(b, false)
	}
	b.Run("warm", func(b *testing.B) { w.benchmark(b, warmLabels, false) })
	b.Run("zero", func(b *testing.B) { w.benchmark(b, zeroLabels, true) })
}

// world is the platform with somebody who looks at the broker and the Kubernetes API.
type world struct {
	*stack.Stack
	db      *pgxpool.Pool
	changes <-chan kube.Change

	mu       sync.Mutex
	arrivals map[string]time.Time // at the broker, by work item and type
	asked    int                  // questions, see ask
}

func startWorld(b *testing.B) *world {
	b.Helper()
	w := &world{arrivals: map[string]time.Time{}}
	var err error
	calm := strings.Replace(stage.Default().Text, "within: 10m,", "within: 1s,", 1) // so that no label counts as a storm's
	file := filepath.Join(b.TempDir(), "process.yaml")
	if err := os.WriteFile(file, []byte(calm), 0o600); err != nil {
		b.Fatal(err)
	}
	w.Stack, err = stack.Start(b.Context(), stack.Options{
		Dir: b.TempDir(), OnDelivery: w.delivered, // a directory of its own: a durable Postgres
		Change: func(o *local.Options) {
			for _, function := range []string{"stage-router", "agent-gateway"} {
				o.Env[function] = maps.Clone(o.Env[function])
				if o.Env[function] == nil {
					o.Env[function] = map[string]string{}
				}
				o.Env[function]["PROCESS_FILE"] = file
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Stop)
	if w.db, err = pgxpool.New(b.Context(), w.Platform.DatabaseURL()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.db.Close)
	changes, stop := w.Platform.Kube.Store.Watch()
	b.Cleanup(stop)
	w.changes = changes
	return w
}

// delivered notes when the broker got an event: it says so in an extension, which each of its deliveries carries.
func (w *world) delivered(d broker.Delivery) {
	at, err := types.ToTime(d.Event.Extensions()["knativearrivaltime"])
	if err != nil || d.DeadLetter {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := events.Extension(d.Event, events.ExtCorrelation) + " " + d.Event.Type() + events.Extension(d.Event, "action")
	if _, known := w.arrivals[key]; !known {
		w.arrivals[key] = at
	}
}

// path is when one label was set and what it caused came about.
type path struct{ label, webhook, requested, job time.Time }

func (w *world) benchmark(b *testing.B, labels int, fromZero bool) {
	var paths []path
	b.ResetTimer()
	for range b.N {
		for range labels {
			paths = append(paths, w.label(b, fromZero))
		}
	}
	between := func(from, to func(path) time.Time) []time.Duration {
		var took []time.Duration
		for _, p := range paths {
			took = append(took, to(p).Sub(from(p)))
		}
		return took
	}
	label := func(p path) time.Time { return p.label }
	webhook := func(p path) time.Time { return p.webhook }
	requested := func(p path) time.Time { return p.requested }
	job := func(p path) time.Time { return p.job }
	all := between(label, job)
	b.ReportMetric(0, "ns/op") // of a series with its clearing up, which says nothing
	b.ReportMetric(quantile(all, 0.50), "p50-ms")
	b.ReportMetric(quantile(all, 0.99), "p99-ms")
	b.ReportMetric(quantile(all, 1), "max-ms")
	b.ReportMetric(quantile(between(label, webhook), 0.5), "webhook-p50-ms")
	b.ReportMetric(quantile(between(webhook, requested), 0.5), "router-p50-ms")
	b.ReportMetric(quantile(between(requested, job), 0.5), "launch-p50-ms")
}

// label opens an issue, labels it, waits for the Job, and clears up behind it. fromZero stops all functions before.
func (w *world) label(b *testing.B, fromZero bool) path {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	issue, err := w.GitHub.CreateIssue(stack.Repository, "Another greeting", "Add it beside the English one.", stack.Owner)
	if err != nil {
		b.Fatal(err)
	}
	w.settle(ctx, b)
	if fromZero {
		w.killAll(b)
	}
	p := path{label: time.Now()}
	w.setLabel(ctx, b, issue)
	for p.job.IsZero() {
		select {
		case c := <-w.changes:
			if c.Type == watch.Added && c.Resource == kube.Jobs && c.Object.GetNamespace() != "codexk8s" {
				p.job = time.Now()
				w.clear(ctx, b, c.Object.GetNamespace())
			}
		case <-ctx.Done():
			w.WriteTails(b.Output(), 15)
			b.Fatalf("the label on issue %d made no Job in time", issue)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := events.WorkItem(stack.Repository, issue) + " "
	p.webhook = w.arrivals[key+events.GitHubType("issues")+"labeled"]
	p.requested = w.arrivals[key+events.AgentRequested{}.EventType()]
	if p.webhook.IsZero() || p.requested.IsZero() {
		b.Fatalf("the broker has not seen all events of issue %d: %+v", issue, p)
	}
	return p
}

// setLabel asks as the web page does.
func (w *world) setLabel(ctx context.Context, b *testing.B, issue int) {
	b.Helper()
	url := fmt.Sprintf("%srepos/%s/issues/%d/labels", w.GitHub.APIURL(), stack.Repository, issue)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(`{"labels":["`+stack.LabelDev+`"]}`)))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+stack.OwnerToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("setting the label: %s: %s", resp.Status, said)
	}
}

// settle waits until nothing is on its way: GitHub has no webhook left to send, the broker nothing to deliver, and
// every event has been recorded by those who hear it. Handling the last one may have caused another webhook: so twice.
func (w *world) settle(ctx context.Context, b *testing.B) {
	b.Helper()
	for quiet := 0; quiet < 2; quiet++ {
		if err := errors.Join(w.GitHub.Flush(ctx), w.Platform.Broker().Idle(ctx)); err != nil {
			b.Fatal(err)
		}
		outstanding := 0
		if err := w.db.QueryRow(ctx, `
			SELECT count(*)
			FROM pending
			JOIN events USING (source, id)
			WHERE not_before IS NULL
		`).Scan(&outstanding); err != nil {
			b.Fatal(err)
		}
		if outstanding > 0 {
			quiet = -1
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// clear deletes the run's namespace as a person might, so that the Kubernetes API stays as small as it was; the
// platform notices and ends the run.
func (w *world) clear(ctx context.Context, b *testing.B, namespace string) {
	b.Helper()
	if _, err := w.Platform.Kube.Store.Delete(kube.Namespaces, "", namespace, metav1.DeleteOptions{}); err != nil {
		b.Fatal(err)
	}
	for active := 1; active > 0; time.Sleep(5 * time.Millisecond) {
		if err := w.db.QueryRow(ctx, `SELECT count(*) FROM runs WHERE finished_at IS NULL AND namespace = $1`, namespace).Scan(&active); err != nil {
			b.Fatalf("waiting for the end of the run in %s: %v", namespace, err)
		}
	}
	w.settle(ctx, b)
}

// killAll brings every function to zero.
func (w *world) killAll(b *testing.B) {
	b.Helper()
	for _, name := range w.Platform.Services() {
		if _, err := w.Platform.Kill(name); err != nil {
			b.Fatal(err)
		}
	}
}
