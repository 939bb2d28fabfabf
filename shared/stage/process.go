// Package stage decides what happens to an issue: which label starts which stage,
// who may do that, what a run does next, and what GitHub is told.
//
// Everything here is pure. The process (labels, artefacts, profiles, roles, stages) is data, read and checked by Parse.
// Following says what may come after a stage, Catalogue which labels there are. Hear makes an Input from an event,
// which says what it Needs. Decide takes the work item with that loaded, the input and the time, and returns the new
// work item, the events to emit and the audit to keep. Admit decides which waiting runs of a project may start.
//
// A stage has two gates (gates.go): its run begins when the files that it works from are there, and has succeeded when
// those that it makes are. For each, github-caller is asked what GitHub has.
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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/budget"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/project"
	"codexk8s.dev/shared/scope"
	"codexk8s.dev/shared/yamlfile"
)

//go:embed process.yaml
var defaultProcess []byte

// Process is the grammar of labels, the graph of stages and the table of roles. Artefacts and profiles are optional: a
// process without profiles has no ways, only what its stages name under next.
type Process struct {
	Version   int            `yaml:"version"`
	Labels    Labels         `yaml:"labels"`
	Models    Models         `yaml:"models"`
	Reasoning Reasoning      `yaml:"reasoning"`
	Roles     []Role         `yaml:"roles"`
	Artefacts []ArtefactKind `yaml:"artefacts"`
	Profiles  []Profile      `yaml:"profiles"` // in the order of escalation
	Stages    []Stage        `yaml:"stages"`   // in their canonical order
	Storm     Storm          `yaml:"storm"`

	Discussion Discussion `yaml:"discussion"` // on issues with labels.discussion

	Checks time.Duration `yaml:"checks"` // how long a run waits for its repository's required checks; none said = checksWithin

	Approvals approval.Policy `yaml:"approvals"` // what agents ask, and who decides it
	Budgets   budget.Policy   `yaml:"budgets"`   // what may be spent

	Text string `yaml:"-"` // what it was read from
	Hash string `yaml:"-"` // the text's SHA-256 in hexadecimal; runs refer to the process by it

	// Fault says why a project's own process can't be read. Then this is the installation's process, and it starts
	// nothing.
	Fault string `yaml:"-"`
}

// Labels are the names of the labels that are not a stage's own. "" is one that the process doesn't have; the first
// seven it must have.
type Labels struct {
	Trigger   string `yaml:"trigger"` // the prefix of those that start or stop something
	Revise    string `yaml:"revise"`  // the suffix of a stage's second label
	Abort     string `yaml:"abort"`
	Blocked   string `yaml:"blocked"`
	InReview  string `yaml:"inReview"`
	Approved  string `yaml:"approved"`
	NeedInput string `yaml:"needInput"`

	Held       string   `yaml:"held"` // what a storm has kept from starting
	Superseded string   `yaml:"superseded"`
	Abandoned  string   `yaml:"abandoned"`
	Needs      []string `yaml:"needs"` // whose word is wanted
	Reviewer   string   `yaml:"reviewer"`
	Discussion string   `yaml:"discussion"`
	Profile    string   `yaml:"profile"` // with one *, where the profile's name stands
}

// Discussion limits the discussions of an issue. Each answer is a turn.
type Discussion struct {
	Timeout time.Duration `yaml:"timeout"` // of one turn
	Keep    time.Duration `yaml:"keep"`    // how long a turn's namespace stays
	Turns   int           `yaml:"turns"`   // of one discussion, until its label is set anew
	Tools   []string      `yaml:"tools"`   // of the role's
}

// Models says which models a label may choose.
type Models struct {
	Label   string   `yaml:"label"` // with one *, where the model's name stands
	Default string   `yaml:"default"`
	Allowed []string `yaml:"allowed"`
	// Fallback names the model that stands in for one while its provider does not answer; none = the run waits.
	Fallback map[string]string `yaml:"fallback"`
}

// fallback is the model that may stand in for a run's, by the project's word or else the process's; "" = none may.
func (p *Process) fallback(s project.Settings, model string) string {
	pairs := s.Fallback
	if pairs == nil {
		pairs = p.Models.Fallback
	}
	if other := pairs[model]; slices.Contains(p.Models.Allowed, other) {
		return other
	}
	return ""
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
	// Kubernetes is what the run's account may do in the run's namespace: events.KubernetesRead, or nothing ("", none).
	Kubernetes string `yaml:"kubernetes"`

	Tools []string `yaml:"tools"` // of package tool, that its agents may have; none said = all
}

// ArtefactKind is something that a stage makes: a file in the repository.
type ArtefactKind struct {
	Name  string `yaml:"name"`
	Path  string `yaml:"path"`  // of the file; {issue} stands for the issue's number
	About string `yaml:"about"` // one line on what it contains
}

