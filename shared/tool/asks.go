package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
)

// asking are the tools by which people are asked for their word alone.
var asking = []Tool{
	{
		Name: Ask, Action: "question",
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
		Name: RequestApproval,
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

func name(s string) bool {
	if s == "" || len(s) > 50 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
