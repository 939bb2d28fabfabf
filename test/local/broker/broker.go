// Package broker plays a Knative Broker with the in-memory channel: it accepts CloudEvents over HTTP and delivers each
// to every Trigger that its filters let through, by Knative's rules.
//
//	POST /<namespace>/<broker> ─► 202 ─► for each Trigger: filter ─► subscriber ─┬─ 2xx, empty            done
//	                                                             ▲               ├─ 2xx with an event     a new event
//	                                                             │               ├─ 2xx with another body a failure, 502
//	                                                             └── backoff ◄───┴─ failure that may pass
//	                                                                                failure for good, or retries spent:
//	                                                                                dead letter sink
//
// The filters are judged by Knative's own engine. The rules of delivery are those of knative.dev/eventing v0.50.0:
// pkg/kncloudevents/retries.go and event_dispatcher.go, pkg/broker/filter/filter_handler.go and
// pkg/broker/ingress/ingress_handler.go. Like the in-memory channel the broker forgets what it holds when it stops, and
// no order is kept: deliveries run side by side.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	eventingduckv1 "knative.dev/eventing/pkg/apis/duck/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// Delivery is one attempt to hand an event to a Trigger's subscriber or to a dead letter sink.
type Delivery struct {
	Event      event.Event
	Trigger    string
	Target     string // URL
	DeadLetter bool   // the target is the dead letter sink
	Attempt    int    // from 1
	Code       int    // HTTP status, 502 for a body that is no event, 0 without an answer
	Err        error  // why the attempt failed; nil for a delivered event
	Final      bool   // nothing more is tried at this target
	Latency    time.Duration
}

// Options describe a broker.
type Options struct {
	// Broker and its Triggers, as in the manifests.
	Broker   *eventingv1.Broker
	Triggers []*eventingv1.Trigger
	// Resolve returns the URL of a destination.
	Resolve func(d *duckv1.Destination, namespace string) (string, error)
	// Port of 127.0.0.1 of the ingress; 0 means a free one.
	Port int
	// Parallel is the number of requests at a time per Trigger; 0 means 32.
	Parallel int
	// OnDelivery is told of each attempt; may be nil. It must not block.
	OnDelivery func(Delivery)
}

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	options  Options
	path     string
	listener net.Listener
	server   *http.Server
	client   *http.Client
	triggers []*trigger

	mu      sync.Mutex
	epoch   context.Context // ends when the broker forgets
	forget  context.CancelFunc
	resumed chan struct{} // closed unless paused
	pending int
	idle    chan struct{} // closed when pending is 0
	drop    int
	refuse  bool
	stopped bool
}

// trigger is one Trigger with what its manifest says worked out.
type trigger struct {
	name      string
	namespace string
	wants     filter
	target    string
	deadTo    string // empty without a dead letter sink
	rules     rules
	slots     chan struct{}
}

// Start starts the broker's ingress.
func Start(o Options) (*Broker, error) {
	b := &Broker{
		options: o,
		path:    "/" + o.Broker.Namespace + "/" + o.Broker.Name,
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: 30 * time.Second}},
		resumed: make(chan struct{}),
		idle:    make(chan struct{}),
	}
	close(b.resumed)
	close(b.idle)
	b.epoch, b.forget = context.WithCancel(context.Background())
	if err := b.SetTriggers(o.Triggers); err != nil {
		return nil, err
	}
	var err error
	if b.listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.Port)); err != nil {
		return nil, fmt.Errorf("listening for broker %s: %w", o.Broker.Name, err)
	}
	b.server = &http.Server{Handler: http.HandlerFunc(b.ingress), ReadHeaderTimeout: time.Minute}
	go func() { _ = b.server.Serve(b.listener) }()
	return b, nil
}

