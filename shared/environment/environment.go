// Package environment reads services.yaml: the project's services that a run of a full-env role has next to its agent,
// as Knative Services in the run's namespace.
//
//	apiVersion: codexk8s.dev/v1
//	services:
//	  - name: prices                       # the host's first label, at most 40 characters
//	    image: ghcr.io/acme/prices:1.4     # with registry and tag or digest
//	    port: 8080                         # 8080 unless said
//	    protocol: http                     # http (also unless said) or h2c, which gRPC needs
//	    command: [/prices]                 # instead of the image's own
//	    args: [--demo]
//	    env: {CURRENCY: EUR}               # plain values, and all SERVICE_<NAME>_URL are set
//	    secrets: {DATABASE_URL: database/url} # key of a Secret that an agent has had made; not set while there is none
//	    cpu: 500m                          # the most one pod may use; 500m and 512Mi unless said
//	    memory: 512Mi
//	    maxScale: 1                        # pods at most, 1 to 5; it always scales to zero
//	    ready: /healthz                    # answers 2xx when the service is ready; "" = the port is open
//
// The file belongs to the repository and is read from the base branch, which people have reviewed: people who may merge
// choose the images, agents do not. It can name no volume and no account, and no Secret but those that the platform
// makes for the run at its agent's wish, so a service holds nothing that is not the run's own.
//
// The package is pure. One error lists all faults, each with its line.
package environment

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/tool"
	"codexk8s.dev/shared/yamlfile"
)

// APIVersion is the version of the format that this release reads.
const APIVersion = "codexk8s.dev/v1"

// DefaultFile is the file's path in a repository unless its project says otherwise.
const DefaultFile = "services.yaml"

// Bounds of what a file may ask for, as clusters are shared.
const (
	maxServices = 10
	maxScale    = 5
	maxName     = 40 // Knative appends "-00001-private" and more, and 63 is the end
	maxEnv      = 50
	maxWords    = 50 // of command and args
	maxText     = 4096
)

var (
	maxCPU    = resource.MustParse("4")
	maxMemory = resource.MustParse("8Gi")
)

