package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What this function talks to itself, an agent must not reach.
func TestForbiddenToAgents(t *testing.T) {
	e := env{
		Image: "agent:1", GatewayURL: "http://gateway", LLMURL: "http://llm/v1",
		Forbidden:   []string{"vault.internal:8200"},
		Sink:        "http://broker-ingress.knative-eventing.svc.cluster.local/codexk8s/default",
		DatabaseURL: "postgres://codexk8s:secret@postgres.codexk8s.svc/codexk8s",
	}
	p, err := platformFrom(e)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"vault.internal:8200", "broker-ingress.knative-eventing.svc.cluster.local:80", "postgres.codexk8s.svc:5432"}
	if diff := cmp.Diff(want, p.Forbidden); diff != "" || !p.Probe {
		t.Errorf("probe %v, forbidden (-want +got):\n%s", p.Probe, diff)
	}
	e.Sink, e.DatabaseURL, e.Probe = "https://broker.example:8443/", "host=/var/run/postgresql", "off"
	if p, err = platformFrom(e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"vault.internal:8200", "broker.example:8443"}, p.Forbidden); diff != "" || p.Probe {
		t.Errorf("probe %v, forbidden (-want +got):\n%s", p.Probe, diff)
	}
	e.Probe = "on"
	if _, err := platformFrom(e); err == nil {
		t.Error("ISOLATION_PROBE=on was accepted")
	}
}
