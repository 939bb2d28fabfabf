package chat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/reason"
)

// slackWindow is how old or new a request's timestamp may be:
// https://docs.slack.dev/authentication/verifying-requests-from-slack
const slackWindow = 5 * time.Minute

// slackPayload is what we read of block_actions and view_submission.
// https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
type slackPayload struct {
	Type string `json:"type"`
	User struct {
		ID       string `json:"id"`
		Username string `json:"username"`
		Name     string `json:"name"`
	} `json:"user"`
	Trigger     string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Container   struct {
		Channel string `json:"channel_id"`
		TS      string `json:"message_ts"`
	} `json:"container"`
	Actions []struct {
		Value string `json:"value"`
	} `json:"actions"`
	View struct {
		ID       string `json:"id"`
		Metadata string `json:"private_metadata"`
		State    struct {
			Values map[string]map[string]struct {
				Value string `json:"value"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// Read takes an interaction, a click or a modal that was sent, or the slash command by which a code comes. The clock is
// for the timestamp, against replays. Slack wants the answer within three seconds.
func (c *Slack) Read(r *http.Request, body []byte, now time.Time) (Callback, error) {
	if err := bounded(body); err != nil {
		return Callback{}, err
	}
	if err := c.verify(r.Header, body, now); err != nil {
		return Callback{}, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return Callback{}, malformed("a callback of Slack: %v", err)
	}
	if form.Has("command") {
		return readSlackCommand(form), nil
	}
	if !form.Has("payload") {
		return Callback{Kind: Nothing, Why: "not_for_us"}, nil // such as ssl_check
	}
	var p slackPayload
	if err := plain.Unmarshal([]byte(form.Get("payload")), &p); err != nil {
		return Callback{}, malformed("a payload of Slack: %v", err)
	}
	switch {
	case p.Type == "block_actions" && len(p.Actions) > 0 && p.User.ID != "":
		return c.readClick(p, now), nil
	case p.Type == "view_submission" && p.User.ID != "":
		return c.readModal(p, now)
	}
	return Callback{Kind: Nothing, Why: "not_for_us"}, nil
}

// verify checks the signature over the raw body. slack-go has a verifier, too, but one with a clock of its own.
func (c *Slack) verify(h http.Header, body []byte, now time.Time) error {
	stamp, signature := h.Get("X-Slack-Request-Timestamp"), h.Get("X-Slack-Signature")
	if stamp == "" || signature == "" {
		return forged(reason.NoSignature, "the headers X-Slack-Signature and X-Slack-Request-Timestamp are needed")
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); err != nil || age > slackWindow {
		return forged(reason.Stale, "the timestamp is not of the last five minutes: a replay, or a clock is wrong")
	}
	known := false
	for _, secret := range c.Secrets {
		if len(secret) == 0 {
			continue
		}
		sum := hmac.New(sha256.New, secret)
		sum.Write([]byte("v0:" + stamp + ":"))
		sum.Write(body)
		if hmac.Equal([]byte("v0="+hex.EncodeToString(sum.Sum(nil))), []byte(signature)) {
			known = true
		}
	}
	if !known {
		return forged(reason.WrongSignature, "the signature fits none of our signing secrets")
	}
	return nil
}

func (p slackPayload) voter(chat string) events.Voter {
	name := p.User.Username
	if name == "" {
		name = p.User.Name
	}
	return events.Voter{Channel: approval.Slack, Account: oneLine(p.User.ID, 64), Name: oneLine(name, 100), Chat: chat}
}

func (c *Slack) readClick(p slackPayload, now time.Time) Callback {
	cb := Callback{
		Kind: Nothing, Why: reason.UnknownButton, Ref: Ref{Chat: oneLine(p.Container.Channel, 64), Message: oneLine(p.Container.TS, 64)},
		trigger: p.Trigger, back: p.ResponseURL,
	}
	by := p.voter(cb.Ref.Chat)
	t, err := open(c.Keys, approval.Slack, "", p.Actions[0].Value)
	if err != nil {
		cb.Vote.By = by
		return cb
	}
	cb.Kind, cb.Why, cb.tag, cb.Vote = Voted, "", t, t.vote(approval.Slack)
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "slack:"+oneLine(p.Trigger, 200), by, at(now)
	if t.asks() {
		cb.Kind = Asked
	}
	return cb
}

// readModal takes the words of a modal. What it should say that does not count, it shows in the modal's place.
func (c *Slack) readModal(p slackPayload, now time.Time) (Callback, error) {
	var state slackState
	if err := plain.Unmarshal([]byte(p.View.Metadata), &state); err != nil {
		return Callback{Kind: Nothing, Why: "not_for_us"}, nil //nolint:nilerr // another app's modal would be one
	}
	cb := Callback{Kind: Nothing, Why: reason.UnknownButton, Ref: state.Ref}
	by := p.voter(state.Ref.Chat)
	t, err := open(c.Keys, approval.Slack, "", state.Tag)
	if err != nil || !t.asks() {
		cb.Vote.By = by
		return cb, nil //nolint:nilerr // a modal that is not ours means nothing
	}
	w := t.words()
	cb.answer = func(words string, counted bool) Response {
		if counted || words == "" {
			return Response{Status: http.StatusOK}
		}
		return respond(object{"response_action": "update", "view": slackModal(w.request, w.cancel, object{
			"type": "section", "text": slackPlain(words, slackBlock),
		})})
	}
	cb.tag, cb.Vote = t, t.vote(approval.Slack)
	cb.Vote.ID, cb.Vote.By, cb.Vote.At = "slack:"+oneLine(p.View.ID, 200), by, at(now)
	if cb.Vote.Text = inWords(p.View.State.Values[slackField][slackField].Value); cb.Vote.Text == "" {
		cb.Why = reason.NoWords
		return cb, nil
	}
	cb.Kind, cb.Why = Voted, ""
	return cb, nil
}

// code is the one-time code in the text of a command, with or without the word link before it.
var code = regexp.MustCompile(`^\s*(?:link\s+)?([A-Za-z0-9_-]{4,64})\s*$`)

// readSlackCommand takes "/codexk8s link CODE". Only the person sees the command and its answer.
// https://docs.slack.dev/interactivity/implementing-slash-commands
func readSlackCommand(form url.Values) Callback {
	cb := Callback{Kind: Nothing, Why: reason.UnknownCommand}
	cb.Vote.By = slackPayload{}.voter(oneLine(form.Get("channel_id"), 64))
	cb.Vote.By.Account, cb.Vote.By.Name = oneLine(form.Get("user_id"), 64), oneLine(form.Get("user_name"), 100)
	cb.answer = func(words string, _ bool) Response {
		if words == "" {
			return Response{Status: http.StatusOK}
		}
		return respond(object{"response_type": "ephemeral", "text": escapeSlack(oneLine(words, slackBlock))})
	}
	if found := code.FindStringSubmatch(form.Get("text")); found != nil && !strings.EqualFold(found[1], "link") && cb.Vote.By.Account != "" {
		cb.Kind, cb.Why, cb.Code = Linked, "", found[1]
	}
	return cb
}
