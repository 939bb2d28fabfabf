package tool

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// A SecretRequest is with what secret_sync is carried out: a random value in a Secret of the run's namespace, whose
// name is all that anybody is told.
type SecretRequest struct {
	Name   string `json:"name"`
	Rotate bool   `json:"rotate"` // a new value in place of the one that is there
}

// SecretKey is under which a Secret has its value.
const SecretKey = "value"

// RunSecret is the platform's own in a run's namespace: it holds the run token.
const RunSecret = "run"

var secretName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$`)

// furnishing are the tools that change what stands beside the agent.
var furnishing = []Tool{
	{
		Name: SecretSync, Action: ActionPrefix + SecretSync,
		Description: "Have the platform make a random value and keep it as a Kubernetes Secret beside you, for services and tests that need one. You name it; nobody is told the value, you neither. One that is there is left as it is, unless you ask to rotate it.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["name"],"properties":{
			"name":{"type":"string","pattern":"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$","description":"Of the Secret: session-key."},
			"rotate":{"type":"boolean","description":"Put a new value in place of the one that is there."},
			` + why + `}}`),
		call: secretSync,
	},
	databases,
}

func secretSync(run Run, arguments json.RawMessage) (Outcome, error) {
	var a struct {
		SecretRequest
		Why
	}
	if err := read(arguments, &a); err != nil {
		return Outcome{}, err
	}
	switch {
	case !secretName.MatchString(a.Name):
		return Outcome{}, fmt.Errorf("name: %q is no name like session-key: lower-case letters, digits and inner hyphens, at most 50", a.Name)
	case a.Name == RunSecret || a.Name == DatabaseSecret:
		return Outcome{}, fmt.Errorf("name: %q is the platform's own, take another one", a.Name)
	}
	title := fmt.Sprintf("Make a random value and keep it as the Secret %q beside the agent", a.Name)
	if a.Rotate {
		title = fmt.Sprintf("Replace the value of the Secret %q beside the agent by a new random one", a.Name)
	}
	return run.do(SecretSync, title, a.SecretRequest, a.Why)
}
