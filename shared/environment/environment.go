// Package environment reads services.yaml: the project's services that a run of a
// full-env role has beside its agent, as Knative Services in the run's namespace.
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
//	    cpu: 500m                          # the most one pod may use; 500m and 512Mi unless said
//	    memory: 512Mi
//	    maxScale: 1                        # pods at most, 1 to 5; it always scales to zero
//	    ready: /healthz                    # answers 2xx when the service is ready; "" = the port is open
//
// The file belongs to the repository and is read from the base branch, the state
// that people have reviewed: whoever may merge may choose images, an agent may not.
// It can name no secret, no volume and no account, so a service holds nothing that
// an agent could be after.
//
// The package is pure. All that is wrong comes in one error, each with its line.
package environment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/shared/events"
)

// APIVersion is the version of the format that this release reads.
const APIVersion = "codexk8s.dev/v1"

// DefaultFile is where the file lies in a repository unless its project says otherwise.
const DefaultFile = "services.yaml"

// Bounds of what a file may ask for. A namespace is a shared cluster's guest.
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
	// What Knative asks of a Service's name: it begins with a letter.
	name    = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// registry/path, then a tag, a digest or both.
	// https://github.com/distribution/reference/blob/main/reference.go has the grammar
	image = regexp.MustCompile(`^([a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*(:[0-9]+)?)/[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
	path  = regexp.MustCompile(`^/[A-Za-z0-9/._~%!$&'()*+,;=:@?-]*$`)
)

// What Knative sets in a container, and we do: nobody else may.
// https://knative.dev/docs/serving/services/environment-variables/ and the runtime contract
var reserved = regexp.MustCompile(`^(PORT|K_SERVICE|K_CONFIGURATION|K_REVISION|SERVICE_.*_URL)$`)

// file is services.yaml as it is written.
type file struct {
	APIVersion word      `yaml:"apiVersion"`
	Services   []service `yaml:"services"`
}

type service struct {
	Name     word          `yaml:"name"`
	Image    word          `yaml:"image"`
	Port     number        `yaml:"port"`
	Protocol word          `yaml:"protocol"`
	Command  []word        `yaml:"command"`
	Args     []word        `yaml:"args"`
	Env      map[word]word `yaml:"env"`
	CPU      word          `yaml:"cpu"`
	Memory   word          `yaml:"memory"`
	MaxScale number        `yaml:"maxScale"`
	Ready    word          `yaml:"ready"`
}

// A word is a scalar that knows its line.
type word struct {
	text string
	line int
}

// UnmarshalYAML takes any scalar as it is written: 1.4 is a tag, and not a number.
func (w *word) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a plain value; secrets and references can't be given", n.Line)}}
	}
	w.text, w.line = n.Value, n.Line
	if n.Tag == "!!null" {
		w.text = ""
	}
	return nil
}

// A number is an integer that knows its line; zero line where none was given.
type number struct {
	value int32
	line  int
}

// UnmarshalYAML reads an integer.
func (m *number) UnmarshalYAML(n *yaml.Node) error {
	m.line = n.Line
	return n.Decode(&m.value)
}

// Parse reads and checks the file and fills in what it leaves out. An empty file
// has no services.
func Parse(data []byte) ([]events.Service, error) {
	if len(data) > events.MaxContent {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are read", len(data), events.MaxContent)
	}
	f := file{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	var wrong *yaml.TypeError
	switch err := d.Decode(&f); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case errors.As(err, &wrong):
		return nil, errors.New(plain(wrong))
	case err != nil:
		return nil, fmt.Errorf("no YAML: %w", err)
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in the file, want one")
	}
	c := &checker{}
	all := c.file(f)
	if len(c.errs) > 0 {
		return nil, errors.New(strings.Join(c.errs, "; "))
	}
	return all, nil
}

// plain is the decoder's error without the names of our types.
func plain(wrong *yaml.TypeError) string {
	return strings.NewReplacer(" in type environment.file", "", " in type environment.service", "", "environment.service", "a service", "environment.file", "the file",
		"map[environment.word]environment.word", "names and values", "[]environment.word", "a list of words", "[]a service", "a list of services").
		Replace(strings.Join(wrong.Errors, "; "))
}

// checker collects what is wrong.
type checker struct{ errs []string }

func (c *checker) bad(line int, format string, args ...any) {
	c.errs = append(c.errs, fmt.Sprintf("line %d: %s", max(line, 1), fmt.Sprintf(format, args...)))
}

func (c *checker) file(f file) []events.Service {
	if f.APIVersion.text != APIVersion {
		c.bad(f.APIVersion.line, "apiVersion is %q, this release reads %s", f.APIVersion.text, APIVersion)
	}
	if len(f.Services) > maxServices {
		c.bad(f.Services[maxServices].Name.line, "there are %d services, at most %d may be", len(f.Services), maxServices)
	}
	var all []events.Service
	lines := map[string]int{}
	for i, s := range f.Services {
		if s.Name.text == "" {
			c.bad(max(s.Name.line, s.Image.line), "service %d of %d has no name", i+1, len(f.Services))
			continue
		}
		if first, twice := lines[s.Name.text]; twice {
			c.bad(s.Name.line, "service %s is in line %d already", s.Name.text, first)
		}
		lines[s.Name.text] = s.Name.line
		all = append(all, c.service(s))
	}
	return all
}

