package events

import (
	"encoding/json"
	"time"
)

// ApprovalKind says what people are asked for.
type ApprovalKind string

// The kinds of requests.
const (
	KindApproval ApprovalKind = "approval" // yes or no
	KindQuestion ApprovalKind = "question" // one of some options, or a text
)

// ApprovalState is how far a request has got; shared/approval has the states.
type ApprovalState string

// Final reports whether nothing more can happen to a request in this state.
func (s ApprovalState) Final() bool { return s != "" && s != "requested" && s != "open" }

// GitHubAccount is a person's account.
type GitHubAccount struct {
	Login string `json:"login"`
	ID    int64  `json:"id,omitempty"` // GitHub's number; 0 = not known
}

// ApprovalRequested asks people to decide or to answer. It never changes: asking something else is another request.
// shared/approval seals it, which sets ID and Digest.
type ApprovalRequested struct {
	RunRef
	ID   string       `json:"id"` // UUID, derived from the run, the digest and Repeat: asking the same twice is one request
	Kind ApprovalKind `json:"kind"`

	Stage string `json:"stage"` // "dev"
	Role  string `json:"role"`  // of the agent; the policy depends on it
	// Action is what the policy is looked up by: "tool:secret_sync", "label:run:qa", "step:deploy", "question".
	Action string `json:"action"`
	// Title says what is asked, for people, in one line: for an approval in the platform's words, for a question in the
	// agent's.
	Title string `json:"title"`
	// Arguments are the action's arguments, a JSON object in canonical form. They hold no secret.
	Arguments json.RawMessage `json:"arguments,omitempty"`
	Options   []string        `json:"options,omitempty"`  // of a question, 2 to 5
	FreeText  bool            `json:"freeText,omitempty"` // a question may be answered in other words

	// The agent's own words, which nobody has checked.
	Justification string         `json:"justification,omitempty"`
	Risk          string         `json:"risk,omitempty"`
	Links         []ApprovalLink `json:"links,omitempty"` // at most 5

	HeadSHA  string `json:"headSha,omitempty"`  // the commit that the agent worked on
	IssueURL string `json:"issueUrl,omitempty"` // https
	// Digest is the SHA-256 of what is asked, hexadecimal: action, arguments, repository, head; of a question its text
	// and options, too.
	Digest string `json:"digest"`

	RequestedBy GitHubAccount `json:"requestedBy"` // whose run it is
	// Repeat is how often the run has had the same request decided before: a yes is used once.
	Repeat int       `json:"repeat,omitempty"`
	At     time.Time `json:"at"` // UTC
}

// ApprovalLink is a link that an agent offers.
type ApprovalLink struct {
	Text string `json:"text"`
	URL  string `json:"url"` // https
}

// EventSubject is the request's id.
func (a ApprovalRequested) EventSubject() string { return a.ID }

// Choice is what somebody chose.
type Choice string

// The choices. A question is answered or, if nobody shall answer it, denied.
const (
	Approve Choice = "approve"
	Deny    Choice = "deny"
	Answer  Choice = "answer"
)

// ApprovalVoted says that somebody clicked, wrote or called. Who that is, and whether it counts, is not decided yet.
type ApprovalVoted struct {
	ID        string `json:"id"`               // the channel's id of the click: delivered twice, it is one vote
	RequestID string `json:"requestId"`        // of ApprovalRequested
	Digest    string `json:"digest,omitempty"` // from the button, the beginning of the request's; "" = the channel has none
	Choice    Choice `json:"choice"`
	Option    int    `json:"option,omitempty"` // of a question, from 1 on; 0 = Text is the answer
	Words     string `json:"words,omitempty"`  // the option's, as the voter's program has them; "" = the channel says its number alone
	Text      string `json:"text,omitempty"`   // a reason, or the answer; at most 2,000 characters
	By        Voter  `json:"by"`
	// At is the channel's time of the click, UTC, for show only: our clock decides what comes too late.
	At time.Time `json:"at"`
}

