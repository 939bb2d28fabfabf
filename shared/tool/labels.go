package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
)

// Where a label is.
const (
	OnIssue       = "issue"
	OnPullRequest = "pull_request"
)

// A LabelChange is with what the tools of labels are carried out. What is on already, or off, stays so.
type LabelChange struct {
	On     string   `json:"on"` // OnIssue or OnPullRequest
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// A StartLabel is the argument of a request for a label that starts a run.
type StartLabel struct {
	Label string `json:"label"`
}

// LabelKind says what a label is to the platform, and its name as the process spells it.
type LabelKind func(label string) (kind Label, name string)

// A Label is what a label is to the platform.
type Label int

// The kinds of labels.
const (
	Plain  Label = iota // nothing: an agent may set it, as far as its policy lets it
	Starts              // it starts a run: people decide, always
	Stops               // it stops one, or begins like those that start something
	Owned               // it says what the platform knows, or chooses how agents work
)

// The limits of GitHub and ours.
// https://docs.github.com/en/rest/issues/labels
const (
	maxLabel  = 50 // characters
	maxLabels = 10 // in one call
)

const onSchema = `"on":{"type":"string","enum":["issue","pull_request"],"description":"Where: on your task's issue (default) or on its pull request."}`

const labelSchema = `{"type":"object","additionalProperties":false,"required":["labels"],"properties":{
			"labels":{"type":"array","minItems":1,"maxItems":10,"items":{"type":"string","maxLength":50}},
			` + onSchema + `,` + why + `}}`

// labelling are the tools of the labels of the run's own issue and pull request.
var labelling = []Tool{
	{
		Name:        LabelsList,
		Description: "Read which labels your task's issue and its pull request carry.",
		Schema:      json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{}}`),
		call: func(_ Run, arguments json.RawMessage) (Outcome, error) {
			return Outcome{Labels: true}, read(arguments, &struct{}{})
		},
	},
	{
		Name: LabelsAdd, Action: ActionPrefix + LabelsAdd,
		Description: "Put labels on your task's issue or on its pull request. A label that starts further work (run:…) stands alone in a call: people decide on it, and it takes effect when your own work is done.",
		Schema:      json.RawMessage(labelSchema),
		call: func(run Run, arguments json.RawMessage) (Outcome, error) {
			return changeLabels(run, LabelsAdd, arguments, func(c *LabelChange, labels []string) { c.Add = labels })
		},
	},
	{
		Name: LabelsRemove, Action: ActionPrefix + LabelsRemove,
		Description: "Take labels off your task's issue or its pull request.",
		Schema:      json.RawMessage(labelSchema),
		call: func(run Run, arguments json.RawMessage) (Outcome, error) {
			return changeLabels(run, LabelsRemove, arguments, func(c *LabelChange, labels []string) { c.Remove = labels })
		},
	},
	{
		Name: LabelsTransition, Action: ActionPrefix + LabelsTransition,
		Description: "Take one label off your task's issue or its pull request, and put another one on in its place.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["from","to"],"properties":{
			"from":{"type":"string","maxLength":50},"to":{"type":"string","maxLength":50},` + onSchema + `,` + why + `}}`),
		call: moveLabel,
	},
}

func changeLabels(run Run, name string, arguments json.RawMessage, put func(*LabelChange, []string)) (Outcome, error) {
	var a struct {
		Labels []string `json:"labels"`
		On     string   `json:"on"`
		Why
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	if n := len(a.Labels); n == 0 || n > maxLabels {
		return Outcome{}, fmt.Errorf("labels: %d were given, want 1 to %d", n, maxLabels)
	}
	c := LabelChange{On: a.On}
	put(&c, a.Labels)
	return run.label(name, c, a.Why)
}

func moveLabel(run Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		From string `json:"from"`
		To   string `json:"to"`
		On   string `json:"on"`
		Why
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	if strings.EqualFold(a.From, a.To) {
		return Outcome{}, errors.New("from and to are one label")
	}
	return run.label(LabelsTransition, LabelChange{On: a.On, Add: []string{a.To}, Remove: []string{a.From}}, a.Why)
}

// label is what a change of labels leads to.
func (r Run) label(name string, c LabelChange, why Why) (Outcome, error) {
	switch {
	case c.On == "":
		c.On = OnIssue
	case c.On == OnPullRequest && r.PullRequest == 0:
		return Outcome{}, errors.New("on: there is no pull request yet; it is opened from your work when you are done")
	case c.On != OnIssue && c.On != OnPullRequest:
		return Outcome{}, fmt.Errorf("on: %q, want issue or pull_request", c.On)
	}
	for _, l := range c.Remove {
		if err := labelForm(l); err != nil {
			return Outcome{}, err
		}
		if kind, _ := r.Label(l); kind != Plain {
			return Outcome{}, fmt.Errorf("%q is the platform's: it takes that label off by itself when it has had its effect, or people do", l)
		}
	}
	for _, l := range c.Add {
		if err := labelForm(l); err != nil {
			return Outcome{}, err
		}
		switch kind, spelt := r.Label(l); {
		case kind == Starts && len(c.Add)+len(c.Remove) > 1:
			return Outcome{}, fmt.Errorf("%q starts a run: ask for it in a call of labels_add of its own", l)
		case kind == Starts:
			return r.start(spelt, why)
		case kind == Stops:
			return Outcome{}, fmt.Errorf("%q stops runs, or starts none that there is: an agent can't set it. If your work can't go on, end it and say why", l)
		case kind == Owned:
			return Outcome{}, fmt.Errorf("%q is the platform's or the people's to set: it shows what the platform knows, or chooses how agents work", l)
		}
	}
	slices.Sort(c.Add)
	slices.Sort(c.Remove)
	c.Add, c.Remove = slices.Compact(c.Add), slices.Compact(c.Remove)
	title := "Change labels of the issue"
	if c.On == OnPullRequest {
		name, title = PullRequestLabels, fmt.Sprintf("Change labels of pull request #%d", r.PullRequest)
	}
	return r.do(name, title, c, why)
}

// start asks for a label that starts a run, whatever else the policy says of labels.
func (r Run) start(label string, why Why) (Outcome, error) {
	arguments, err := json.Marshal(StartLabel{Label: label})
	if err != nil {
		return Outcome{}, err
	}
	return r.ask(approval.Request{
		Kind: events.KindApproval, Action: LabelPrefix + label, Title: fmt.Sprintf("Start %s when this run has succeeded, at the word of whoever approves", label),
		Arguments: arguments, Justification: why.Justification, Risk: why.Risk,
	})
}

// labelForm refuses what GitHub would refuse or change, and what people could take for another label.
func labelForm(l string) error {
	_, hidden := plain.SpellOut(l)
	switch n := utf8.RuneCountInString(l); {
	case n == 0 || n > maxLabel:
		return fmt.Errorf("label %q has %d characters, want 1 to %d", plain.Cut(l, 4*maxLabel), n, maxLabel)
	case strings.TrimSpace(l) != l || strings.ContainsAny(l, "\n\r\t") || len(hidden) > 0:
		return fmt.Errorf("label %q: blanks around it, line breaks and characters that nobody sees are not taken", l)
	}
	return nil
}
