package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/agent-runner/internal/probe"
	"codexk8s.dev/shared/exitcode"
)

func TestProbeOfTheAPIServer(t *testing.T) {
	t.Parallel()
	e := probeEnv{Places: Places{GatewayURL: "http://g", LLMURL: "http://l/v1"}, Forbidden: []string{"169.254.169.254:80"}, APIServerHost: "fd00::1", APIServerPort: "443"}
	want := probe.Isolation{
		Forbidden: []string{"169.254.169.254:80", "kubernetes.default.svc:443", "[fd00::1]:443"},
		Needed:    []string{"http://g", "http://l/v1"}, Settle: probe.Settle, Patience: probe.Patience,
	}
	if diff := cmp.Diff(want, e.isolation()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Without its settings, or with nothing to try, the probe has proven nothing.
func TestProbeFailsClosed(t *testing.T) {
	t.Setenv("AGENT_GATEWAY_URL", "http://g")
	t.Setenv("LLM_URL", "http://l/v1")
	t.Setenv("PROBE_FORBIDDEN", "")
	if got := runProbe(t.Context()); got != exitcode.Never {
		t.Errorf("exit code %d, want %d", got, exitcode.Never)
	}
}