// Voter is who acted, as their channel knows them.
type Voter struct {
	Channel string `json:"channel"`        // of the list in shared/approval
	Account string `json:"account"`        // the channel's own id, "U02ABC"; GitHub's number as digits; the name of an HTTP approver
	Name    string `json:"name,omitempty"` // for people
	Chat    string `json:"chat,omitempty"` // where it was, like the Target of a message sent there; "" = the channel doesn't say
}

// EventSubject is the request's id.
func (a ApprovalVoted) EventSubject() string { return a.RequestID }

// ApprovalDue comes due when something has to be done about an undecided request: remind, escalate, expire.
type ApprovalDue struct {
	RunRef
	RequestID string `json:"requestId"`
	Round     int    `json:"round"` // grows with every timer of the request: an older one does nothing
}

// EventSubject is the request's id.
func (a ApprovalDue) EventSubject() string { return a.RequestID }

// ApprovalChanged is what every channel is to show of a request from now on. A newer version that is already shown
// stays.
type ApprovalChanged struct {
	RunRef
	Message ApprovalMessage `json:"message"`
	// Targets are all places that have the message or are to get it. One that "all" includes may be named as well.
	Targets []ApprovalTarget `json:"targets"`
	// Reminder is for places that have the message already: a new short message that points to it. nil = none is due.
	Reminder *ApprovalReminder `json:"reminder,omitempty"`
}

// EventSubject is the request's id.
func (a ApprovalChanged) EventSubject() string { return a.Message.RequestID }

// ApprovalTarget is a place where a message goes.
type ApprovalTarget struct {
	Channel string `json:"channel"`          // of the list in shared/approval; "all" = every one that is connected
	Target  string `json:"target,omitempty"` // the channel's own name of the chat or project; "" = the one it is connected to
}

// ApprovalReminder is a short message in addition to the one that waits.
type ApprovalReminder struct {
	Number int    `json:"number"` // from 1 on, escalations included
	Text   string `json:"text"`   // plain, in the message's language
}

// ApprovalMessage is what all channels show of a request, each within its limits. Its texts are plain: a channel
// escapes them.
type ApprovalMessage struct {
	RequestID string        `json:"requestId"`
	Digest    string        `json:"digest"`  // the first twelve digits of the request's
	Version   int64         `json:"version"` // from 1, grows with every change
	Lang      string        `json:"lang"`    // en or ru
	Kind      ApprovalKind  `json:"kind"`
	State     ApprovalState `json:"state"`
	Action    string        `json:"action"`
	Title     string        `json:"title"`
	// Arguments are the request's, in canonical form; Fields are the same for people: one for each key, sorted.
	Arguments     json.RawMessage    `json:"arguments,omitempty"`
	Fields        []ApprovalField    `json:"fields,omitempty"`
	Justification string             `json:"justification,omitempty"` // the agent's words
	Risk          string             `json:"risk,omitempty"`          // the agent's words
	Links         []ApprovalLink     `json:"links,omitempty"`
	Options       []string           `json:"options,omitempty"`
	FreeText      bool               `json:"freeText,omitempty"`
	Context       string             `json:"context"` // whose work it is: repository, issue, stage, role, who started it
	IssueURL      string             `json:"issueUrl,omitempty"`
	Deadline      time.Time          `json:"deadline"` // UTC
	Quorum        int                `json:"quorum"`   // how many must say yes
	Votes         []ApprovalVoteLine `json:"votes,omitempty"`
	Outcome       string             `json:"outcome,omitempty"` // a line for people; "" = not decided
}

// ApprovalField is one argument as people read it; anything but a text or a number is JSON.
type ApprovalField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ApprovalVoteLine is a vote that counts.
type ApprovalVoteLine struct {
	Who    string    `json:"who"` // GitHub login, "bob for alice" of a deputy, "http:" and the name of an HTTP approver
	Choice Choice    `json:"choice"`
	Text   string    `json:"text,omitempty"` // a reason, or the answer in words
	At     time.Time `json:"at"`             // UTC
}

