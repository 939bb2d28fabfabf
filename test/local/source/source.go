// Package source plays Knative's event sources: ApiServerSource, which reports changes to Kubernetes objects, and
// PingSource, which ticks.
//
// Events look as those of knative.dev/eventing v0.50.0 do, see pkg/adapter/apiserver/events/events.go and
// pkg/adapter/mtping/runner.go there. Both sources try an event again five times, 50 ms doubled each time, and then
// lose it: nobody may rely on them alone.
package source

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

const (
	tries     = 6
	firstWait = 50 * time.Millisecond
)

// sink is where a source sends its events.
type sink struct {
	name      string // of the source, for the log
	url       string
	overrides *duckv1.CloudEventOverrides
}

// send sends the event until the sink takes it, tries run out, or ctx ends.
func (s *sink) send(ctx context.Context, e event.Event) error {
	if s.overrides != nil {
		for name, value := range s.overrides.Extensions {
			e.SetExtension(name, value)
		}
	}
	var err error
	wait := firstWait
	for range tries {
		if err = post(ctx, s.url, e); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
	slog.Warn("source: event lost", "source", s.name, "type", e.Type(), "subject", e.Subject(), "error", err)
	return err
}

func post(ctx context.Context, url string, e event.Event) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return fmt.Errorf("sending to %s: %w", url, err)
	}
	if err := cehttp.WriteRequest(binding.WithForceBinary(ctx), binding.ToMessage(&e), req); err != nil {
		return fmt.Errorf("writing the event: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("sending to %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("sending to %s: it answered %s", url, resp.Status)
	}
	return nil
}
