// Package tool is what an agent may have the platform do while it works. An agent calls these tools by MCP, at
// agent-gateway; whoever runs the agent, the Codex CLI or our own loop, they are the same.
//
// Here stands which tools there are, what each takes, and what a call leads to: an Outcome, which agent-gateway carries
// out. Every run has all of them, since none does more than to tell people, to ask them, or to read what its issue
// shows.
//
// Whatever an agent wants that is not its own to decide becomes a request to people (package approval). The agent is
// told that it waits, its pod ends, and its conversation goes on with the answer. The same asked again is the same
// request.
//
// What an agent sends is not trusted. Arguments are read strictly; an error says which of them is wrong and how it
// would be right, for the model that reads it.
//
// The package is pure.
package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// A Tool is something that an agent may call.
type Tool struct {
	Name        string
	Description string          // for the model
	Schema      json.RawMessage // JSON Schema of its arguments, an object
	call        func(Run, json.RawMessage) (Outcome, error)
}

// A Run is whose agent calls.
type Run struct {
	events.RunRef
	Stage, Role string
	IssueURL    string
	HeadSHA     string // of the pull request's branch; "" = there is none yet
	RequestedBy events.GitHubAccount
}

// An Outcome is what a call leads to; one of its fields is set.
type Outcome struct {
	Ask      *approval.Request // sealed: people are asked, and the run waits
	Progress string            // the one line that people see of the run
	History  bool              // the agent is told of the issue's runs
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

// All are the tools that there are, by name.
func All() []Tool { return slices.Clone(all) }

var all = []Tool{
	{
		Name: "ask",
		Description: "Ask the people who stand behind this task a question, when the task does not say what you need to know and a wrong guess would be costly. " +
			"Give two to five options, or none and let them answer in their own words. Work stops here until they answer; the answer is your next message. Ask for all that you need before you go on.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["question"],"properties":{
			"question":{"type":"string","maxLength":1000,"description":"One question, with what they need to know to answer it."},
			"options":{"type":"array","minItems":2,"maxItems":5,"uniqueItems":true,"items":{"type":"string","maxLength":300},"description":"What they can choose from, each understandable by itself."},
			"freeText":{"type":"boolean","description":"They may answer in other words, too. Without options they always may."},
			"links":` + links + `}}`),
		call: ask,
	},
	{
		Name: "request_approval",
		Description: "Ask people for a yes before you do what the task does not plainly allow and what is hard to undo. " +
			"They see action and arguments as you give them, and a yes is for exactly these. Work stops here until they decide; the decision is your next message.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["action","justification"],"properties":{
			"action":{"type":"string","pattern":"^[a-z][a-z0-9_-]{0,49}$","description":"A short name of what you want to do: delete_data, upgrade_dependency."},
			"arguments":{"type":"object","description":"With what exactly you will do it: names, versions, commands. No secrets."},
			"justification":{"type":"string","maxLength":500,"description":"Why the task needs it."},
			"risk":{"type":"string","maxLength":500,"description":"What can go wrong, and how it would be undone."},
			"links":` + links + `}}`),
		call: requestApproval,
	},
	{
		Name:        "status_report",
		Description: "Replace the one line that people see of your work while it goes on.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["text"],"properties":{
			"text":{"type":"string","maxLength":100,"description":"What you are doing now."}}}`),
		call: statusReport,
	},
	{
		Name:        "run_history",
		Description: "Read what earlier runs did for this issue, how they ended, and what people decided then.",
		Schema:      json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{}}`),
		call: func(_ Run, arguments json.RawMessage) (Outcome, error) {
			return Outcome{History: true}, read(arguments, &struct{}{})
		},
	},
}

const links = `{"type":"array","maxItems":5,"items":{"type":"object","additionalProperties":false,"required":["text","url"],"properties":{
	"text":{"type":"string","maxLength":100},"url":{"type":"string","maxLength":500,"pattern":"^https://"}}},"description":"Where they can read more."}`

func ask(run Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		Question string          `json:"question"`
		Options  []string        `json:"options"`
		FreeText bool            `json:"freeText"`
		Links    []approval.Link `json:"links"`
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	if strings.TrimSpace(a.Question) == "" {
		return Outcome{}, errors.New("question: it is empty")
	}
	return run.ask(approval.Request{
		Kind: events.KindQuestion, Action: "question", Title: a.Question, Options: a.Options, FreeText: a.FreeText || len(a.Options) == 0, Links: a.Links,
	})
}

func requestApproval(run Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		Action        string          `json:"action"`
		Arguments     json.RawMessage `json:"arguments"`
		Justification string          `json:"justification"`
		Risk          string          `json:"risk"`
		Links         []approval.Link `json:"links"`
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	switch {
	case !name(a.Action):
		return Outcome{}, fmt.Errorf("action: %q is no name like delete_data: lower-case letters, digits, - and _, at most 50", a.Action)
	case strings.TrimSpace(a.Justification) == "":
		return Outcome{}, errors.New("justification: it is empty; people are to know why")
	}
	return run.ask(approval.Request{
		Kind: events.KindApproval, Action: "step:" + a.Action, Title: fmt.Sprintf("The agent wants to do %q", a.Action),
		Arguments: a.Arguments, Justification: a.Justification, Risk: a.Risk, Links: a.Links,
	})
}

func statusReport(_ Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		Text string `json:"text"`
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	line := strings.Join(strings.Fields(a.Text), " ")
	if n := len([]rune(line)); n == 0 || n > MaxProgress {
		return Outcome{}, fmt.Errorf("text: it has %d characters, want 1 to %d", n, MaxProgress)
	}
	return Outcome{Progress: line}, nil
}

// MaxProgress is how many characters of a line of progress are shown.
const MaxProgress = 100

// ask seals a request of the run.
func (r Run) ask(q approval.Request) (Outcome, error) {
	q.RunRef, q.Stage, q.Role, q.IssueURL, q.HeadSHA, q.RequestedBy = r.RunRef, r.Stage, r.Role, r.IssueURL, r.HeadSHA, r.RequestedBy
	sealed, err := approval.Seal(q)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Ask: &sealed}, nil
}

func name(s string) bool {
	if s == "" || len(s) > 50 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// read reads arguments that must be what two readers understand alike, and nothing but what the tool takes.
func read(arguments json.RawMessage, into any) error {
	if len(arguments) == 0 {
		arguments = json.RawMessage(`{}`)
	}
	canonical, err := approval.Canonical(arguments)
	if err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("arguments: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
