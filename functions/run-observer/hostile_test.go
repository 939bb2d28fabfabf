package main

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/hostile"
)

// TestHostileEvents: what an ApiServerSource brings of Jobs and pods is in no log, and an agent's pod could make it up.
func TestHostileEvents(t *testing.T) {
	f := setup(t)
	made := f.job()
	job, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	f.pod("agent-1", f.begun(made, 1, 1).UID, corev1.PodStatus{Phase: corev1.PodRunning})
	templates := hostile.Templates(t, events.RunCheck{RunRef: ref, Namespace: namespace}, events.AgentStarted{RunRef: ref, Namespace: namespace}, events.EnvironmentRemoved{RunRef: ref, Namespace: namespace})
	templates[events.TypeResourceUpdated], templates[events.TypeResourceDeleted] = string(job), string(job)
	hostile.Function{Name: "run-observer", Handler: f.server.Handler(), DB: f.db, SQL: f.sql}.Hear(t, templates)
}
