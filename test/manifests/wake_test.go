package manifests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	duckv1 "knative.dev/pkg/apis/duck/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/local/broker"
)

// TestALabelWakesWhatItWillNeed: through the Triggers as they are written, a label that starts a run starts also the
// functions that the run will need. No other event of GitHub's does.
func TestALabelWakesWhatItWillNeed(t *testing.T) {
	var mu sync.Mutex
	var reached []string
	function := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		reached = append(reached, strings.Trim(r.URL.Path, "/"))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer function.Close()
	tree := load(t)
	var triggers []*eventingv1.Trigger
	for _, trigger := range tree.triggers {
		triggers = append(triggers, trigger)
	}
	b, err := broker.Start(broker.Options{
		Broker: tree.brokers["default"], Triggers: triggers,
		Resolve: func(d *duckv1.Destination, _ string) (string, error) { return function.URL + "/" + d.Ref.Name, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	reaches := func(event, payload string) []string {
		d, err := webhook.Classify(event, "1", []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(d.CloudEvent([]byte(payload), time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(b.URL(), "application/cloudevents+json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Idle(ctx); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(reached)
		defer func() { reached = nil }()
		return reached
	}

	p := stage.Default()
	run, abort := p.LabelOf("dev", events.KindWork), p.Labels.Abort
	for _, c := range []struct {
		event, payload string
		woken          bool
	}{
		{"issues", `{"action":"labeled","label":{"name":"` + run + `"}}`, true},
		{"issues", `{"action":"labeled","label":{"name":"` + abort + `"}}`, true},
		{"pull_request", `{"action":"labeled","label":{"name":"` + p.LabelOf("dev", events.KindRevise) + `"}}`, true},
		{"pull_request", `{"action":"labeled","label":{"name":"` + p.Labels.Reviewer + `"}}`, true},
		{"issues", `{"action":"labeled","label":{"name":"bug"}}`, false},
		{"issues", `{"action":"unlabeled","label":{"name":"` + run + `"}}`, false},
		{"issues", `{"action":"opened","issue":{"labels":[{"name":"` + run + `"}]}}`, false},
		{"pull_request_review", `{"action":"submitted"}`, false},
	} {
		want := []string{"stage-router"}
		for name, types := range events.Wakes {
			if c.woken && slices.Contains(types, events.GitHubType(c.event)) {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, reaches(c.event, c.payload)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.event, c.payload, diff)
		}
	}
}
