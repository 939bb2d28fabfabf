package main

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentpod"
)

func TestParsePeers(t *testing.T) {
	got, err := parsePeers("kourier-system/app=3scale-kourier-gateway, knative-serving, ns/a=b&c.d/e=f,169.254.20.10/32")
	if err != nil {
		t.Fatal(err)
	}
	want := []agentpod.Peer{
		{Namespace: "kourier-system", Labels: map[string]string{"app": "3scale-kourier-gateway"}},
		{Namespace: "knative-serving"},
		{Namespace: "ns", Labels: map[string]string{"a": "b", "c.d/e": "f"}},
		{CIDR: netip.MustParsePrefix("169.254.20.10/32")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("parsePeers (-want +got):\n%s", diff)
	}
	if _, err := parsePeers("ns/app"); err == nil {
		t.Error("a label without a value was accepted")
	}
	if _, err := parsePorts("80,0"); err == nil {
		t.Error("port 0 was accepted")
	}
	if _, err := parseCIDRs("0.0.0.0/0,github.com"); err == nil {
		t.Error("a host name was accepted as a range")
	}
}
