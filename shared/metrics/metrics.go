// Package metrics is the one table of what the platform measures. The functions record through it, and the dashboard
// and the alerts in config/observability are generated from it (test/observability), so that neither can name a metric
// that is not exported.
//
// Names follow OpenTelemetry's conventions and become Prometheus names by its rules: "codexk8s.delivery.duration" in
// "s" is codexk8s_delivery_duration_seconds. Every label has few values, whatever is sent to us: never an id, a
// repository, a person, or text from outside.
//
// The instruments belong to OpenTelemetry's global provider, which does nothing until package serve has set one.
//
// Functions sleep when idle, so what must be known at any time (runs, receipts, dead letters) is a gauge that
// timekeeper sets on every tick; counters and histograms come from the pod that did the work, and are pushed when it
// ends.
package metrics

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Scope is the instrumentation scope of all metrics.
const Scope = "codexk8s.dev"

// Kind says how a metric behaves.
type Kind string

// The kinds.
const (
	KindCounter   Kind = "counter"   // only grows
	KindHistogram Kind = "histogram" // a distribution
	KindGauge     Kind = "gauge"     // the value now
)

// A Metric is one row of the table.
type Metric struct {
	Name   string // OpenTelemetry's
	Unit   string // UCUM; in braces what is counted
	Kind   Kind
	Help   string
	Labels []string
}

// The table. Durations are in seconds.
var (
	WebhookRequests = counter("codexk8s.webhook.requests", "{request}",
		"Webhook requests by route, HTTP status and outcome (accepted, ignored, duplicate or why refused).", "route", "outcome", "code")

	DeliveryDuration = histogram("codexk8s.delivery.duration", upTo5m,
		"Handling of an event, from receipt to answer, by function, event type and HTTP status.", "function", "type", "code")

	ReceiptsOverdue = gauge("codexk8s.receipts.overdue", "{event}",
		"Events that a function has not recorded in time; they are sent again.", "function")
	ReceiptsOldest = gauge("codexk8s.receipts.oldest", "s",
		"Age of the oldest event that a function has not recorded in time; 0 when there is none.", "function")
	DeadLetters = counter("codexk8s.dead_letters", "{event}",
		"Events that a function refused for good (refused) or never recorded (no_receipt).", "reason")
	DeadLettersOpen = gauge("codexk8s.dead_letters.open", "{event}",
		"Dead letters whose event is still not handled.", "function")

	Runs = gauge("codexk8s.runs", "{run}",
		"Runs that have not ended, by state.", "state")
	RunsSilent = gauge("codexk8s.runs.silent", "{run}",
		"Runs whose agent has sent no heartbeat for five minutes.")
	RunsFinished = counter("codexk8s.runs.finished", "{run}",
		"Runs that ended, by stage, state and reason.", "stage", "state", "reason")
	RunQueueDuration = histogram("codexk8s.run.queue.duration", upTo1d,
		"From the request of a run, that is its label, to its admission: the wait for a free place.", "stage")
	RunStartDuration = histogram("codexk8s.run.start.duration", upTo1d,
		"From the request of a run to its Job on the cluster.", "stage")
	RunDuration = histogram("codexk8s.run.duration", upTo1d,
		"From a run's start to its end.", "stage", "state")

	ApprovalsOpen = gauge("codexk8s.approvals.open", "{request}",
		"Requests that wait for people.")
	ApprovalsOldest = gauge("codexk8s.approvals.oldest", "s",
		"Age of the oldest request that waits for people; 0 when there is none.")
	ApprovalsDecided = counter("codexk8s.approvals.decided", "{request}",
		"Requests that came to their end, by kind and how they ended.", "kind", "state")
	ApprovalDuration = histogram("codexk8s.approval.duration", upTo30d,
		"From a request to its end, by kind and how it ended.", "kind", "state")
	VotesRefused = counter("codexk8s.votes.refused", "{vote}",
		"Votes that did not count, by channel and reason.", "channel", "reason")
	ApprovalMessages = counter("codexk8s.approval.messages", "{message}",
		"Messages about requests by channel and outcome (delivered, failed, or why the channel refused).", "channel", "outcome")
	ApprovalCallbacks = counter("codexk8s.approval.callbacks", "{request}",
		"Callbacks of chats and trackers by channel, outcome (voted, asked, linked, or why not) and HTTP status.", "channel", "outcome", "code")
	ApprovalCallbackDuration = histogram("codexk8s.approval.callback.duration", upTo5m,
		"Callbacks of chats and trackers, from receipt to answer.", "channel")

	RunsWaiting = gauge("codexk8s.runs.waiting", "{run}",
		"Runs that wait without a pod for money (budget) or for their model's provider (rate_limit).", "for")
	RunsWaitingOldest = gauge("codexk8s.runs.waiting.oldest", "s",
		"Since when the oldest of them waits; 0 when there is none.", "for")
	BudgetUsed = gauge("codexk8s.budget.used", "{percent}",
		"The largest part that was spent of any budget in use, by what it is for.", "scope")
	ModelsPaused = gauge("codexk8s.models.paused", "{model}",
		"Models that are not asked until a time that their provider has named.")
	GitHubPaused = gauge("codexk8s.github.paused", "{credential}",
		"Credentials of GitHub that are not used until the end of a limit.")
	PricesAge = gauge("codexk8s.model.prices.age", "s",
		"Age of the price list by which calls are counted.")

	ModelCallDuration = histogram("codexk8s.model.call.duration", upTo10m,
		"Model calls from the request to the answer's end, by model and HTTP status (499: the agent left, 502: the model's side did).", "model", "code")
	ModelTokens = counter("codexk8s.model.tokens", "{token}",
		"Tokens used, by model and kind: input, of which cached; output, of which reasoning.", "model", "kind")
	ModelCost = counter("codexk8s.model.cost.usd", "{dollar}",
		"US dollars that model calls cost by the price list; calls without a price are not in it.", "model")

	GitHubRequestDuration = histogram("codexk8s.github.request.duration", upTo5m,
		"Calls of GitHub's API by method and HTTP status (0: no answer).", "method", "code")
	GitHubRemaining = gauge("codexk8s.github.rate_limit.remaining", "{request}",
		"Calls that GitHub still allows before its limit's next reset, as its last answer said.", "resource")
)

