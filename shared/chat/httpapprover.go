package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
)

// HTTP is any number of approvers and executors that speak the contract of telegram-approver (POST /approve, for
// approvals) and telegram-executor (POST /execute, for questions). A target is the name of one.
//
// What is special about the contract, and how it is met:
//
//   - The body decides and not the status: "error" comes with 202 as well, and fails.
//   - An id counts once, even if what it was sent for failed. So every attempt has an id of its own, a UUID, which fits
//     into all their buttons.
//   - The callback is sent once, whatever comes of it, and an approver that restarts forgets what it was asked. So it
//     is asked again while its answer is waited for, under another id; all may be answered, and the first answer
//     counts.
//   - It does not say who answered, and is not signed. So the address of the callback holds a MAC over the approver and
//     the attempt, and the vote is the approver's own. An approver that shares a secret with us signs, too.
//   - Only markup "markdown" works, and what it makes of our texts has to fit into a message of Telegram.
//   - Nothing is edited there. How a request ended it is told at POST /decided, which is our own addition: who does not
//     serve that shows how its own click ended.
type HTTP struct {
	Approvers map[string]Approver // by name
	Callback  string              // our base URL, to which /approvals/webhook/<name>/<tag> or /executors/webhook/… is added
	Keys      webhook.Secrets     // of our own, for the callbacks
	Client    *http.Client        // NewGuardedClient
	Now       func() time.Time
}

// Approver is one of them.
type Approver struct {
	URL     string          // base URL, without /approve
	Secrets webhook.Secrets // both sides sign with; none = nobody signs
}

// Headers of the optional signature.
const (
	HeaderTimestamp = "X-Codexk8s-Timestamp" // seconds since 1970
	HeaderSignature = "X-Codexk8s-Signature" // "sha256=" and the HMAC of timestamp, ".", and body in hexadecimal digits
)

const (
	httpWindow  = 5 * time.Minute
	leastText   = 10 // characters that the contract wants
	mostText    = 500
	mostJSON    = 1400 // of the arguments, as the approver writes them
	leastAnswer = 60   // seconds
)

// Post asks an approver, under a new id. A message that is decided is asked of nobody.
func (c *HTTP) Post(ctx context.Context, target string, m events.ApprovalMessage) (Posted, error) {
	to, known := c.Approvers[target]
	if !known {
		return Posted{}, &Refused{Channel: approval.HTTP, Reason: reason.NotFound, Said: fmt.Sprintf("no approver has the name %q", target)}
	}
	if m.State.Final() {
		return Posted{Ref: Ref{Chat: target}}, nil
	}
	t, err := tagOf(m)
	if err != nil {
		return Posted{}, err
	}
	ref := Ref{Chat: target, Message: uuid.NewString()}
	path, back, body := "/approve", "/approvals/webhook/", c.approveBody(m)
	if m.Kind == events.KindQuestion {
		if len(m.Options) < 2 {
			return Posted{}, &Refused{Channel: approval.HTTP, Reason: reason.NotShowable, Said: "an executor takes questions with 2 to 5 options"}
		}
		path, back, body = "/execute", "/executors/webhook/", c.executeBody(m)
	}
	body["correlation_id"] = ref.Message
	body["callback"] = object{"url": strings.TrimRight(c.Callback, "/") + back + target + "/" + seal(c.Keys, approval.HTTP, bound(ref), t.as(attempt))}
	said, err := c.send(ctx, to, path, ref, body)
	if err != nil {
		return Posted{}, fmt.Errorf("asking approver %s about request %s: %w", target, m.RequestID, err)
	}
	return c.posted(said, ref, t)
}

// bound is what a callback's tag is good for.
func bound(ref Ref) string { return ref.Chat + "\n" + ref.Message }

// Edit tells an approver how the request ended; what was asked can't be changed. Whatever it refuses, it need not show
// that.
func (c *HTTP) Edit(ctx context.Context, ref Ref, m events.ApprovalMessage) error {
	to, known := c.Approvers[ref.Chat]
	if !known || ref.Message == "" || !m.State.Final() {
		return nil
	}
	_, err := c.send(ctx, to, "/decided", ref, object{"correlation_id": ref.Message, "state": m.State, "outcome": m.Outcome, "lang": lang(m)})
	if _, refused := AsRefused(err); refused {
		return nil
	}
	if err != nil {
		return fmt.Errorf("telling approver %s how request %s ended: %w", ref.Chat, m.RequestID, err)
	}
	return nil
}

// Remind asks again, in case the first attempt or its answer was lost.
func (c *HTTP) Remind(ctx context.Context, ref Ref, m events.ApprovalMessage, _ string) (Posted, error) {
	return c.Post(ctx, ref.Chat, m)
}

// Ask has nothing to do: an approver asks for reasons itself.
func (c *HTTP) Ask(context.Context, Callback) error { return nil }

// Tell has nothing to do: the response has said it.
func (c *HTTP) Tell(context.Context, Callback, string) error { return nil }

// common are the fields of both contracts.
func (c *HTTP) common(m events.ApprovalMessage) object {
	left := max(int(m.Deadline.Sub(c.Now()).Seconds()), leastAnswer)
	return object{"lang": lang(m), "markup": "markdown", "timeout_sec": left}
}

// lang is a language that the contract knows.
func lang(m events.ApprovalMessage) string {
	if m.Lang == "ru" {
		return "ru"
	}
	return "en"
}