func (c *checker) service(s service) events.Service {
	n := s.Name.text
	if !name.MatchString(n) || len(n) > maxName {
		c.bad(s.Name.line, "name %q: want at most %d lower-case letters, digits and inner hyphens, a letter first", n, maxName)
	}
	line := func(l int) int { return max(l, s.Name.line) } // of what is missing: its service's
	if m := image.FindStringSubmatch(s.Image.text); m == nil || !isRegistry(m[1]) || m[5] == "" && m[6] == "" || len(s.Image.text) > 500 {
		c.bad(line(s.Image.line), "image %q of %s: want registry, path, and a tag or digest, such as ghcr.io/acme/prices:1.4", s.Image.text, n)
	}
	out := events.Service{
		Name: n, Image: s.Image.text, Port: 8080, Protocol: or(s.Protocol, "http"), Ready: s.Ready.text, MaxScale: 1,
		CPU: or(s.CPU, "500m"), Memory: or(s.Memory, "512Mi"), Command: c.words(s.Command, n), Args: c.words(s.Args, n), Env: c.env(s),
	}
	if s.Port.line > 0 {
		if out.Port = s.Port.value; out.Port < 1 || out.Port > 65535 || slices.Contains(queueProxy, out.Port) {
			c.bad(s.Port.line, "port %d of %s: want 1 to 65535, and none of Knative's own (%s)", out.Port, n, strings.Trim(fmt.Sprint(queueProxy), "[]"))
		}
	}
	if out.Protocol != "http" && out.Protocol != "h2c" {
		c.bad(s.Protocol.line, "protocol %q of %s: want http or h2c", out.Protocol, n)
	}
	if s.MaxScale.line > 0 {
		if out.MaxScale = s.MaxScale.value; out.MaxScale < 1 || out.MaxScale > maxScale {
			c.bad(s.MaxScale.line, "maxScale %d of %s: want 1 to %d", out.MaxScale, n, maxScale)
		}
	}
	c.quantity(line(s.CPU.line), "cpu", out.CPU, n, maxCPU)
	c.quantity(line(s.Memory.line), "memory", out.Memory, n, maxMemory)
	if out.Ready != "" && (!path.MatchString(out.Ready) || len(out.Ready) > maxText) {
		c.bad(s.Ready.line, "ready %q of %s: want a path such as /healthz", out.Ready, n)
	}
	return out
}

// queueProxy are ports of the container that Knative puts beside ours.
// https://knative.dev/docs/serving/services/configure-requests-limits-services/ and networking's constants
var queueProxy = []int32{8008, 8012, 8013, 8022, 8112, 9090, 9091}

// isRegistry tells ghcr.io/acme/x from acme/x, as every client of registries does.
func isRegistry(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

func (c *checker) quantity(line int, what, value, service string, limit resource.Quantity) {
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 || q.Cmp(limit) > 0 {
		c.bad(line, "%s %q of %s: want a Kubernetes quantity of at most %s", what, value, service, limit.String())
	}
}

func (c *checker) words(ws []word, service string) []string {
	var all []string
	for i, w := range ws {
		if i >= maxWords || len(w.text) > maxText {
			c.bad(w.line, "command or args of %s: at most %d words of %d bytes", service, maxWords, maxText)
			break
		}
		all = append(all, w.text)
	}
	return all
}

func (c *checker) env(s service) map[string]string {
	var all map[string]string
	byLine := func(a, b word) int { return cmp.Or(a.line-b.line, strings.Compare(a.text, b.text)) }
	for i, key := range slices.SortedFunc(maps.Keys(s.Env), byLine) {
		value := s.Env[key]
		switch {
		case i >= maxEnv:
			c.bad(key.line, "env of %s: at most %d variables", s.Name.text, maxEnv)
			return all
		case !envName.MatchString(key.text):
			c.bad(key.line, "env of %s: %q is no name of a variable", s.Name.text, key.text)
		case reserved.MatchString(key.text):
			c.bad(key.line, "env of %s: %s is set by the platform", s.Name.text, key.text)
		case len(value.text) > maxText || strings.ContainsRune(value.text, 0):
			c.bad(value.line, "env of %s: %s has more than %d bytes, or a NUL", s.Name.text, key.text, maxText)
		}
		if all == nil {
			all = map[string]string{}
		}
		all[key.text] = value.text
	}
	return all
}

// or is the word, or what it stands for where it is not given.
func or(w word, otherwise string) string {
	if w.text == "" {
		return otherwise
	}
	return w.text
}
