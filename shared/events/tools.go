package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// ToolApproved asks for what an agent wants the platform to do: people have said yes to it, or it needs nobody's yes.
// It holds all that it takes, and is done once.
type ToolApproved struct {
	RunRef
	// CallID is that of the request which was approved, else of the call. UUID.
	CallID string `json:"callId"`
	Tool   string `json:"tool"` // of the list in shared/tool
	// Arguments are exactly those that people were shown.
	Arguments json.RawMessage `json:"arguments"`

	PullRequest int `json:"pullRequest,omitempty"` // of the run's work item; 0 = there is none

	// Where the run lives on Kubernetes, as in AgentRequested: what is gone while the run waits is made again.
	Namespace string    `json:"namespace"`
	Stage     string    `json:"stage"`
	Role      string    `json:"role"`
	Attempt   int       `json:"attempt,omitempty"`
	ExpiresAt time.Time `json:"expiresAt"` // UTC
}

// EventSubject is the call's id.
func (t ToolApproved) EventSubject() string { return t.CallID }

// Executed is the decision that says what came of it, on the word of the actor who did it. reason is "" when it is
// done, else why it can't be.
func (t ToolApproved) Executed(actor, reason, result string) Decision {
	return Decision{
		Emit:  []Draft{Now(ToolExecuted{RunRef: t.RunRef, CallID: t.CallID, Tool: t.Tool, Arguments: t.Arguments, Result: result, Reason: reason})},
		Audit: []Record{{Actor: actor, Action: "tool.executed", Run: t.RunID, Reason: reason, Detail: fmt.Sprintf("%s %s: %s", t.Tool, t.CallID, result)}},
	}
}

// ToolExecuted says what came of it.
type ToolExecuted struct {
	RunRef
	CallID string `json:"callId"`
	Tool   string `json:"tool"`
	Result string `json:"result"`           // for the agent, in words. No secret
	Reason string `json:"reason,omitempty"` // why it can't be done, however often it is tried; "" = it is done
	// Arguments are those of ToolApproved.
	Arguments json.RawMessage `json:"arguments,omitempty"`
}

// EventSubject is the call's id.
func (t ToolExecuted) EventSubject() string { return t.CallID }

// LabelApproved says that the time has come for a label which starts a run: an agent wanted it, a person said yes, and
// the agent's own run has succeeded.
type LabelApproved struct {
	RunRef                  // whose agent wanted it
	Label     string        `json:"label"`
	By        GitHubAccount `json:"by"`        // whose word it is
	RequestID string        `json:"requestId"` // to which they said yes
}

// The types, one constant string per payload.
func (ToolApproved) EventType() string  { return Prefix + "tool.approved" }
func (ToolExecuted) EventType() string  { return Prefix + "tool.executed" }
func (LabelApproved) EventType() string { return Prefix + "label.approved" }