func (c *HTTP) approveBody(m events.ApprovalMessage) object {
	w := wordsIn(m.Lang)
	links := []object{}
	if l, ok := linkTo(w.issue, m.IssueURL); ok {
		links = append(links, object{"text": l.text, "url": l.url})
	}
	for _, offered := range m.Links {
		if l, ok := linkTo(offered.Text, offered.URL); ok && len(links) < maxLinks {
			links = append(links, object{"text": l.text + " (" + l.host + ")", "url": l.url})
		}
	}
	body := c.common(m)
	body["tool"], body["arguments"], body["links_to_code"] = oneLine(m.Action, 100), shortArguments(m, w), links
	body["approval_request"] = between(oneLine(m.Title, maxTitle)+"\n"+oneLine(m.Context, maxContext-leastText), w)
	body["justification"], body["risk_assessment"] = between(m.Justification, w), between(m.Risk, w)
	return body
}

// between makes a text as long as the contract wants one.
func between(s string, w words) string {
	if s = readable(s); s == "" {
		return w.noWords
	}
	if r := []rune(s); len(r) > mostText {
		mark := []rune(w.cut)
		s = string(r[:mostText-len(mark)]) + w.cut
	}
	return s + strings.Repeat(".", max(0, leastText-len([]rune(s))))
}

// shortArguments are the arguments, or the beginning of their text if they would not fit into the approver's message.
func shortArguments(m events.ApprovalMessage, w words) any {
	var all map[string]any
	if json.Unmarshal(m.Arguments, &all) != nil || all == nil {
		all = map[string]any{}
	}
	if size(all) <= mostJSON {
		return all
	}
	for text := arguments(m); ; text = cutTo(text, length(text)*3/4) {
		if short := (object{"arguments": text + w.cut, strings.TrimSuffix(w.all, ":"): m.IssueURL}); size(short) <= mostJSON || text == "" {
			return short
		}
	}
}

// size is how long the approver's JSON of it is.
func size(v any) int {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return mostJSON + 1
	}
	return len(text)
}

func (c *HTTP) executeBody(m events.ApprovalMessage) object {
	w := wordsIn(m.Lang)
	options := make([]string, min(len(m.Options), 5))
	for i := range options {
		if options[i] = oneLine(m.Options[i], maxOption); options[i] == "" {
			options[i] = strconv.Itoa(i + 1)
		}
	}
	question := oneLine(m.Title, 600)
	body := c.common(m)
	body["tool"] = object{"name": "question", "title": w.question, "description": oneLine(m.Context, maxContext)}
	body["arguments"] = object{
		"question": question + strings.Repeat(".", max(0, leastText-len([]rune(question)))), "options": options, "allow_custom": m.FreeText,
		"context": strings.TrimSpace(oneLine(m.Context, maxContext) + "\n" + cutTo(readable(m.Justification), 1000)),
	}
	body["spec"] = object{
		"kind": "telegram_feedback_v1", "options_min": 2, "options_max": 5, "allow_custom_option": m.FreeText, "allow_voice_custom_option": m.FreeText,
	}
	return body
}

// send calls an approver and sorts what can be told by the status; a success is for posted to read.
func (c *HTTP) send(ctx context.Context, to Approver, path string, ref Ref, body object) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("writing JSON: %w", err)
	}
	header := http.Header{"Idempotency-Key": {ref.Message}}
	if len(to.Secrets) > 0 {
		stamp := strconv.FormatInt(c.Now().Unix(), 10)
		header[HeaderTimestamp], header[HeaderSignature] = []string{stamp}, []string{webhook.Sign(to.Secrets[0], signed(stamp, text))}
	}
	a, err := send(ctx, c.Client, http.MethodPost, strings.TrimRight(to.URL, "/")+path, header, text)
	refused := func(why, detail string) error {
		return &Refused{Channel: approval.HTTP, Reason: why, Said: strings.TrimSpace(fmt.Sprintf("%s: %s %s", path, detail, said(a.body)))}
	}
	switch {
	case errors.Is(err, errInside):
		return a, refused(reason.NotAllowed, err.Error())
	case err != nil:
		return a, err
	case a.status < 300:
		return a, nil
	case a.status < 400:
		return a, refused(reason.Rejected, "it redirects, which is not followed")
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		return a, &Later{Channel: approval.HTTP, After: retryAfter(a.header), Said: said(a.body)}
	case a.status >= 500, a.status == http.StatusRequestTimeout, a.status == http.StatusConflict:
		return a, fmt.Errorf("%s answered %d %s", path, a.status, said(a.body))
	}
	why := map[int]string{401: reason.Unauthorized, 403: reason.Unauthorized, 404: reason.NotFound, 405: reason.NotFound, 410: reason.NotFound, 413: reason.TooLarge}[a.status]
	if why == "" {
		why = reason.Rejected
	}
	return a, refused(why, strconv.Itoa(a.status))
}

// posted reads the body of a success: pending, or a decision at once.
func (c *HTTP) posted(a answer, ref Ref, t tag) (Posted, error) {
	out := Posted{Ref: ref}
	if len(strings.TrimSpace(string(a.body))) == 0 {
		return out, nil // an empty 202 means pending
	}
	var result httpResult
	if err := json.Unmarshal(a.body, &result); err != nil {
		return Posted{}, fmt.Errorf("approver %s answered %d and no JSON: %s", ref.Chat, a.status, said(a.body))
	}
	if result.word() == "pending" {
		return out, nil
	}
	cb, err := result.read(ref, t, c.Now())
	switch {
	case err != nil:
		return Posted{}, fmt.Errorf("approver %s: %w", ref.Chat, err)
	case cb.Kind == GaveUp:
		return Posted{}, fmt.Errorf("approver %s answered %d with an error: %s", ref.Chat, a.status, oneLine(cb.Vote.Text, 300))
	}
	out.Vote = &cb.Vote
	return out, nil
}
