package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"knative.dev/pkg/observability"
	"knative.dev/pkg/observability/metrics"
	"knative.dev/pkg/observability/tracing"

	"codexk8s.dev/shared/events"
)

// telemetry is OpenTelemetry as Knative configures it: off unless
// K_OBSERVABILITY_CONFIG says otherwise. Metrics (Prometheus or OTLP):
//
//	codexk8s.deliveries          events received, by type and status
//	codexk8s.delivery.duration   seconds from receipt to answer, by type
type telemetry struct {
	tracer     trace.Tracer
	deliveries metric.Int64Counter
	duration   metric.Float64Histogram
	shutdown   func(context.Context) error
}

func noTelemetry() *telemetry {
	t, _ := newTelemetry(tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider())
	t.shutdown = func(context.Context) error { return nil }
	return t
}

func newTelemetry(tp trace.TracerProvider, mp metric.MeterProvider) (*telemetry, error) {
	m := mp.Meter("codexk8s.dev")
	deliveries, err1 := m.Int64Counter("codexk8s.deliveries", metric.WithDescription("Events received."))
	duration, err2 := m.Float64Histogram("codexk8s.delivery.duration", metric.WithUnit("s"), metric.WithDescription("From receipt to answer."))
	return &telemetry{tracer: tp.Tracer("codexk8s.dev"), deliveries: deliveries, duration: duration}, errors.Join(err1, err2)
}

// openTelemetry starts the exporters that the JSON config asks for.
// Its shape is Knative's observability.Config; "" is off.
func openTelemetry(ctx context.Context, function, config string) (*telemetry, error) {
	if config == "" {
		return noTelemetry(), nil
	}
	c := observability.DefaultConfig()
	if err := json.Unmarshal([]byte(config), c); err != nil {
		return nil, fmt.Errorf("reading K_OBSERVABILITY_CONFIG: %w", err)
	}
	tp, err := tracing.NewTracerProvider(ctx, c.Tracing)
	if err != nil {
		return nil, fmt.Errorf("starting traces of %s: %w", function, err)
	}
	mp, err := metrics.NewMeterProvider(ctx, c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("starting metrics of %s: %w", function, err)
	}
	otel.SetTracerProvider(tp)
	otel.SetMeterProvider(mp)
	t, err := newTelemetry(tp, mp)
	if err != nil {
		return nil, fmt.Errorf("registering metrics of %s: %w", function, err)
	}
	t.shutdown = func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) }
	return t, nil
}

// receiving opens the span of a delivery as a child of the event's own trace
// context (CloudEvents' distributed-tracing extension), and puts the new context
// on the event, so that what it causes continues the trace.
func (t *telemetry) receiving(ctx context.Context, e *event.Event) (context.Context, func(error)) {
	propagator := propagation.TraceContext{}
	carrier := propagation.MapCarrier{"traceparent": events.Extension(*e, events.ExtTraceparent)}
	ctx, span := t.tracer.Start(propagator.Extract(ctx, carrier), e.Type(), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("cloudevents.event_id", e.ID()), attribute.String("cloudevents.event_subject", e.Subject())))
	if span.IsRecording() {
		propagator.Inject(ctx, carrier)
		e.SetExtension(events.ExtTraceparent, carrier["traceparent"])
	}
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func (t *telemetry) received(ctx context.Context, eventType string, status int, took time.Duration) {
	typ := attribute.String("type", eventType)
	t.deliveries.Add(ctx, 1, metric.WithAttributes(typ, attribute.Int("status", status)))
	t.duration.Record(ctx, took.Seconds(), metric.WithAttributes(typ))
}