// ApprovalRefused says that a vote does not count, and what to say to whoever cast it.
type ApprovalRefused struct {
	RequestID string `json:"requestId"`
	VoteID    string `json:"voteId"`
	By        Voter  `json:"by"`
	Reason    string `json:"reason"` // of the list in shared/approval
	Text      string `json:"text"`   // plain, for the person
}

// EventSubject is the request's id.
func (a ApprovalRefused) EventSubject() string { return a.RequestID }

// ApprovalDecided is the end of a request; every request has one, once.
type ApprovalDecided struct {
	RunRef
	RequestID string          `json:"requestId"`
	Kind      ApprovalKind    `json:"kind"`
	Action    string          `json:"action"`
	Arguments json.RawMessage `json:"arguments,omitempty"` // as they were shown
	Digest    string          `json:"digest"`
	Outcome   ApprovalState   `json:"outcome"`          // a final one
	By        []string        `json:"by,omitempty"`     // like Who of ApprovalVoteLine; empty if no person did it
	People    []GitHubAccount `json:"people,omitempty"` // those of By who are known, by whose right it holds
	Option    int             `json:"option,omitempty"` // of an answered question, from 1 on; 0 = Text
	Text      string          `json:"text,omitempty"`   // the answer, the reason of a denial, or why it ended
	At        time.Time       `json:"at"`               // UTC
}

// EventSubject is the request's id.
func (a ApprovalDecided) EventSubject() string { return a.RequestID }

// ApprovalDelivered says that a place shows a version of the message.
type ApprovalDelivered struct {
	RequestID string `json:"requestId"`
	Version   int64  `json:"version"`
	ApprovalTarget
}

// EventSubject is the request's id.
func (a ApprovalDelivered) EventSubject() string { return a.RequestID }

// Patience is how long a place may not work before it counts as unreachable and another one stands in.
const Patience = 10 * time.Minute

// ApprovalUndeliverable says that a place can't show a version of the message.
type ApprovalUndeliverable struct {
	RequestID string `json:"requestId"`
	Version   int64  `json:"version"`
	ApprovalTarget
	Reason  string `json:"reason"`  // blocked, kicked, not_found, unauthorized, not_connected, …
	Message string `json:"message"` // for a person, with what to do
}

// EventSubject is the request's id.
func (a ApprovalUndeliverable) EventSubject() string { return a.RequestID }

// ApprovalUnanswered says that an HTTP approver has given up on a request, has said nothing about it for long, or could
// not be asked, so it is to be asked again while the request is open. It comes due later: one that gives up at once is
// not asked without a pause.
type ApprovalUnanswered struct {
	RequestID string `json:"requestId"`
	ApprovalTarget
	Attempt string    `json:"attempt"`      // where the message was, in the channel's words; "" = nowhere
	Due     time.Time `json:"due,omitzero"` // UTC
}

// EventSubject is the request's id.
func (a ApprovalUnanswered) EventSubject() string { return a.RequestID }

// The types, one constant string per payload.
func (ApprovalRequested) EventType() string     { return Prefix + "approval.requested" }
func (ApprovalVoted) EventType() string         { return Prefix + "approval.voted" }
func (ApprovalDue) EventType() string           { return Prefix + "approval.due" }
func (ApprovalChanged) EventType() string       { return Prefix + "approval.changed" }
func (ApprovalRefused) EventType() string       { return Prefix + "approval.refused" }
func (ApprovalDecided) EventType() string       { return Prefix + "approval.decided" }
func (ApprovalDelivered) EventType() string     { return Prefix + "approval.delivered" }
func (ApprovalUndeliverable) EventType() string { return Prefix + "approval.undeliverable" }
func (ApprovalUnanswered) EventType() string    { return Prefix + "approval.unanswered" }
