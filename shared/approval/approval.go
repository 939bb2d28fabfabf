// Package approval decides requests to people: may an agent's tool run, may a label be set, which of these options is
// it. Approvals and questions are the same thing, a request.
//
// The caller makes a Request and seals it: Seal checks it and binds it to a digest of what is asked. For the action and
// the agent's role the policy, which is data, says who may decide, how many must, by when, and where they are told.
// Decide takes the ticket (the request with everything that followed), what has happened, and the time; it returns the
// new ticket and what to emit. It makes no calls: what it must know about people comes with the input.
//
// The states of a ticket; a final one never changes:
//
//	requested ──── open ──┬── approved    enough people have said yes
//	    │   it is told    ├── denied      somebody may and did say no, or the time was up and the policy says that is no
//	    │                 ├── answered    a question has its answer
//	    └─────────────────┼── expired     the time was up
//	     the same, but    ├── withdrawn   its run is over
//	                      └── superseded  the same is asked of another commit
//
// A ticket stays requested as long as quiet hours keep it from being sent. Whoever knows of it may decide it anyway.
//
// A vote that does not count has its own reason, for the audit, and words for the person who cast it. A person who may
// not decide learns only that.
//
// The package is pure.
package approval

import (
	"slices"
	"time"

	"codexk8s.dev/shared/access"
	"codexk8s.dev/shared/events"
)

// Types that are part of events are defined there and have short names here.
type (
	Request  = events.ApprovalRequested
	Kind     = events.ApprovalKind
	State    = events.ApprovalState
	Vote     = events.ApprovalVoted
	Voter    = events.Voter
	Choice   = events.Choice
	Link     = events.ApprovalLink
	Message  = events.ApprovalMessage
	Field    = events.ApprovalField
	VoteLine = events.ApprovalVoteLine
	Target   = events.ApprovalTarget
)

// The states; all but the first two are final, as State.Final says.
const (
	Requested  State = "requested"
	Open       State = "open"
	Approved   State = "approved"
	Denied     State = "denied"
	Answered   State = "answered"
	Expired    State = "expired"
	Withdrawn  State = "withdrawn"
	Superseded State = "superseded"
)

// The channels by which people are asked and answer.
const (
	GitHub     = "github"
	Telegram   = "telegram"
	Slack      = "slack"
	Mattermost = "mattermost"
	Jira       = "jira"
	HTTP       = "http"    // an approver or executor that speaks our contract
	Console    = "console" // answers only: nothing is sent there
)

// All means, in a policy, every channel that is connected.
const All = "all"

// Channels are those to which a message can be sent.
var Channels = []string{GitHub, Telegram, Slack, Mattermost, Jira, HTTP}

// Person is who voted, as the platform knows them by their account in the channel.
type Person struct {
	events.GitHubAccount
	Role access.Role // in the project of the request; "" = none
	Bot  bool        // a program, an agent or an App: it can't vote, whatever its role
	// Approver is the name of an HTTP approver, which does not say who answered there; then the rest is empty.
	Approver string
}

// Ticket is a request with everything that followed: the aggregate, one decision at a time. It is stored as JSON. The
// zero Ticket is a request that nobody has made yet.
type Ticket struct {
	Request Request   `json:"request"`
	Terms   Terms     `json:"terms"` // by which it is decided, fixed when it was asked
	State   State     `json:"state"`
	Version int64     `json:"version"`           // of what the channels show
	Votes   []Cast    `json:"votes,omitempty"`   // that count, the newest of each person, in order
	Past    []string  `json:"past,omitempty"`    // of votes that count no more, or never: see mark
	Places  []Place   `json:"places,omitempty"`  // where the message is to be seen
	Round   int       `json:"round"`             // of the timer that is set
	Told    time.Time `json:"told"`              // when the terms' times begin: when the message went out, or will
	Expires time.Time `json:"expires"`           // when nobody can decide any more
	Reminds int       `json:"reminds,omitempty"` // how many reminders have come due
	Level   int       `json:"level,omitempty"`   // how many steps of the ladder were taken
	Outcome *Outcome  `json:"outcome,omitempty"` // nil = not decided
}

// Cast is a vote that counts.
type Cast struct {
	Vote Vote   `json:"vote"`
	Who  string `json:"who"`           // login, or "http:" and an HTTP approver's name
	ID   int64  `json:"id,omitempty"`  // GitHub's number of the account; 0 = not known
	For  string `json:"for,omitempty"` // the login in whose place a deputy voted; "" = their own
}

// Place is where the message is shown, and what is known about it there.
type Place struct {
	Target
	Version int64  `json:"version,omitempty"` // that is shown; 0 = none yet
	Failed  string `json:"failed,omitempty"`  // why it can't be shown; "" = it can, as far as is known
}

// Outcome is how a ticket ended.
type Outcome struct {
	By     []string  `json:"by,omitempty"`     // as VoteLine has them
	Option int       `json:"option,omitempty"` // of a question, from 1 on; 0 = Text
	Text   string    `json:"text,omitempty"`   // the answer, or the reason of a denial
	Reason string    `json:"reason,omitempty"` // why it ended without a person's decision
	At     time.Time `json:"at"`
}

// Supersedes reports whether r asks the same as old about another commit, so that old needs no answer any more.
func Supersedes(r, old Request) bool {
	return r.RunID == old.RunID && r.ID != old.ID && r.Kind == old.Kind && r.Action == old.Action &&
		slices.Equal(r.Arguments, old.Arguments) && (r.Kind != events.KindQuestion || r.Title == old.Title)
}

// ShortDigest is the part of a request's digest that people see and buttons carry.
func ShortDigest(r Request) string { return r.Digest[:min(shortDigest, len(r.Digest))] }

const shortDigest = 12
