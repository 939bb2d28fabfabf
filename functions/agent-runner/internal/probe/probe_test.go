package probe

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
	t.Parallel()
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

	i := Isolation{Forbidden: []string{shut, "no.such.host.invalid:443"}, Needed: []string{gateway.URL, gateway.URL + "/v1"}, Settle: time.Minute, Patience: time.Minute}
	if reached, missing := i.Examine(t.Context()); reached != nil || missing != nil {
		t.Errorf("isolated, and said to reach %q and not %q", reached, missing)
	}
	i = Isolation{Forbidden: []string{shut, open}, Needed: []string{"http://" + shut}, Settle: time.Millisecond, Patience: time.Millisecond}
	reached, missing := i.Examine(t.Context())
	if diff := cmp.Diff([]string{open}, reached); diff != "" {
		t.Errorf("reached (-want +got):\n%s", diff)
	}
	if len(missing) != 1 || !strings.HasPrefix(missing[0], "http://"+shut+" (") {
		t.Errorf("missing %q", missing)
	}
}

// A network plugin may need a moment to apply a new pod's policies.
func TestProbeWaitsForThePolicies(t *testing.T) {
	t.Parallel()
	address, shutNow := listen(t)
	i := Isolation{Forbidden: []string{address}, Settle: time.Minute}
	time.AfterFunc(100*time.Millisecond, shutNow)
	if reached, _ := i.Examine(t.Context()); reached != nil {
		t.Errorf("reached %q", reached)
	}
}
