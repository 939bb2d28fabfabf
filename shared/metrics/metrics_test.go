package metrics

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	knative "knative.dev/pkg/observability/metrics"
)

// TestPrometheusSeesTheseNames exports every metric through Knative's own
// exporter and reads it as Prometheus would: names, kinds and labels.
func TestPrometheusSeesTheseNames(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	provider, err := knative.NewMeterProvider(t.Context(), knative.Config{Protocol: knative.ProtocolPrometheus, Endpoint: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown(t.Context()) })
	otel.SetMeterProvider(provider)

	ctx := t.Context()
	for _, c := range []*Counter{WebhookRequests, DeadLetters, RunsFinished, ModelTokens, ModelCost, ApprovalsDecided, VotesRefused, ApprovalMessages, ApprovalCallbacks} {
		c.Add(ctx, 1, c.Labels...)
	}
	for _, h := range []*Histogram{
		DeliveryDuration, RunQueueDuration, RunStartDuration, RunDuration, ModelCallDuration, GitHubRequestDuration, ApprovalDuration, ApprovalCallbackDuration,
	} {
		h.Record(ctx, 1, h.Labels...)
	}
	for _, g := range []*Gauge{ReceiptsOverdue, ReceiptsOldest, DeadLettersOpen, Runs, RunsSilent, GitHubRemaining, ApprovalsOpen, ApprovalsOldest,
		RunsWaiting, RunsWaitingOldest, BudgetUsed, ModelsPaused, GitHubPaused, PricesAge} {
		g.Set(ctx, 1, g.Labels...)
	}

	var want []string
	for _, m := range All() {
		want = append(want, fmt.Sprintf("%s %s %v", m.Prometheus(), m.Kind, slices.Sorted(slices.Values(m.Labels))))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, scrape(t, "http://"+address+"/metrics")); diff != "" {
		t.Errorf("(-table +exported):\n%s", diff)
	}
}

// scrape returns one line per metric of ours: name, kind, labels.
func scrape(t *testing.T, url string) []string {
	t.Helper()
	var body io.ReadCloser
	for range 200 { // the exporter's server starts in the background
		if resp, err := http.Get(url); err == nil {
			body = resp.Body
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if body == nil {
		t.Fatal("the exporter does not answer")
	}
	defer body.Close()
	kinds, labels := map[string]string{}, map[string][]string{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	var name string
	for lines := bufio.NewScanner(body); lines.Scan(); {
		line := lines.Text()
		if typed, ok := strings.CutPrefix(line, "# TYPE codexk8s_"); ok {
			n, kind, _ := strings.Cut(typed, " ")
			name = "codexk8s_" + n
			kinds[name], labels[name] = kind, []string{}
			continue
		}
		if name == "" || strings.HasPrefix(line, "#") || !strings.HasPrefix(line, name) {
			continue
		}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			if !strings.HasPrefix(m[1], "otel_") && m[1] != "le" && !slices.Contains(labels[name], m[1]) {
				labels[name] = append(labels[name], m[1])
			}
		}
	}
	var out []string
	for name, kind := range kinds {
		slices.Sort(labels[name])
		out = append(out, fmt.Sprintf("%s %s %v", name, kind, labels[name]))
	}
	slices.Sort(out)
	return out
}

// TestNames: by OpenTelemetry's conventions, and each once.
func TestNames(t *testing.T) {
	form := regexp.MustCompile(`^codexk8s(\.[a-z][a-z_]*)+$`)
	seen := map[string]bool{}
	for _, m := range All() {
		if !form.MatchString(m.Name) || !strings.HasSuffix(m.Help, ".") || seen[m.Prometheus()] {
			t.Errorf("%+v", m)
		}
		seen[m.Prometheus()] = true
	}
}
