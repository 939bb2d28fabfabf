package broker

import (
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"

	"go.uber.org/zap"
)

// Our combination of Knative's filters must judge as Knative's own does.
func TestFiltersJudgeAsKnativeDoes(t *testing.T) {
	e := event.New()
	e.SetType("dev.codexk8s.run.requested")
	e.SetSource("/console")
	e.SetID("1")
	e.SetExtension("action", "labeled")
	for _, test := range []struct {
		filters string
		want    bool
	}{
		{`[]`, true},
		{`[{exact: {type: dev.codexk8s.run.requested}}]`, true},
		{`[{exact: {type: dev.codexk8s.run.requested, source: /x}}]`, false},
		{`[{any: [{exact: {type: a}}, {exact: {type: dev.codexk8s.run.requested}}]}]`, true},
		{`[{any: [{exact: {type: a}}, {exact: {type: b}}]}]`, false},
		{`[{all: [{prefix: {type: dev.codexk8s.}}, {suffix: {type: .requested}}]}]`, true},
		{`[{all: [{prefix: {type: dev.codexk8s.}}, {suffix: {type: .finished}}]}]`, false},
		{`[{prefix: {type: dev.}}, {exact: {source: /x}}]`, false},
		{`[{not: {exact: {source: /x}}}]`, true},
		{`[{cesql: "action IN ('labeled', 'unlabeled')"}]`, true},
		{`[{cesql: "action = 'closed'"}]`, false},
		{`[{any: [{all: [{exact: {source: /x}}, {prefix: {type: dev.}}]}, {not: {exact: {action: closed}}}]}]`, true},
	} {
		tr := trigger1(t, "one", `{broker: default, filters: `+test.filters+`, subscriber: {ref: {name: one}}}`)
		wants, err := filterOf(tr)
		if err != nil {
			t.Fatalf("%s: %v", test.filters, err)
		}
		knative := subscriptionsapi.CreateSubscriptionsAPIFilters(zap.NewNop(), tr.Spec.Filters).Filter(t.Context(), e) != eventfilter.FailFilter
		if got := wants(e); got != test.want || got != knative {
			t.Errorf("%s: we say %t, knative says %t, want %t", test.filters, got, knative, test.want)
		}
	}
}

func TestAFilterThatSaysNothingIsAnError(t *testing.T) {
	for _, filters := range []string{`[{}]`, `[{cesql: "type = = 1"}]`, `[{any: [{exact: {type: a}}, {}]}]`} {
		if _, err := filterOf(trigger1(t, "one", `{broker: default, filters: `+filters+`, subscriber: {ref: {name: one}}}`)); err == nil {
			t.Errorf("%s: no error", filters)
		}
	}
}
