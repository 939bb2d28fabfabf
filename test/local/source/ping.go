package source

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"github.com/robfig/cron/v3"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
)

// Ping is a running PingSource.
type Ping struct {
	sink   sink
	event  event.Event // all but the id
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// StartPing starts to tick by the source's schedule, or every time that `every` has passed when that is not 0.
func StartPing(o *sourcesv1.PingSource, sinkURL string, every time.Duration) (*Ping, error) {
	spec := o.Spec.Schedule
	if spec == "" {
		spec = "* * * * *"
	}
	if o.Spec.Timezone != "" {
		spec = "CRON_TZ=" + o.Spec.Timezone + " " + spec
	}
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("pingsource %s: schedule %q: %w", o.Name, spec, err)
	}
	p := &Ping{sink: sink{name: o.Name, url: sinkURL, overrides: o.Spec.CloudEventOverrides}, event: event.New()}
	p.event.SetType(sourcesv1.PingSourceEventType)
	p.event.SetSource(sourcesv1.PingSourceSource(o.Namespace, o.Name))
	data := []byte(o.Spec.Data)
	if o.Spec.DataBase64 != "" {
		if data, err = base64.StdEncoding.DecodeString(o.Spec.DataBase64); err != nil {
			return nil, fmt.Errorf("pingsource %s: dataBase64: %w", o.Name, err)
		}
	}
	if len(data) > 0 {
		if err := p.event.SetData(o.Spec.ContentType, data); err != nil {
			return nil, fmt.Errorf("pingsource %s: %w", o.Name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.all.Go(func() {
		for {
			wait := every
			if every == 0 {
				wait = time.Until(schedule.Next(time.Now()))
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
				_ = p.Tick(ctx) // a loss has been logged, and the next tick comes
			}
		}
	})
	return p, nil
}

// Tick sends one tick now, and returns when the sink has taken it.
func (p *Ping) Tick(ctx context.Context) error {
	e := p.event.Clone()
	e.SetID(uuid.NewString())
	return p.sink.send(ctx, e)
}

// Stop stops ticking.
func (p *Ping) Stop() {
	p.cancel()
	p.all.Wait()
}
