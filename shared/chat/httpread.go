package chat

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// httpResult is the body of a callback, and of an answer at once.
type httpResult struct {
	CorrelationID string          `json:"correlation_id"`
	Decision      string          `json:"decision"` // of an approver: approve, deny, error, pending
	Reason        string          `json:"reason"`
	Status        string          `json:"status"` // of an executor: success, error, pending
	Result        json.RawMessage `json:"result"` // an object on success, else a text
}

// word is the decision or the status.
func (r httpResult) word() string {
	if r.Decision != "" {
		return strings.ToLower(r.Decision)
	}
	return strings.ToLower(r.Status)
}

// Read takes the callback of an attempt: POST …/webhook/<name>/<tag>. The answer is 200 for what counted, 404 for an id
// that is unknown or finished, and 400 for what can't be read.
func (c *HTTP) Read(r *http.Request, body []byte, now time.Time) (Callback, error) {
	if err := bounded(body); err != nil {
		return Callback{}, err
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	unknown := &Unfit{Status: http.StatusNotFound, Reason: reason.WrongSignature, Said: "the address is of no attempt of ours, or the correlation_id is another one's"}
	if len(parts) < 2 {
		return Callback{}, unknown
	}
	name, sealed := parts[len(parts)-2], parts[len(parts)-1]
	from, known := c.Approvers[name]
	if !known {
		return Callback{}, unknown
	}
	if len(from.Secrets) > 0 {
		if err := verify(from.Secrets, r.Header, body, now); err != nil {
			return Callback{}, err
		}
	}
	var result httpResult
	if err := plain.Unmarshal(body, &result); err != nil {
		return Callback{}, malformed("a callback of approver %s: %v", name, err)
	}
	ref := Ref{Chat: name, Message: result.CorrelationID}
	t, err := open(c.Keys, approval.HTTP, bound(ref), sealed)
	if err != nil || t.means != attempt {
		return Callback{}, unknown
	}
	cb, err := result.read(ref, t, now)
	if err != nil {
		return Callback{}, err
	}
	cb.answer = func(words string, counted bool) Response {
		if !counted && cb.Kind == Voted {
			out := respond(object{"status": "finished", "error": words})
			out.Status = http.StatusNotFound
			return out
		}
		return respond(object{"status": "resolved"})
	}
	return cb, nil
}

// CallbackRefused tells an approver why its callback is refused, in the contract's words: CallbackAnswer.
func CallbackRefused(status int, why, said string) Response {
	out := respond(object{"status": "refused", "reason": why, "error": said})
	out.Status = status
	return out
}

// read says what a result means. One attempt is one vote, whatever is sent of it later.
func (r httpResult) read(ref Ref, t tag, now time.Time) (Callback, error) {
	cb := Callback{Kind: Voted, Ref: ref, tag: t, Vote: t.vote(approval.HTTP)}
	cb.Vote.ID, cb.Vote.At, cb.Vote.Text = "http:"+ref.Chat+":"+ref.Message, at(now), inWords(r.Reason)
	cb.Vote.By = events.Voter{Channel: approval.HTTP, Account: ref.Chat, Name: ref.Chat, Chat: ref.Chat}
	switch r.word() {
	case "approve":
		cb.Vote.Choice = events.Approve
	case "deny":
		cb.Vote.Choice = events.Deny
	case "success":
		return cb, r.answered(&cb.Vote)
	case "error":
		cb.Kind, cb.Why = GaveUp, "approver_gave_up"
		if r.Decision == "" {
			var words string
			_ = json.Unmarshal(r.Result, &words) // no text has no words
			cb.Vote.Text = inWords(words)
		}
	default:
		return Callback{}, malformed("the decision or status %q is not one of approve, deny, success, error", oneLine(r.word(), 40))
	}
	return cb, nil
}

// answered reads an executor's answer: an option by its place, counted from 0, or a text.
func (r httpResult) answered(v *events.ApprovalVoted) error {
	var result struct {
		Option string `json:"selected_option"`
		Index  *int   `json:"selected_index"`
		Custom bool   `json:"custom"`
	}
	if err := json.Unmarshal(r.Result, &result); err != nil {
		return malformed("an executor's result: %v", err)
	}
	v.Choice = events.Answer
	switch {
	case !result.Custom && result.Index != nil && *result.Index >= 0 && *result.Index < 5:
		v.Option, v.Words = *result.Index+1, inWords(result.Option)
	case result.Custom && inWords(result.Option) != "":
		v.Text = inWords(result.Option)
	default:
		return malformed("an executor's result has neither an option nor an answer in words")
	}
	return nil
}

// signed is what the optional signature is over: the time, against replays, and the body.
func signed(stamp string, body []byte) []byte { return append([]byte(stamp+"."), body...) }

func verify(secrets webhook.Secrets, h http.Header, body []byte, now time.Time) error {
	stamp := h.Get(HeaderTimestamp)
	err := secrets.Verify(h.Get(HeaderSignature), signed(stamp, body))
	switch {
	case stamp == "" || errors.Is(err, webhook.ErrNoSignature):
		return forged(reason.NoSignature, "the headers "+HeaderTimestamp+" and "+HeaderSignature+" are needed: this approver has a secret")
	case err != nil:
		return forged(reason.WrongSignature, "the signature fits none of the approver's secrets")
	}
	if seconds, err := strconv.ParseInt(stamp, 10, 64); err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > httpWindow {
		return forged(reason.Stale, "the timestamp is not of the last five minutes: a replay, or a clock is wrong")
	}
	return nil
}
