package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.uber.org/zap"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"
)

// filter says whether a Trigger wants an event.
type filter func(event.Event) bool

// filterOf builds the filter of a Trigger. spec.filters, if there are any, replace the older spec.filter.
func filterOf(t *eventingv1.Trigger) (filter, error) {
	if len(t.Spec.Filters) == 0 && t.Spec.Filter != nil {
		return engine(attributes.NewAttributesFilter(t.Spec.Filter.Attributes)), nil
	}
	return all(t.Spec.Filters)
}

// all and any are ours, everything below them is Knative's engine: its own two count hits in a goroutine of theirs to
// reorder themselves, without synchronisation (v0.50.0, any_filter.go, optimzeLoop), which the race detector reports in
// every test that runs this package.
func all(specs []eventingv1.SubscriptionsAPIFilter) (filter, error) {
	parts, err := each(specs)
	return func(e event.Event) bool {
		return !slices.ContainsFunc(parts, func(f filter) bool { return !f(e) })
	}, err
}

func anyOf(specs []eventingv1.SubscriptionsAPIFilter) (filter, error) {
	parts, err := each(specs)
	return func(e event.Event) bool {
		return slices.ContainsFunc(parts, func(f filter) bool { return f(e) })
	}, err
}

func each(specs []eventingv1.SubscriptionsAPIFilter) (parts []filter, err error) {
	for i, spec := range specs {
		part, err := one(spec)
		if err != nil {
			return nil, fmt.Errorf("filter %d: %w", i+1, err)
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func one(spec eventingv1.SubscriptionsAPIFilter) (_ filter, err error) {
	// The CESQL parser panics on some expressions that are not valid.
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("its expression is not valid: %v", fault)
		}
	}()
	if len(spec.All) > 0 {
		return all(spec.All)
	}
	if len(spec.Any) > 0 {
		return anyOf(spec.Any)
	}
	f := subscriptionsapi.MaterializeSubscriptionsAPIFilter(zap.NewNop(), spec)
	if f == nil {
		// Knative leaves such a filter out, and the Trigger gets more than it should.
		return nil, errors.New("it is empty or its expression is not valid")
	}
	return engine(f), nil
}

func engine(f eventfilter.Filter) filter {
	return func(e event.Event) bool { return f.Filter(context.Background(), e) != eventfilter.FailFilter }
}
