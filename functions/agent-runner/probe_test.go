package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listen returns an address that takes connections until close is called.
func listen(t *testing.T) (address string, close func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func() { _ = l.Close() }
}

func TestProbe(t *testing.T) {
	var asked atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL)
		}
		if asked.Add(1) == 1 { // nobody is behind the ingress yet
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer gateway.Close()
	shut, shutNow := listen(t)
	shutNow()
	open, _ := listen(t)

	i := isolation{forbidden: []string{shut, "no.such.host.invalid:443"}, needed: []string{gateway.URL, gateway.URL + "/v1"}, settle: time.Minute, patience: time.Minute}
	if reached, missing := i.examine(t.Context()); reached != nil || missing != nil {
		t.Errorf("isolated, and said to reach %q and not %q", reached, missing)
	}
	i = isolation{forbidden: []string{shut, open}, needed: []string{"http://" + shut}, settle: time.Millisecond, patience: time.Millisecond}
	reached, missing := i.examine(t.Context())
	if diff := cmp.Diff([]string{open}, reached); diff != "" {
		t.Errorf("reached (-want +got):\n%s", diff)
	}
	if len(missing) != 1 || !strings.HasPrefix(missing[0], "http://"+shut+" (") {
		t.Errorf("missing %q", missing)
	}
}

// A network plugin may need a moment to apply a new pod's policies.
func TestProbeWaitsForThePolicies(t *testing.T) {
	address, shutNow := listen(t)
	i := isolation{forbidden: []string{address}, settle: time.Minute}
	time.AfterFunc(100*time.Millisecond, shutNow)
	if reached, _ := i.examine(t.Context()); reached != nil {
		t.Errorf("reached %q", reached)
	}
}

func TestProbeOfTheAPIServer(t *testing.T) {
	e := probeEnv{Places: Places{GatewayURL: "http://g", LLMURL: "http://l/v1"}, Forbidden: []string{"169.254.169.254:80"}, APIServerHost: "fd00::1", APIServerPort: "443"}
	want := isolation{
		forbidden: []string{"169.254.169.254:80", "kubernetes.default.svc:443", "[fd00::1]:443"},
		needed:    []string{"http://g", "http://l/v1"}, settle: settle, patience: patience,
	}
	if diff := cmp.Diff(want, e.isolation(), cmp.AllowUnexported(isolation{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Without its settings, or with nothing to try, the probe has proven nothing.
func TestProbeFailsClosed(t *testing.T) {
	t.Setenv("AGENT_GATEWAY_URL", "http://g")
	t.Setenv("LLM_URL", "http://l/v1")
	t.Setenv("PROBE_FORBIDDEN", "")
	if got := probe(t.Context()); got != exitNever {
		t.Errorf("exit code %d, want %d", got, exitNever)
	}
}
