package events

// GitHubLookupRequested asks for one file of a repository, for a run that can't go on without it.
type GitHubLookupRequested struct {
	RunRef
	Attempt int    `json:"attempt,omitempty"` // of the run, as in AgentRequested
	Path    string `json:"path"`              // "services.yaml"
	Ref     string `json:"ref,omitempty"`     // branch; "" = the repository's default
}

// MaxContent is the size of the largest file that a lookup gives, in bytes.
const MaxContent = 64 << 10

// GitHubLookedUp is the file, or says that there is none, or why it can't be read.
type GitHubLookedUp struct {
	RunRef
	Attempt int    `json:"attempt,omitempty"`
	Path    string `json:"path"`
	Ref     string `json:"ref,omitempty"`
	Found   bool   `json:"found,omitempty"`
	Content string `json:"content,omitempty"` // the file, UTF-8, at most MaxContent
	SHA     string `json:"sha,omitempty"`     // Git's name of the content
	// Reason is why it can't be read: too_large, not_a_file, not_text, github_gone, github_refused. "" = it was found,
	// or does not exist.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"` // the same for a person
}

// Service is one of the project's services for an agent, a Knative Service of that name in the run's namespace.
// shared/environment reads and checks them.
type Service struct {
	Name     string            `json:"name"`  // DNS label
	Image    string            `json:"image"` // with registry and tag or digest
	Port     int32             `json:"port"`
	Protocol string            `json:"protocol"` // http or h2c
	Command  []string          `json:"command,omitempty"`
	Args     []string          `json:"args,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Secrets  map[string]string `json:"secrets,omitempty"` // variables by name/key of Secrets in the run's namespace
	CPU      string            `json:"cpu"`               // Kubernetes quantity, the most one pod may use
	Memory   string            `json:"memory"`            // Kubernetes quantity
	MaxScale int32             `json:"maxScale"`
	Ready    string            `json:"ready,omitempty"` // path of the readiness probe; "" = the port is open
}

// The types, one constant string per payload.
func (GitHubLookupRequested) EventType() string { return Prefix + "github.lookup.requested" }
func (GitHubLookedUp) EventType() string        { return Prefix + "github.looked_up" }
