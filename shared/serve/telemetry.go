package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	knative "knative.dev/pkg/observability/metrics"
	"knative.dev/pkg/observability/tracing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/metrics"
)

// telemetry is OpenTelemetry as Knative configures it: off unless K_OBSERVABILITY_CONFIG says otherwise. Package
// metrics has what is measured. A function sleeps when idle, so it can't be scraped reliably: OTLP pushes, and
// shutdown, the last step of a drain, sends what is left.
type telemetry struct {
	tracer   trace.Tracer
	shutdown func(context.Context) error
}

func noTelemetry() *telemetry {
	return &telemetry{
		tracer:   tracenoop.NewTracerProvider().Tracer(metrics.Scope),
		shutdown: func(context.Context) error { return nil },
	}
}

// openTelemetry starts the exporters that the JSON config asks for; "" is off. Its shape is Knative's
// observability.Config, which itself would link and register the handlers of net/http/pprof.
func openTelemetry(ctx context.Context, function, config string) (*telemetry, error) {
	if config == "" {
		return noTelemetry(), nil
	}
	c := struct {
		Tracing tracing.Config `json:"tracing"`
		Metrics knative.Config `json:"metrics"`
	}{tracing.DefaultConfig(), knative.DefaultConfig()}
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return nil, fmt.Errorf("reading K_OBSERVABILITY_CONFIG: %w", err)
	}
	if c.Metrics.Protocol == knative.ProtocolPrometheus {
		return nil, errors.New("reading K_OBSERVABILITY_CONFIG: a function that sleeps can't be scraped: push by http/protobuf or grpc")
	}
	if err := nameResource(function); err != nil {
		return nil, err
	}
	tp, err := tracing.NewTracerProvider(ctx, c.Tracing)
	if err != nil {
		return nil, fmt.Errorf("starting traces of %s: %w", function, err)
	}
	mp, err := knative.NewMeterProvider(ctx, c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("starting metrics of %s: %w", function, err)
	}
	otel.SetTracerProvider(tp)
	otel.SetMeterProvider(mp)
	return &telemetry{
		tracer:   tp.Tracer(metrics.Scope),
		shutdown: func(ctx context.Context) error { return errors.Join(tp.Shutdown(ctx), mp.Shutdown(ctx)) },
	}, nil
}

// nameResource says whose traces and metrics they are, by the variables that OpenTelemetry's SDK reads; what the
// operator set stays. The pod's name is part of it because two pods of a function must not write the same series.
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
func nameResource(function string) error {
	pod, _ := os.Hostname()
	for name, value := range map[string]string{
		"OTEL_SERVICE_NAME":        function,
		"OTEL_RESOURCE_ATTRIBUTES": "service.namespace=codexk8s,service.instance.id=" + pod,
	} {
		if os.Getenv(name) != "" {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("naming the telemetry of %s: %w", function, err)
		}
	}
	return nil
}

// receiving opens the span of a delivery as a child of the event's own trace context (CloudEvents' distributed-tracing
// extension), and puts the new context on the event, so that what it causes continues the trace.
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

// received counts a delivery. Types that the function doesn't handle are counted as one, because a sender may write
// anything.
func (s *Server) received(ctx context.Context, eventType string, status int, took time.Duration) {
	if s.handlers[eventType] == nil && !s.isWokenBy(eventType) {
		eventType = "other"
	}
	metrics.DeliveryDuration.Record(ctx, took.Seconds(), s.name, eventType, strconv.Itoa(status))
}
