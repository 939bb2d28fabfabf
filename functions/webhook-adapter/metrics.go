package main

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics is the counter codexk8s.webhooks: requests by route (github, events) and outcome (accepted, ignored,
// duplicate, or the reason of a refusal, such as wrong_signature).
type metrics struct{ requests metric.Int64Counter }

func newMetrics() *metrics {
	requests, err := otel.Meter("codexk8s.dev").Int64Counter("codexk8s.webhooks", metric.WithDescription("Webhook requests by route and outcome."))
	if err != nil { // unreachable unless bug: the name is fixed and valid
		requests = noop.Int64Counter{}
	}
	return &metrics{requests}
}

func (m *metrics) count(ctx context.Context, route, outcome string) {
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("route", route), attribute.String("outcome", outcome)))
}
