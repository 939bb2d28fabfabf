package environment

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
)

const whole = `apiVersion: codexk8s.dev/v1
services:
  - name: prices
    image: ghcr.io/acme/prices:1.4
    port: 9000
    protocol: h2c
    command: [/prices]
    args: [--demo, 7, true]
    env: {CURRENCY: EUR, RATE: 1.10, EMPTY: , CART: $(SERVICE_CART_URL)}
    cpu: "2"
    memory: 1Gi
    maxScale: 3
    ready: /healthz?full=1
  - name: cart-2
    image: localhost:5000/cart@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    secrets: {DATABASE_URL: database/url, KEY: session-key/value}
`

func TestParse(t *testing.T) {
	want := []events.Service{
		{
			Name: "prices", Image: "ghcr.io/acme/prices:1.4", Port: 9000, Protocol: "h2c", Command: []string{"/prices"}, Args: []string{"--demo", "7", "true"},
			Env: map[string]string{"CURRENCY": "EUR", "RATE": "1.10", "EMPTY": "", "CART": "$(SERVICE_CART_URL)"},
			CPU: "2", Memory: "1Gi", MaxScale: 3, Ready: "/healthz?full=1",
		},
		{
			Name: "cart-2", Image: "localhost:5000/cart@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Port: 8080, Protocol: "http", CPU: "500m", Memory: "512Mi", MaxScale: 1,
			Secrets: map[string]string{"DATABASE_URL": "database/url", "KEY": "session-key/value"},
		},
	}
	got, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, empty := range []string{"", "# nothing yet\n", "apiVersion: codexk8s.dev/v1\n", "apiVersion: codexk8s.dev/v1\nservices: []\n"} {
		if got, err := Parse([]byte(empty)); len(got) > 0 || err != nil {
			t.Errorf("%q gave %v, %v", empty, got, err)
		}
	}
}