// PathFor is the artefact's file for an issue.
func (a ArtefactKind) PathFor(issue int) string {
	return strings.ReplaceAll(a.Path, issuePlace, strconv.Itoa(issue))
}

// issuePlace is what the issue's number replaces in the path of an artefact.
const issuePlace = "{issue}"

// Profile is a way through the stages.
type Profile struct {
	Name   string   `yaml:"name"`
	Stages []string `yaml:"stages"` // in canonical order
}

// Stage is one step of the process.
type Stage struct {
	Name    string        `yaml:"name"`
	Label   string        `yaml:"label"`
	Role    string        `yaml:"role"`
	About   string        `yaml:"about"` // one line on what its label does, 100 characters at most
	Timeout time.Duration `yaml:"timeout"`
	Keep    time.Duration `yaml:"keep"`
	Write   []string      `yaml:"write"`   // globs of package scope; none said = the files that it makes (WritesOf)
	Needs   []string      `yaml:"needs"`   // artefacts that it can't do without
	Reads   []string      `yaml:"reads"`   // artefacts that it works from, where the item's profile makes them
	Makes   []string      `yaml:"makes"`   // artefacts
	Next    []string      `yaml:"next"`    // stages that may follow, besides the next one of each profile
	Reopens string        `yaml:"reopens"` // of makes, the artefact that names the label of the stage at which to begin again
	Tools   []string      `yaml:"tools"`   // of the role's, those that serve the stage; none said = all of them

	Estimate budget.Limit `yaml:"estimate"` // what a run needs, as long as no past runs say it
}

// Default is the process that comes with the platform.
func Default() *Process {
	p, err := Parse(defaultProcess)
	if err != nil {
		panic("stage: the embedded process is invalid: " + err.Error()) // a test loads it
	}
	return p
}

// Parse reads a process and checks it. Its error lists every fault with its line; check.go has all that is checked.
func Parse(data []byte) (*Process, error) { return ParseAt(data, 1) }

// ParseAt is Parse for a text that begins at a line of a larger file; its errors have the file's lines.
func ParseAt(data []byte, line int) (*Process, error) {
	p := &Process{}
	source, err := yamlfile.Read(slices.Concat(bytes.Repeat([]byte{'\n'}, line-1), data), p)
	if err != nil {
		return nil, fmt.Errorf("reading the process%s: %w", newer(data), err)
	}
	p.check(source)
	if err := source.Err(); err != nil {
		return nil, fmt.Errorf("the process is invalid: %w", err)
	}
	sum := sha256.Sum256(data)
	p.Text, p.Hash = string(data), hex.EncodeToString(sum[:])
	return p, nil
}

// version is that of the file's form.
const version = 1

var saysVersion = regexp.MustCompile(`(?m)^version:\s*([0-9]+)`)

// newer says, next to what this release can't read, that it is for a newer one.
func newer(data []byte) string {
	m := saysVersion.FindSubmatch(data)
	if m == nil || string(m[1]) == strconv.Itoa(version) {
		return ""
	}
	return fmt.Sprintf(", whose version is %s (this release reads %d)", m[1], version)
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

// StageOf is the named stage as a run of that kind has it. A turn of a discussion needs and makes nothing, may change
// nothing, and has limits of its own.
func (p *Process) StageOf(name string, kind events.Kind) Stage {
	s := p.Stage(name)
	if kind == events.KindDiscussion {
		s.Timeout, s.Keep, s.Tools = p.Discussion.Timeout, p.Discussion.Keep, p.Discussion.Tools
		s.Needs, s.Reads, s.Makes, s.Write = nil, slices.Concat(s.Needs, s.Reads), nil, []string{scope.Nothing}
	}
	return s
}

// WritesOf is what a pull request of the stage may change for an issue, as globs of package scope: what it says, else
// the files that it makes. It is never empty, which would stand for everything.
func (p *Process) WritesOf(s Stage, issue int) []string {
	if len(s.Write) > 0 {
		return s.Write
	}
	return append(p.files(s.Makes, issue), scope.Nothing)
}

// Role returns the named role; the zero Role when there is none.
func (p *Process) Role(name string) Role {
	r, _ := p.role(name)
	return r
}

// Artefact returns the artefact of that name; the zero ArtefactKind when there is none, or it is no file.
func (p *Process) Artefact(name string) ArtefactKind {
	i := slices.IndexFunc(p.Artefacts, func(a ArtefactKind) bool { return a.Name == name })
	if i < 0 {
		return ArtefactKind{}
	}
	return p.Artefacts[i]
}

// Profile returns the profile of that name, whose name has no case; the zero Profile when there is none.
func (p *Process) Profile(name string) Profile {
	i := slices.IndexFunc(p.Profiles, func(f Profile) bool { return same(f.Name, name) })
	if i < 0 {
		return Profile{}
	}
	return p.Profiles[i]
}
