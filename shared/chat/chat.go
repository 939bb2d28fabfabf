package chat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
)

// Ref is where a message stands.
type Ref struct {
	// Chat is Telegram's chat id, with the topic ("-100123/45"); Slack's or Mattermost's channel id; Jira's issue key;
	// the name of an HTTP approver.
	Chat string `json:"chat"`
	// Message is Telegram's message id, Slack's ts, Mattermost's post id, Jira's comment id ("" = the issue itself), or
	// the id of the attempt at an HTTP approver.
	Message string `json:"message,omitempty"`
}

// Posted is a message that was sent.
type Posted struct {
	Ref
	// Vote is that of an HTTP approver which decides at once; nil = none yet.
	Vote *events.ApprovalVoted
}

// A Kind says what a callback means.
type Kind string

// The kinds of callbacks.
const (
	Nothing Kind = "nothing" // Why says why; the person may be told
	Voted   Kind = "voted"   // Vote is complete but for RequestID if the channel has no buttons (Jira)
	Asked   Kind = "asked"   // a reason or an answer in words is wanted: call Ask
	Linked  Kind = "linked"  // Code is the one-time code that ties By to a user
	GaveUp  Kind = "gave_up" // an HTTP approver is through without a decision: post again while the request is open
)

// Callback is what somebody did in a channel.
type Callback struct {
	Kind Kind
	Why  string               // of Nothing and GaveUp: a code such as "unknown_button"
	Vote events.ApprovalVoted // of Voted; of Asked, GaveUp and some Nothing as far as it is known
	Code string               // of Linked
	Ref  Ref                  // the message that was acted on; empty = the channel does not say
	// Whole says that the act was on Ref.Chat itself, so it means a request that is the whole of it (Jira's transitions).
	Whole bool

	tag     tag                                       // of what was clicked
	trigger string                                    // by which Ask opens a form
	back    string                                    // where Tell sends its words
	answer  func(words string, counted bool) Response // nil = 200 without a body
}

// By is who acted.
func (c Callback) By() events.Voter { return c.Vote.By }

// Response is what a callback is answered with.
type Response struct {
	Status int
	Body   []byte // JSON; empty = none
}

// Answer is the response that the channel's server expects. The words are shown to the person who acted, if the channel
// can do so in the response; "" = nothing. Counted says that the act counted, so nobody has to be alarmed by the words.
func (c Callback) Answer(words string, counted bool) Response {
	if c.answer == nil {
		return Response{Status: http.StatusOK}
	}
	return c.answer(words, counted)
}

// MaxCallback is how long the body of a callback may be, in bytes. The longest are Jira's, which have the whole issue.
const MaxCallback = 4 << 20

// maxWords bounds a reason or an answer in words, in characters, as events.ApprovalVoted has it.
const maxWords = 2000

// Refused means that a channel will answer the same to the same call again.
type Refused struct {
	Channel string // of the list in shared/approval
	Reason  string // of shared/reason, Undelivered
	MovedTo string // of chat_moved: the target from now on
	Said    string // the channel's own words
}

func (e *Refused) Error() string {
	return fmt.Sprintf("%s refused (%s): %s", e.Channel, e.Reason, e.Said)
}

// Later means that a channel asks us to wait. Nothing is wrong with the call.
type Later struct {
	Channel string
	After   time.Duration
	Said    string
}

func (e *Later) Error() string {
	return fmt.Sprintf("%s asks to wait %s: %s", e.Channel, e.After, e.Said)
}

// Unfit means that a callback is not to be believed or can't be read.
type Unfit struct {
	Status int    // for the answer: 400, 401, 413
	Reason string // of shared/reason, Unheard
	Said   string
}

func (e *Unfit) Error() string { return "callback refused (" + e.Reason + "): " + e.Said }

func malformed(format string, args ...any) *Unfit {
	return &Unfit{Status: http.StatusBadRequest, Reason: reason.Malformed, Said: fmt.Sprintf(format, args...)}
}

func forged(why, said string) *Unfit {
	return &Unfit{Status: http.StatusUnauthorized, Reason: why, Said: said}
}

// bounded refuses a body that is too long; whoever reads it stops there as well.
func bounded(body []byte) error {
	if len(body) > MaxCallback {
		return &Unfit{Status: http.StatusRequestEntityTooLarge, Reason: reason.TooLarge, Said: fmt.Sprintf("more than %d bytes", MaxCallback)}
	}
	return nil
}

// object is JSON as it is written to a channel.
type object = map[string]any

// respond answers 200 with JSON.
func respond(body any) Response {
	text, err := json.Marshal(body)
	if err != nil { // of plain maps and texts: never
		return Response{Status: http.StatusInternalServerError}
	}
	return Response{Status: http.StatusOK, Body: text}
}
