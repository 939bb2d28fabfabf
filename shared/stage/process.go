// Package stage decides what happens to an issue: which label starts which stage,
// who may do that, what a run does next, and what GitHub is told.
//
// Everything here is pure. The process (labels, stages, roles) is data, read and checked by Parse. Hear makes an Input
// from an event, which says what it Needs. Decide takes the work item with that loaded, the input and the time, and
// returns the new work item, the events to emit and the audit to keep. Admit decides which waiting runs of a project
// may start.
//
// The states of a run, as State.May enforces them:
//
//	label, review       a place is free        its Job exists
//	 ── requested ──────────── starting ─────────── running ──── succeeded
//	        │                  ▲     │                │  │
//	        └───── queued ─────┘     │ its next Job   │  │
//	               ▲  no place is    └──(itself)──────┘  │
//	               │  free                               │
//	               └─────────────── waiting ─────────────┘
//	                  an answer        for people, money, a limit
//
// Every state that is not final may become failed or cancelled, and those with a Job timed_out. A report may overtake
// other events about its Job, so starting and waiting may succeed too. starting and running hold a pod and therefore a
// place; waiting holds none once its Job has ended, and its time does not count. What comes late, or is about an
// earlier Job, changes nothing.
package stage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/tool"
	"codexk8s.dev/shared/yamlfile"
)

//go:embed process.yaml
var defaultProcess []byte

// Process is the grammar of labels, the graph of stages and the table of roles.
type Process struct {
	Version   int       `yaml:"version"`
	Labels    Labels    `yaml:"labels"`
	Models    Models    `yaml:"models"`
	Reasoning Reasoning `yaml:"reasoning"`
	Roles     []Role    `yaml:"roles"`
	Stages    []Stage   `yaml:"stages"`

	Approvals approval.Policy `yaml:"approvals"` // what agents ask, and who decides it

	Text string `yaml:"-"` // what it was read from
	Hash string `yaml:"-"` // the text's SHA-256 in hexadecimal; runs refer to the process by it

	// Fault says why a project's own process can't be read. Then this is the installation's process, and it starts
	// nothing.
	Fault string `yaml:"-"`
}

// Labels are the names of the labels that are not a stage's own.
type Labels struct {
	Trigger   string `yaml:"trigger"`
	Revise    string `yaml:"revise"`
	Abort     string `yaml:"abort"`
	Blocked   string `yaml:"blocked"`
	InReview  string `yaml:"inReview"`
	Approved  string `yaml:"approved"`
	NeedInput string `yaml:"needInput"`
}

// Models says which models a label may choose.
type Models struct {
	Label   string   `yaml:"label"` // with one *, where the model's name stands
	Default string   `yaml:"default"`
	Allowed []string `yaml:"allowed"`
}

// Reasoning says which reasoning effort a label may choose.
type Reasoning struct {
	Label   string            `yaml:"label"`
	Default string            `yaml:"default"`
	Allowed map[string]string `yaml:"allowed"` // the label's word → the API's word
}

// Role is a kind of agent with the limits that apply to it in every project.
type Role struct {
	Name     string `yaml:"name"`
	Parallel int    `yaml:"parallel"` // runs at a time in one project
	CPU      string `yaml:"cpu"`      // Kubernetes quantity
	Memory   string `yaml:"memory"`   // Kubernetes quantity
	Mode     string `yaml:"mode"`     // code-only or full-env; "" = code-only

	Tools []string `yaml:"tools"` // of package tool, that its agents may have; none said = all
}

// Stage is one step of the process.
type Stage struct {
	Name    string        `yaml:"name"`
	Label   string        `yaml:"label"`
	Role    string        `yaml:"role"`
	Timeout time.Duration `yaml:"timeout"`
	Keep    time.Duration `yaml:"keep"`
	Write   []string      `yaml:"write"` // globs of paths; ** crosses folders, and nothing excludes
	Needs   []string      `yaml:"needs"`
	Makes   []string      `yaml:"makes"`
	Next    []string      `yaml:"next"`
	Tools   []string      `yaml:"tools"` // of the role's, those that serve the stage; none said = all of them
}

// Default is the process that comes with the platform.
func Default() *Process {
	p, err := Parse(defaultProcess)
	if err != nil {
		panic("stage: the embedded process is invalid: " + err.Error()) // a test loads it
	}
	return p
}

// Parse reads a process and checks it. Its error lists every fault with its line: unknown fields, a label owned twice,
// a stage without time-out, a role or stage that does not exist, an artefact that is needed and never made.
func Parse(data []byte) (*Process, error) { return ParseAt(data, 1) }

// ParseAt is Parse for a text that begins at a line of a larger file; its errors have the file's lines.
func ParseAt(data []byte, line int) (*Process, error) {
	p := &Process{}
	source, err := yamlfile.Read(slices.Concat(bytes.Repeat([]byte{'\n'}, line-1), data), p)
	if err != nil {
		return nil, fmt.Errorf("reading the process: %w", err)
	}
	p.check(source)
	if err := source.Err(); err != nil {
		return nil, fmt.Errorf("the process is invalid: %w", err)
	}
	sum := sha256.Sum256(data)
	p.Text, p.Hash = string(data), hex.EncodeToString(sum[:])
	return p, nil
}

