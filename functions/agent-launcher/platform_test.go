package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"

	"codexk8s.dev/config"
	"codexk8s.dev/shared/agentpod"
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

// The values in agent-launcher's manifest say what the code would do without them.
func TestTheDefaultNetworkIsTheManifests(t *testing.T) {
	text, err := config.Files.ReadFile("300-agent-launcher.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var service servingv1.Service
	if err := yaml.Unmarshal(text, &service); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, e := range service.Spec.Template.Spec.Containers[0].Env {
		said[e.Name] = e.Value
	}
	got, err := platformFrom(env{
		Image: "agent:1", GatewayURL: "http://gateway", LLMURL: "http://llm/v1", DatabaseURL: "host=/var/run/postgresql", Probe: said["ISOLATION_PROBE"],
		GatewayPeers: said["GATEWAY_PEERS"], GatewayPorts: said["GATEWAY_PORTS"], DNSPeers: said["DNS_PEERS"], GitCIDRs: said["GIT_CIDRS"], GitPorts: said["GIT_PORTS"],
	})
	if err != nil {
		t.Fatal(err)
	}
	want := agentpod.DefaultPlatform()
	want.Image, want.GatewayURL, want.LLMURL = got.Image, got.GatewayURL, got.LLMURL
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("agent-launcher's manifest against agentpod.DefaultPlatform (-code +manifest):\n%s", diff)
	}
}