// Bounds of histograms, in seconds.
var (
	upTo5m  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	upTo10m = []float64{.25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600}
	upTo30d = []float64{1, 10, 60, 300, 900, 3600, 14400, 28800, 86400, 259200, 604800, 2592000}
	upTo1d  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400}
)

var all []Metric

// All is the table.
func All() []Metric { return all }

// Prometheus is the metric's name there, without the endings of a histogram's series (_bucket, _count, _sum).
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus
func (m Metric) Prometheus() string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == "s" {
		name += "_seconds"
	}
	if m.Kind == KindCounter {
		name += "_total"
	}
	return name
}

// attributes pairs the labels with their values; a label without a value is "".
func (m Metric) attributes(values []string) metric.MeasurementOption {
	attrs := make([]attribute.KeyValue, len(m.Labels))
	for i, label := range m.Labels {
		value := ""
		if i < len(values) {
			value = values[i]
		}
		attrs[i] = attribute.String(label, value)
	}
	return metric.WithAttributes(attrs...)
}

// A Counter counts what happened.
type Counter struct {
	Metric
	to metric.Float64Counter
}

// Add counts n more. The values are those of the metric's labels, in their order.
func (c *Counter) Add(ctx context.Context, n float64, values ...string) {
	c.to.Add(ctx, n, c.attributes(values))
}

// A Histogram is a distribution of durations.
type Histogram struct {
	Metric
	to metric.Float64Histogram
}

// Record adds one duration in seconds. The values are those of the metric's labels, in their order.
func (h *Histogram) Record(ctx context.Context, seconds float64, values ...string) {
	h.to.Record(ctx, seconds, h.attributes(values))
}

// A Gauge is a value that is set. A series that is no longer set keeps its last value, so always set all series, the
// zeros too.
type Gauge struct {
	Metric
	to metric.Float64Gauge
}

// Set sets the value. The values are those of the metric's labels, in their order.
func (g *Gauge) Set(ctx context.Context, v float64, values ...string) {
	g.to.Record(ctx, v, g.attributes(values))
}

func add(m Metric) Metric {
	all = append(all, m)
	return m
}

func counter(name, unit, help string, labels ...string) *Counter {
	m := add(Metric{name, unit, KindCounter, help, labels})
	to, err := otel.Meter(Scope).Float64Counter(name, metric.WithUnit(unit), metric.WithDescription(help))
	if err != nil { // unreachable unless bug: the names are above, and a test exports each
		to = noop.Float64Counter{}
	}
	return &Counter{m, to}
}

func histogram(name string, bounds []float64, help string, labels ...string) *Histogram {
	m := add(Metric{name, "s", KindHistogram, help, labels})
	to, err := otel.Meter(Scope).Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(help), metric.WithExplicitBucketBoundaries(bounds...))
	if err != nil { // unreachable unless bug, as above
		to = noop.Float64Histogram{}
	}
	return &Histogram{m, to}
}

func gauge(name, unit, help string, labels ...string) *Gauge {
	m := add(Metric{name, unit, KindGauge, help, labels})
	to, err := otel.Meter(Scope).Float64Gauge(name, metric.WithUnit(unit), metric.WithDescription(help))
	if err != nil { // unreachable unless bug, as above
		to = noop.Float64Gauge{}
	}
	return &Gauge{m, to}
}
