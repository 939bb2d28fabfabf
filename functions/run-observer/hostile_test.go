package main

import (
	"encoding/json"
	"testing"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/hostile"
)

// TestHostileEvents: what an ApiServerSource brings of Jobs and pods is in no log, and an agent's pod could make it up.
func TestHostileEvents(t *testing.T) {
	f := setup(t)
	job, err := json.Marshal(f.job())
	if err != nil {
		t.Fatal(err)
	}
	templates := hostile.Templates(t, events.RunCheck{RunRef: ref, Namespace: namespace})
	templates[events.TypeResourceUpdated], templates[events.TypeResourceDeleted] = string(job), string(job)
	hostile.Function{Name: "run-observer", Handler: f.server.Handler(), DB: f.db}.Hear(t, templates)
}