// SetTriggers replaces the Triggers. What was accepted before goes to those of its time.
func (b *Broker) SetTriggers(triggers []*eventingv1.Trigger) error {
	all := make([]*trigger, 0, len(triggers))
	for _, t := range triggers {
		compiled, err := b.compile(t)
		if err != nil {
			return fmt.Errorf("trigger %s: %w", t.Name, err)
		}
		all = append(all, compiled)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.triggers = all
	return nil
}

func (b *Broker) compile(t *eventingv1.Trigger) (*trigger, error) {
	target, err := b.options.Resolve(&t.Spec.Subscriber, t.Namespace)
	if err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	parallel := b.options.Parallel
	if parallel == 0 {
		parallel = 32
	}
	compiled := &trigger{
		name:      t.Name,
		namespace: t.Namespace,
		target:    target,
		slots:     make(chan struct{}, parallel),
	}
	if compiled.wants, err = filterOf(t); err != nil {
		return nil, err
	}
	// A Trigger's delivery replaces the Broker's field by field, its dead letter sink included.
	spec := merge(t.Spec.Delivery, brokerDelivery(b.options.Broker))
	if compiled.rules, err = parseRules(spec); err != nil {
		return nil, err
	}
	if spec.DeadLetterSink != nil {
		if compiled.deadTo, err = b.options.Resolve(spec.DeadLetterSink, t.Namespace); err != nil {
			return nil, fmt.Errorf("dead letter sink: %w", err)
		}
	}
	return compiled, nil
}

// brokerDelivery is the Broker's own delivery spec, or what Knative's config-br-defaults gives to one that has none.
func brokerDelivery(b *eventingv1.Broker) *eventingduckv1.DeliverySpec {
	if b.Spec.Delivery != nil {
		return b.Spec.Delivery
	}
	retry, policy, delay := int32(10), eventingduckv1.BackoffPolicyExponential, "PT0.2S"
	return &eventingduckv1.DeliverySpec{Retry: &retry, BackoffPolicy: &policy, BackoffDelay: &delay}
}

func merge(own, other *eventingduckv1.DeliverySpec) eventingduckv1.DeliverySpec {
	var spec eventingduckv1.DeliverySpec
	for _, layer := range []*eventingduckv1.DeliverySpec{other, own} {
		if layer == nil {
			continue
		}
		if layer.DeadLetterSink != nil {
			spec.DeadLetterSink = layer.DeadLetterSink
		}
		if layer.Retry != nil {
			spec.Retry = layer.Retry
		}
		if layer.Timeout != nil {
			spec.Timeout = layer.Timeout
		}
		if layer.BackoffPolicy != nil {
			spec.BackoffPolicy = layer.BackoffPolicy
		}
		if layer.BackoffDelay != nil {
			spec.BackoffDelay = layer.BackoffDelay
		}
		if layer.RetryAfterMax != nil {
			spec.RetryAfterMax = layer.RetryAfterMax
		}
		if layer.Format != nil {
			spec.Format = layer.Format
		}
	}
	return spec
}

// URL is the ingress, what a SinkBinding gives to a function as K_SINK.
func (b *Broker) URL() string { return "http://" + b.Address() + b.path }

// Address is the ingress' host:port.
func (b *Broker) Address() string { return b.listener.Addr().String() }

// Pause holds deliveries back; events are still accepted. A request under way is finished.
func (b *Broker) Pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.resumed:
		b.resumed = make(chan struct{})
	default:
	}
}

// Resume lets deliveries go on.
func (b *Broker) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.resumed:
	default:
		close(b.resumed)
	}
}

// Forget drops everything that has been accepted and not delivered, requests under way included, as the restart of an
// in-memory channel does. It returns the number of deliveries lost.
func (b *Broker) Forget() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := b.pending
	b.forget()
	b.epoch, b.forget = context.WithCancel(context.Background())
	return lost
}

// Drop makes the broker accept the next n events and lose them.
func (b *Broker) Drop(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop = n
}

// Refuse makes the ingress answer 503 to everything, or ends that.
func (b *Broker) Refuse(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
}

// Pending is the number of deliveries under way or waiting for a retry.
func (b *Broker) Pending() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pending
}

// Idle returns when nothing is pending.
func (b *Broker) Idle(ctx context.Context) error {
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the broker to have delivered: %d deliveries are pending: %w", b.Pending(), ctx.Err())
	}
}

// Stop stops accepting, drops what is pending and returns when no delivery runs.
func (b *Broker) Stop() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.Resume()
	b.Forget()
	_ = b.server.Close()
	b.mu.Lock()
	idle := b.idle
	b.mu.Unlock()
	<-idle
	b.client.CloseIdleConnections()
}

// publish starts the deliveries of an accepted event to the Triggers that want it.
func (b *Broker) publish(e event.Event) error {
	ttl := e.Extensions()[ttlExtension]
	e.SetExtension(ttlExtension, nil) // filters and subscribers do not see it
	b.mu.Lock()
	triggers := b.triggers
	b.mu.Unlock()
	var wanted []*trigger
	for _, t := range triggers {
		if t.wants(e) {
			wanted = append(wanted, t)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped || b.refuse {
		return errors.New("the broker takes no events now")
	}
	if b.drop > 0 {
		b.drop--
		return nil
	}
	for _, t := range wanted {
		if b.pending == 0 {
			b.idle = make(chan struct{})
		}
		b.pending++
		go func(ctx context.Context) {
			defer b.done()
			b.deliver(ctx, t, e, ttl)
		}(b.epoch)
	}
	return nil
}

func (b *Broker) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending--
	if b.pending == 0 {
		close(b.idle)
	}
}

// waitUntilResumed returns false when the broker forgets meanwhile.
func (b *Broker) waitUntilResumed(ctx context.Context) bool {
	b.mu.Lock()
	resumed := b.resumed
	b.mu.Unlock()
	select {
	case <-resumed:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
