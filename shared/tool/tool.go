// Package tool is what an agent may have the platform do while it works. An agent calls these tools by MCP, at
// agent-gateway; whoever runs the agent, the Codex CLI or our own loop, they are the same.
//
// Here stands which tools there are, what each takes, and what a call leads to: an Outcome, which agent-gateway
// carries out. Which of them a run has is fixed when it is requested, by its role, its stage and the policy
// (stage.Grant). What is not among them is not listed, and a call of it is one of a tool that there is not.
//
// Whatever an agent wants that is not its own to decide becomes a request to people (package approval). The agent is
// told that it waits, its pod ends, and its conversation goes on with the answer. The same asked again is the same
// request. What people have said yes to, or what needs nobody's yes, the platform does itself, once, with exactly the
// arguments that stand in the request: as the event tool.approved, which holds them, in the form that the types of
// this package read.
//
// What an agent sends is not trusted. Arguments are read strictly; an error says which of them is wrong and how it
// would be right, for the model that reads it.
//
// The package is pure.
package tool

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// The names of the tools.
const (
	Ask               = "ask"
	RequestApproval   = "request_approval"
	StatusReport      = "status_report"
	RunHistory        = "run_history"
	PastRuns          = "past_runs"
	LabelsList        = "labels_list"
	LabelsAdd         = "labels_add"
	LabelsRemove      = "labels_remove"
	LabelsTransition  = "labels_transition"
	SecretSync        = "secret_sync"
	DatabaseLifecycle = "database_lifecycle"
)

// PullRequestLabels is by what the platform changes labels of a pull request, whichever tool was called. Other systems
// merge and deploy by such labels, so their policy is their own.
const PullRequestLabels = "pull_request_labels"

// A Tool is something that an agent may call.
type Tool struct {
	Name        string
	Description string          // for the model
	Schema      json.RawMessage // JSON Schema of its arguments, an object
	Named       bool            // only a role whose list names it has it
	Action      string          // by which its policy is chosen; "" = it needs none, or the call says which
	call        func(Run, json.RawMessage) (Outcome, error)
}

// ActionPrefix begins the action of what the platform does after a yes; the tool's name stands behind it.
const ActionPrefix = "tool:"

// LabelPrefix begins the action of a label that starts a run; its name stands behind it.
const LabelPrefix = "label:"

// A Run is whose agent calls.
type Run struct {
	events.RunRef
	Stage, Role string
	IssueURL    string
	HeadSHA     string // of the pull request's branch; "" = there is none yet
	PullRequest int    // 0 = there is none yet
	RequestedBy events.GitHubAccount
	Free        []string // names of the tools that need nobody's yes
	Label       LabelKind
}

// An Outcome is what a call leads to; one of its fields is set.
type Outcome struct {
	Ask      *approval.Request // sealed: people are asked, and the run waits
	Do       *approval.Request // sealed: it is done at once, and the run goes on
	Progress string            // the one line that people see of the run
	History  bool              // the agent is told of the issue's runs
	Past     *PastQuery        // the agent is told of the project's runs
	Labels   bool              // the agent is told of the labels
}

// An Error is for the model: it says what to do differently.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

// Call says what a call of the tool leads to. Its error is an *Error.
func (t Tool) Call(run Run, arguments json.RawMessage) (Outcome, error) {
	o, err := t.call(run, arguments)
	if err != nil {
		return Outcome{}, &Error{fmt.Errorf("%s: %w", t.Name, err)}
	}
	return o, nil
}

// All are the tools that there are.
func All() []Tool { return slices.Clone(all) }

// Of are the tools of those names. A run of the release before names none, nil: it has those that release had.
func Of(names []string) []Tool {
	if names == nil {
		names = []string{Ask, RequestApproval, StatusReport, RunHistory}
	}
	return slices.DeleteFunc(All(), func(t Tool) bool { return !slices.Contains(names, t.Name) })
}

// Lasts reports whether what that tool makes stands beside the agent, for as long as the run's namespace does. Where it
// is lost while the run goes on, it is made again.
func Lasts(name string) bool {
	return slices.ContainsFunc(furnishing, func(t Tool) bool { return t.Name == name })
}

// ReadsOnly reports whether the tool of that name leads to nothing but words: of people, about the run, about labels.
func ReadsOnly(name string) bool {
	return slices.Contains([]string{Ask, StatusReport, RunHistory, PastRuns, LabelsList}, name)
}

// Names are those of all tools.
func Names() (names []string) {
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

var all = slices.Concat(asking, telling, labelling, furnishing)

// ask seals a request of the run.
func (r Run) ask(q approval.Request) (Outcome, error) {
	q.RunRef, q.Stage, q.Role, q.IssueURL, q.HeadSHA, q.RequestedBy = r.RunRef, r.Stage, r.Role, r.IssueURL, r.HeadSHA, r.RequestedBy
	sealed, err := approval.Seal(q)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Ask: &sealed}, nil
}

// do is what the platform does by the tool, with what it is done and in which words people are asked: at once where
// nobody need be asked.
func (r Run) do(name, title string, with any, why Why) (Outcome, error) {
	arguments, err := json.Marshal(with)
	if err != nil {
		return Outcome{}, err
	}
	o, err := r.ask(approval.Request{
		Kind: events.KindApproval, Action: ActionPrefix + name, Title: title, Arguments: arguments, Justification: why.Justification, Risk: why.Risk,
	})
	if err == nil && slices.Contains(r.Free, name) {
		return Outcome{Do: o.Ask}, nil
	}
	return o, err
}

// Why is what an agent says to people of what it wants done.
type Why struct {
	Justification string `json:"justification"`
	Risk          string `json:"risk"`
}

const why = `"justification":{"type":"string","maxLength":500,"description":"Why the task needs it."},
			"risk":{"type":"string","maxLength":500,"description":"What can go wrong."}`

// read reads arguments that must be what two readers understand alike, and nothing but what the tool takes.
func read(arguments json.RawMessage, into any) error {
	if len(arguments) == 0 {
		arguments = json.RawMessage(`{}`)
	}
	canonical, err := approval.Canonical(arguments)
	if err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return Read(canonical, into)
}

// Read reads the arguments of a sealed request.
func Read(arguments json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("arguments: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