func (p *Process) check(source *yamlfile.File) {
	if p.Version != 1 {
		source.Bad([]any{"version"}, "version is %d, this release reads 1", p.Version)
	}
	owners := map[string]string{}
	own := func(label, owner string, path ...any) {
		if label == "" {
			source.Bad(path, "%s has no label", owner)
		} else if other, taken := owners[label]; taken {
			source.Bad(path, "label %q belongs to both %s and %s", label, other, owner)
		}
		owners[label] = owner
	}
	own(p.Labels.Abort, "abort", "labels", "abort")
	own(p.Labels.Blocked, "blocked", "labels", "blocked")
	own(p.Labels.InReview, "inReview", "labels", "inReview")
	own(p.Labels.Approved, "approved", "labels", "approved")
	own(p.Labels.NeedInput, "needInput", "labels", "needInput")
	if p.Labels.Trigger == "" || p.Labels.Revise == "" {
		source.Bad([]any{"labels"}, "labels.trigger and labels.revise must not be empty")
	}
	if !strings.HasPrefix(p.Labels.Abort, p.Labels.Trigger) {
		source.Bad([]any{"labels", "abort"}, "labels.abort %q does not begin with %q, so it would stop nothing", p.Labels.Abort, p.Labels.Trigger)
	}
	for owner, pattern := range map[string]string{"models": p.Models.Label, "reasoning": p.Reasoning.Label} {
		if strings.Count(pattern, "*") != 1 {
			source.Bad([]any{owner, "label"}, "%s.label is %q: it needs exactly one *, where the value stands", owner, pattern)
		}
	}
	if !slices.Contains(p.Models.Allowed, p.Models.Default) {
		source.Bad([]any{"models", "default"}, "models.default %q is not among models.allowed", p.Models.Default)
	}
	if _, ok := p.Reasoning.Allowed[p.Reasoning.Default]; !ok {
		source.Bad([]any{"reasoning", "default"}, "reasoning.default %q is not among reasoning.allowed", p.Reasoning.Default)
	}
	p.checkRoles(source)
	p.checkStages(source, own)
	var roles []string
	for _, r := range p.Roles {
		roles = append(roles, r.Name)
	}
	p.Approvals.Check(source, roles, "approvals")
}

func (p *Process) checkRoles(source *yamlfile.File) {
	seen := map[string]bool{}
	for i, r := range p.Roles {
		bad := func(format string, args ...any) { source.Bad([]any{"roles", i}, format, args...) }
		if seen[r.Name] {
			bad("role %s stands twice", r.Name)
		}
		seen[r.Name] = true
		if r.Parallel < 1 {
			bad("role %s: parallel is %d, at least 1 is needed", r.Name, r.Parallel)
		}
		if r.Mode != "" && r.Mode != CodeOnly && r.Mode != FullEnv {
			bad("role %s: mode is %q, want %s or %s", r.Name, r.Mode, CodeOnly, FullEnv)
		}
		checkTools(r.Tools, "role "+r.Name, bad)
		for field, quantity := range map[string]string{"cpu": r.CPU, "memory": r.Memory} {
			if _, err := resource.ParseQuantity(quantity); err != nil {
				bad("role %s: %s %q is not a Kubernetes quantity", r.Name, field, quantity)
			}
		}
	}
}

func (p *Process) checkStages(source *yamlfile.File, own func(string, string, ...any)) {
	made := map[string]bool{}
	for _, s := range p.Stages {
		for _, m := range s.Makes {
			made[m] = true
		}
	}
	seen := map[string]bool{}
	for i, s := range p.Stages {
		bad := func(format string, args ...any) { source.Bad([]any{"stages", i}, format, args...) }
		if seen[s.Name] || s.Name == "" {
			bad("stage %q needs a name of its own", s.Name)
		}
		seen[s.Name] = true
		own(s.Label, "stage "+s.Name, "stages", i)
		own(s.Label+p.Labels.Revise, "the revise of stage "+s.Name, "stages", i)
		if !strings.HasPrefix(s.Label, p.Labels.Trigger) {
			bad("stage %s: label %q does not begin with %q, so an agent could set it", s.Name, s.Label, p.Labels.Trigger)
		}
		checkTools(s.Tools, "stage "+s.Name, bad)
		for _, glob := range s.Write {
			if g := strings.TrimLeft(glob, " /"); g == "" || g[0] == '!' {
				bad("stage %s: write has %q: name what may be changed, there are no exceptions", s.Name, glob)
			}
		}
		if s.Timeout <= 0 {
			bad("stage %s has no timeout", s.Name)
		}
		if len(s.Makes) == 0 {
			bad("stage %s makes nothing: name its artefacts", s.Name)
		}
		if _, ok := p.role(s.Role); !ok {
			bad("stage %s: role %q does not exist", s.Name, s.Role)
		}
		for _, n := range s.Next {
			if _, ok := p.stage(n); !ok {
				bad("stage %s: next stage %q does not exist", s.Name, n)
			}
		}
		for _, n := range s.Needs {
			if !made[n] {
				bad("stage %s needs %q, which no stage makes: it could never be entered", s.Name, n)
			}
		}
	}
}

func checkTools(names []string, whose string, bad func(string, ...any)) {
	for i, name := range names {
		switch {
		case !slices.Contains(tool.Names(), name):
			bad("%s: tool %q does not exist: want of %s", whose, name, strings.Join(tool.Names(), ", "))
		case slices.Contains(names[:i], name):
			bad("%s: tool %s stands twice", whose, name)
		}
	}
}

func (p *Process) stage(name string) (Stage, bool) {
	i := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Name == name })
	if i < 0 {
		return Stage{}, false
	}
	return p.Stages[i], true
}

func (p *Process) role(name string) (Role, bool) {
	i := slices.IndexFunc(p.Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return p.Roles[i], true
}

// Stage returns the named stage; the zero Stage when there is none.
func (p *Process) Stage(name string) Stage {
	s, _ := p.stage(name)
	return s
}

// Role returns the named role; the zero Role when there is none.
func (p *Process) Role(name string) Role {
	r, _ := p.role(name)
	return r
}
