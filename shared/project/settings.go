package project

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/budget"
)

// What happens to text of an issue or a review that people do not see, when it is given to the agent.
const (
	MarkHidden = "mark"
	DropHidden = "drop"
)

// Settings are a project's own choices; a zero value means the process's. They are stored as JSON. config/README.md has
// a row for each.
type Settings struct {
	Engine string `yaml:"engine" json:"engine,omitempty"` // codex or builtin
	Model  string `yaml:"model" json:"model,omitempty"`   // the default model
	// Fallback names the model that stands in for one while its provider does not answer; nil = as the process says,
	// empty = none.
	Fallback     map[string]string `yaml:"fallback" json:"fallback,omitzero"`
	Parallel     int               `yaml:"parallel" json:"parallel,omitempty"`         // runs at a time, of all roles; 0 = 10
	Keep         string            `yaml:"keep" json:"keep,omitempty"`                 // how long a run's namespace stays, "24h"
	RuntimeClass string            `yaml:"runtimeClass" json:"runtimeClass,omitempty"` // of the agent's pod, such as gvisor or kata; the cluster must have it
	Sandbox      string            `yaml:"sandbox" json:"sandbox,omitempty"`           // "agent-sandbox" makes the agent's pod; "" = a Job does
	Instructions string            `yaml:"instructions" json:"instructions,omitempty"` // rules for the agent

	Modes        map[string]string `yaml:"modes" json:"modes,omitempty"`               // by role, full-env or code-only; else the role's own
	ServicesFile string            `yaml:"servicesFile" json:"servicesFile,omitempty"` // of full-env roles, its path in the repository; "" = services.yaml

	HiddenText string `yaml:"hiddenText" json:"hiddenText,omitempty"` // of issues and reviews, what GitHub does not show: MarkHidden or DropHidden for the agent; "" = MarkHidden

	Language string          `yaml:"language" json:"language,omitempty"` // of prompts, such as "ru"; "" = the installation's
	Learning *bool           `yaml:"learning" json:"learning,omitempty"` // agents explain their decisions; nil = as the installation says
	Learners map[string]bool `yaml:"learners" json:"learners,omitempty"` // the same for the runs of one person, by login, with or without GitHub's number

	// Database names the Secret, in the namespace of such, that lets the platform into the Postgres where runs may have
	// databases; "" = they may have none.
	Database string `yaml:"database" json:"database,omitempty"`

	// Approvals has rules that take precedence over the process's.
	Approvals *approval.Policy `yaml:"approvals" json:"approvals,omitempty"`

	// Budgets are figures that take precedence over the process's.
	Budgets *budget.Policy `yaml:"budgets" json:"budgets,omitempty"`

	HostedTools []string `yaml:"hostedTools" json:"hostedTools,omitempty"` // that OpenAI may run for agents, outside of their network
}

// defaultParallel is how many runs a project may have at a time unless it says otherwise.
const defaultParallel = 10

// Limit is how many runs the project may have at a time.
func (s Settings) Limit() int { return cmp.Or(s.Parallel, defaultParallel) }

// Learns says whether agents explain their decisions in the runs of a person, by login and GitHub's number of the
// account: what is said of the person counts, else of the project, else of the installation.
func (s Settings) Learns(login string, id int64, installation bool) bool {
	for who, learns := range s.Learners {
		name, number, pinned := strings.Cut(strings.ToLower(who), "@")
		if pinned && number == strconv.FormatInt(id, 10) || !pinned && name == strings.ToLower(login) {
			return learns
		}
	}
	if s.Learning != nil {
		return *s.Learning
	}
	return installation
}

// KeepFor is how long a run's namespace is kept after it; by default as long as its stage says.
func (s Settings) KeepFor(stage time.Duration) time.Duration {
	if d, err := time.ParseDuration(s.Keep); err == nil {
		return d
	}
	return stage
}
