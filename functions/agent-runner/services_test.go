package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/prompt"
)

func TestServicesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	const namespace = "codexk8s-run-0123456789ab"
	pair := func(name string) string {
		return agentpod.ServiceVariable(name) + "=" + agentpod.ServiceURL(name, namespace)
	}
	got := services([]string{"PATH=/bin", pair("prices"), "SERVICE_URL=http://x", "SERVICE_X_URL=", pair("cart-v2"), "LLM_URL=http://llm/v1"})
	want := []prompt.Service{
		{Name: "cart-v2", URL: "http://cart-v2.codexk8s-run-0123456789ab.svc.cluster.local", Variable: "SERVICE_CART_V2_URL"},
		{Name: "prices", URL: "http://prices.codexk8s-run-0123456789ab.svc.cluster.local", Variable: "SERVICE_PRICES_URL"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
