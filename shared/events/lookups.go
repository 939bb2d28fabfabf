package events

// GitHubLookupRequested asks what a repository holds, for a run that can't go on without knowing it: before its Job,
// the content of one file, and whether others exist; after its report, what it has left.
type GitHubLookupRequested struct {
	RunRef
	Attempt int    `json:"attempt,omitempty"` // of the run, as in AgentRequested
	Path    string `json:"path,omitempty"`    // of the file whose content is asked for, "services.yaml"; "" = none is
	Ref     string `json:"ref,omitempty"`     // branch of Path; "" = the repository's default

	Files []string `json:"files,omitempty"` // paths of files that should exist, at most MaxFiles
	In    []string `json:"in,omitempty"`    // branches or commits, in this order: the one that has most of Files, and the others for the rest
	// Head is the commit that the run's agent has reported, in place of In; "" = it is before the run's Job. The text of
	// Files is looked at too, and which paths PullRequest changes that Write does not allow.
	Head        string   `json:"head,omitempty"`
	PullRequest int      `json:"pullRequest,omitempty"`
	Branch      string   `json:"branch,omitempty"` // that PullRequest must be of; "" = it is not looked at
	Base        string   `json:"base,omitempty"`   // commit from which Head must descend; "" = it is not looked at
	Write       []string `json:"write,omitempty"`  // globs of package scope
	Words       []string `json:"words,omitempty"`  // of which each of Files may have one on a line of its own
}

const (
	// MaxContent is the size of the largest file that a lookup gives, in bytes.
	MaxContent = 64 << 10
	// MaxFiles is how many files one lookup may ask for.
	MaxFiles = 100
	// MaxOutside is how many paths outside of the write scope are named.
	MaxOutside = 20
)

// GitHubLookedUp answers a GitHubLookupRequested, or says why it can't.
type GitHubLookedUp struct {
	RunRef
	Attempt int    `json:"attempt,omitempty"`
	Path    string `json:"path,omitempty"`
	Ref     string `json:"ref,omitempty"`
	Found   bool   `json:"found,omitempty"`
	Content string `json:"content,omitempty"` // of Path, UTF-8, at most MaxContent
	SHA     string `json:"sha,omitempty"`     // Git's name of the content

	Head    string      `json:"head,omitempty"`    // as asked
	From    string      `json:"from,omitempty"`    // the one of In that has most of Files, the first of several; "" = none has any
	Files   []FoundFile `json:"files,omitempty"`   // one for each that was asked for, in that order; none if Path can't be read
	Outside []string    `json:"outside,omitempty"` // paths that PullRequest changes and Write does not allow, at most MaxOutside
	Tip     string      `json:"tip,omitempty"`     // the commit that Branch is at; "" = it was not looked at
	Apart   bool        `json:"apart,omitempty"`   // Head does not descend from the base that was named
	Checks  []Check     `json:"checks,omitempty"`  // at Head, that the branch requires which PullRequest goes into

	// Reason is why it can't be read: too_large, not_a_file, not_text, github_gone, github_refused, not_our_pull_request.
	// "" = everything is known, also that something does not exist.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"` // the same for a person
}

// FoundFile is what a repository has under a path.
type FoundFile struct {
	Path string `json:"path"`
	In   string `json:"in,omitempty"`  // where it was found, in From or first of GitHubLookupRequested.In; "" = nowhere, or it is no file
	SHA  string `json:"sha,omitempty"` // Git's name of its content
	Size int    `json:"size,omitempty"`
	// Faults of its text as a finished document, package artefact's; only with Head.
	Faults []string `json:"faults,omitempty"`
	Says   string   `json:"says,omitempty"` // the only one of GitHubLookupRequested.Words that it says; "" = none, or several
}

// Check is a commit status or a check run that a repository requires before something is merged.
type Check struct {
	Name  string     `json:"name"`
	State CheckState `json:"state"`
	Said  string     `json:"said,omitempty"` // its conclusion and its words; untrusted
}

// CheckState is how far a check has got.
type CheckState string

// The states of a check.
const (
	CheckPending CheckState = "pending" // it has not reported, or is at work
	CheckPassed  CheckState = "passed"
	CheckFailed  CheckState = "failed"
)

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