var (
	// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names
	// Knative's rule for a Service's name: it begins with a letter.
	name    = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// name/key of a Secret. Names are as package tool has them.
	secretKey = regexp.MustCompile(`^([a-z](?:[a-z0-9-]{0,48}[a-z0-9])?)/[A-Za-z0-9._-]{1,253}$`)
	// registry/path, then a tag, a digest or both.
	// https://github.com/distribution/reference/blob/main/reference.go has the grammar
	image = regexp.MustCompile(`^([a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*(:[0-9]+)?)/[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
	path  = regexp.MustCompile(`^/[A-Za-z0-9/._~%!$&'()*+,;=:@?-]*$`)
)

// What Knative and we set in a container; a file may not.
// https://knative.dev/docs/serving/services/environment-variables/ and the runtime contract
var reserved = regexp.MustCompile(`^(PORT|K_SERVICE|K_CONFIGURATION|K_REVISION|SERVICE_.*_URL)$`)

// file is services.yaml as it is written.
type file struct {
	APIVersion string    `yaml:"apiVersion"`
	Services   []service `yaml:"services"`
}

type service struct {
	Name     string            `yaml:"name"`
	Image    string            `yaml:"image"`
	Port     int32             `yaml:"port"`
	Protocol string            `yaml:"protocol"`
	Command  []string          `yaml:"command"`
	Args     []string          `yaml:"args"`
	Env      map[string]string `yaml:"env"`
	Secrets  map[string]string `yaml:"secrets"`
	CPU      string            `yaml:"cpu"`
	Memory   string            `yaml:"memory"`
	MaxScale int32             `yaml:"maxScale"`
	Ready    string            `yaml:"ready"`
}

// Parse reads and checks the file and fills in what it leaves out. An empty file has no services.
func Parse(data []byte) ([]events.Service, error) {
	if len(data) > events.MaxContent {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are read", len(data), events.MaxContent)
	}
	f := file{}
	source, err := yamlfile.Read(data, &f)
	if err != nil || source.IsEmpty() {
		return nil, err
	}
	if f.APIVersion != APIVersion {
		source.Bad([]any{"apiVersion"}, "apiVersion is %q, this release reads %s", f.APIVersion, APIVersion)
	}
	if len(f.Services) > maxServices {
		source.Bad([]any{"services", maxServices}, "there are %d services, at most %d may be", len(f.Services), maxServices)
	}
	var all []events.Service
	first := map[string]int{}
	for i, s := range f.Services {
		c := &checker{source, s.Name, []any{"services", i}}
		if s.Name == "" {
			c.bad("", "service %d of %d has no name", i+1, len(f.Services))
			continue
		}
		if line, twice := first[s.Name]; twice {
			c.bad("name", "service %s is in line %d already", s.Name, line)
		} else {
			first[s.Name] = c.source.Line("services", i, "name")
		}
		all = append(all, c.service(s))
	}
	return all, source.Err()
}

// checker checks one service of the file.
type checker struct {
	source *yamlfile.File
	name   string
	path   []any
}

// bad notes a fault of one of the service's keys, on the service's own line if it lacks the key.
func (c *checker) bad(key, format string, args ...any) {
	c.source.Bad(slices.Concat(c.path, []any{key}), format, args...)
}

func (c *checker) has(key string) bool { return c.source.Has(slices.Concat(c.path, []any{key})...) }

func (c *checker) service(s service) events.Service {
	n := s.Name
	if !name.MatchString(n) || len(n) > maxName {
		c.bad("name", "name %q: want at most %d lower-case letters, digits and inner hyphens, a letter first", n, maxName)
	}
	if m := image.FindStringSubmatch(s.Image); m == nil || !isRegistry(m[1]) || m[5] == "" && m[6] == "" || len(s.Image) > 500 {
		c.bad("image", "image %q of %s: want registry, path, and a tag or digest, such as ghcr.io/acme/prices:1.4", s.Image, n)
	}
	out := events.Service{
		Name: n, Image: s.Image, Port: 8080, Protocol: cmp.Or(s.Protocol, "http"), Ready: s.Ready, MaxScale: 1,
		CPU: cmp.Or(s.CPU, "500m"), Memory: cmp.Or(s.Memory, "512Mi"), Command: c.words("command", s.Command), Args: c.words("args", s.Args), Env: c.env(s.Env),
		Secrets: c.secrets(s),
	}
	if c.has("port") {
		if out.Port = s.Port; out.Port < 1 || out.Port > 65535 || slices.Contains(queueProxy, out.Port) {
			c.bad("port", "port %d of %s: want 1 to 65535, and none of Knative's own (%s)", out.Port, n, strings.Trim(fmt.Sprint(queueProxy), "[]"))
		}
	}
	if out.Protocol != "http" && out.Protocol != "h2c" {
		c.bad("protocol", "protocol %q of %s: want http or h2c", out.Protocol, n)
	}
	if c.has("maxScale") {
		if out.MaxScale = s.MaxScale; out.MaxScale < 1 || out.MaxScale > maxScale {
			c.bad("maxScale", "maxScale %d of %s: want 1 to %d", out.MaxScale, n, maxScale)
		}
	}
	c.quantity("cpu", out.CPU, maxCPU)
	c.quantity("memory", out.Memory, maxMemory)
	if out.Ready != "" && (!path.MatchString(out.Ready) || len(out.Ready) > maxText) {
		c.bad("ready", "ready %q of %s: want a path such as /healthz", out.Ready, n)
	}
	return out
}

// queueProxy are ports of the container that Knative adds to ours.
// https://knative.dev/docs/serving/services/configure-requests-limits-services/ and networking's constants
var queueProxy = []int32{8008, 8012, 8013, 8022, 8112, 9090, 9091}

// isRegistry tells ghcr.io/acme/x from acme/x, as every client of registries does.
func isRegistry(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

func (c *checker) quantity(key, value string, limit resource.Quantity) {
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 || q.Cmp(limit) > 0 {
		c.bad(key, "%s %q of %s: want a Kubernetes quantity of at most %s", key, value, c.name, limit.String())
	}
}

func (c *checker) words(key string, words []string) []string {
	for i, w := range words {
		if i >= maxWords || len(w) > maxText {
			c.source.Bad(slices.Concat(c.path, []any{key, i}), "%s of %s: at most %d words of %d bytes", key, c.name, maxWords, maxText)
			return nil
		}
	}
	return words
}

// env checks the service's variables.
func (c *checker) env(env map[string]string) map[string]string {
	return c.variables("env", env, func(key, value string) string {
		if len(value) > maxText || strings.ContainsRune(value, 0) {
			return fmt.Sprintf("%s has more than %d bytes, or a NUL", key, maxText)
		}
		return ""
	})
}

// secrets checks the variables whose values stand in Secrets. That with the run token is none of the agent's.
func (c *checker) secrets(s service) map[string]string {
	return c.variables("secrets", s.Secrets, func(key, value string) string {
		m := secretKey.FindStringSubmatch(value)
		_, twice := s.Env[key]
		switch {
		case m == nil || m[1] == tool.RunSecret:
			return fmt.Sprintf("%s is %q, want the name of a Secret and a key, such as database/url", key, value)
		case twice:
			return key + " stands in env as well"
		}
		return ""
	})
}

// variables checks one field's variables in the order of the file; wrong says what is wrong with a value.
func (c *checker) variables(field string, env map[string]string, wrong func(key, value string) string) map[string]string {
	path := func(key string) []any { return slices.Concat(c.path, []any{field, key}) }
	line := func(key string) int { return c.source.Line(path(key)...) }
	inOrder := slices.SortedFunc(maps.Keys(env), func(a, b string) int { return cmp.Or(line(a)-line(b), strings.Compare(a, b)) })
	for i, key := range inOrder {
		bad := func(format string, args ...any) {
			c.source.Bad(path(key), "%s of %s: %s", field, c.name, fmt.Sprintf(format, args...))
		}
		switch why := wrong(key, env[key]); {
		case i >= maxEnv:
			bad("at most %d variables", maxEnv)
			return nil
		case !envName.MatchString(key):
			bad("%q is no name of a variable", key)
		case reserved.MatchString(key):
			bad("%s is set by the platform", key)
		case why != "":
			bad("%s", why)
		}
	}
	return env
}