func TestParseSaysWhatIsWrongAndWhere(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"version":           {"codexk8s.dev/v1\n", "codexk8s.dev/v2\n", `line 1: apiVersion is "codexk8s.dev/v2", this release reads codexk8s.dev/v1`},
		"no version":        {"apiVersion: codexk8s.dev/v1\n", "", `line 1: apiVersion is "", this release reads codexk8s.dev/v1`},
		"unknown field":     {"    port: 9000", "    prot: 9000", "line 5: the key prot is not known here"},
		"privileged":        {"    port: 9000", "    securityContext: {privileged: true}", "line 5: the key securityContext is not known here"},
		"a host's path":     {"    port: 9000", "    volumes: [{hostPath: {path: /}}]", "line 5: the key volumes is not known here"},
		"an account":        {"    port: 9000", "    serviceAccountName: admin", "line 5: the key serviceAccountName is not known here"},
		"secrets as env":    {"    port: 9000", "    envFrom: [{secretRef: {name: x}}]", "line 5: the key envFrom is not known here"},
		"a secret":          {"env: {CURRENCY: EUR,", "env: {KEY: {secretKeyRef: x},", "line 9: want a plain value, not names and values"},
		"the run token":     {"DATABASE_URL: database/url", "TOKEN: run/RUN_TOKEN", `line 16: secrets of cart-2: TOKEN is "run/RUN_TOKEN", want the name of a Secret and a key, such as database/url`},
		"another namespace": {"database/url", "codexk8s/database/url", `line 16: secrets of cart-2: DATABASE_URL is "codexk8s/database/url", want the name of a Secret and a key, such as database/url`},
		"a variable twice":  {"DATABASE_URL: database/url", "K: a/b}\n    env: {K: x", "line 16: secrets of cart-2: K stands in env as well"},
		"the platform's":    {"DATABASE_URL: database/url", "K_SERVICE: database/url", "line 16: secrets of cart-2: K_SERVICE is set by the platform"},
		"a list of env":     {"env: {CURRENCY: EUR, RATE: 1.10, EMPTY: , CART: $(SERVICE_CART_URL)}", "env: [{name: A}]", "line 9: want names and values, not a list"},
		"no name":           {"  - name: cart-2\n    image", "  - image", "line 14: service 2 of 2 has no name"},
		"bad name":          {"cart-2", "Cart_2", `line 14: name "Cart_2": want at most 40 lower-case letters, digits and inner hyphens, a letter first`},
		"digit first":       {"cart-2", "2cart", `line 14: name "2cart"`},
		"long name":         {"cart-2", strings.Repeat("x", 41), "line 14: name"},
		"twice":             {"cart-2", "prices", "line 14: service prices is in line 3 already"},
		"no image":          {"    image: ghcr.io/acme/prices:1.4\n", "", `line 3: image "" of prices`},
		"no registry":       {"ghcr.io/acme/prices:1.4", "acme/prices:1.4", `line 4: image "acme/prices:1.4" of prices: want registry, path, and a tag or digest, such as ghcr.io/acme/prices:1.4`},
		"no tag":            {"prices:1.4", "prices", `line 4: image "ghcr.io/acme/prices" of prices`},
		"bad digest":        {"@sha256:0", "@sha256:", `line 15: image`},
		"port":              {"port: 9000", "port: 0", "line 5: port 0 of prices"},
		"port is no number": {"port: 9000", "port: http", "line 5: want a whole number, not http"},
		"queue's port":      {"port: 9000", "port: 8012", "line 5: port 8012 of prices: want 1 to 65535, and none of Knative's own (8008 8012 8013 8022 8112 9090 9091)"},
		"protocol":          {"h2c", "tcp", `line 6: protocol "tcp" of prices: want http or h2c`},
		"env name":          {"CURRENCY: EUR", "CURR-ENCY: EUR", `line 9: env of prices: "CURR-ENCY" is no name of a variable`},
		"ours":              {"CURRENCY: EUR", "PORT: 80", "line 9: env of prices: PORT is set by the platform"},
		"ours, too":         {"CURRENCY: EUR", "SERVICE_X_URL: http://elsewhere", "line 9: env of prices: SERVICE_X_URL is set by the platform"},
		"env twice":         {"CURRENCY: EUR", "RATE: EUR", `line 9: mapping key "RATE" already defined at line 9`},
		"cpu":               {`cpu: "2"`, "cpu: lots", `line 10: cpu "lots" of prices: want a Kubernetes quantity of at most 4`},
		"too much cpu":      {`cpu: "2"`, "cpu: 4001m", `line 10: cpu "4001m" of prices`},
		"too much memory":   {"memory: 1Gi", "memory: 9Gi", `line 11: memory "9Gi" of prices: want a Kubernetes quantity of at most 8Gi`},
		"scale":             {"maxScale: 3", "maxScale: 0", "line 12: maxScale 0 of prices: want 1 to 5"},
		"ready":             {"ready: /healthz?full=1", "ready: healthz", `line 13: ready "healthz" of prices: want a path such as /healthz`},
		"two documents":     {"services:\n", "services: []\n---\nservices:\n", "there is more than one document in the file, want one"},
		"all at once":       {"cpu: \"2\"\n    memory: 1Gi", "cpu: x\n    memory: y", `line 10: cpu "x" of prices: want a Kubernetes quantity of at most 4; line 11: memory "y"`},
		"eleven":            {"services:\n", "services:\n" + strings.Repeat("  - {name: x, image: r.io/x:1}\n", 9), "line 23: there are 11 services, at most 10 may be"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(whole, c.old, c.new, 1)
			if changed == whole {
				t.Fatalf("%q is not in the file", c.old)
			}
			if _, err := Parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "environment.") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := Parse(make([]byte, events.MaxContent+1)); err == nil || !strings.Contains(err.Error(), "at most 65536 are read") {
		t.Errorf("a file that is too large: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("services: [{name: [x]}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse([]byte(text))
		if err != nil && all != nil {
			t.Error("an error and services")
		}
		for _, s := range all {
			if !name.MatchString(s.Name) || s.Port < 1 || s.MaxScale < 1 || s.MaxScale > maxScale || !strings.Contains(s.Image, "/") {
				t.Errorf("%+v got through", s)
			}
		}
	})
}
