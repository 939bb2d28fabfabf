package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
)

// A wire carries the callbacks of the chats to the function. On it they can be changed, before they are signed or
// after, and are kept to be sent again.
type wire struct {
	mu             sync.Mutex
	before, signed func(*letter)
	last           letter // as it was sent
	status         int    // that the last one was answered with
	said           string
	answers        []string // all that was said
}

// A letter is a callback.
type letter struct {
	url    string
	header http.Header
	body   []byte
}

// RoundTrip sends a callback of a fake chat.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	l := letter{r.URL.String(), r.Header.Clone(), body}
	w.mu.Lock()
	before, signed := w.before, w.signed
	w.mu.Unlock()
	if before != nil {
		before(&l)
	}
	l.sign("fake-secret", time.Now())
	if signed != nil {
		signed(&l)
	}
	return w.send(r.Context(), l)
}

func (w *wire) send(ctx context.Context, l letter) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(l.body))
	if err != nil {
		return nil, err
	}
	r.Header = l.header.Clone()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(said))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.status, w.said = l, res.StatusCode, string(said)
	w.answers = append(w.answers, w.said)
	return res, err
}

// channel is whose callback it is: the first part of its path.
func (l *letter) channel() string {
	u, _ := url.Parse(l.url)
	return strings.Split(u.Path, "/")[1]
}

// sign signs as the channel does.
func (l *letter) sign(secret string, at time.Time) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	switch l.channel() {
	case approval.Telegram:
		l.header.Set("X-Telegram-Bot-Api-Secret-Token", secret)
	case approval.Slack:
		sum := hmac.New(sha256.New, []byte(secret))
		sum.Write([]byte("v0:" + stamp + ":" + string(l.body)))
		l.header.Set("X-Slack-Request-Timestamp", stamp)
		l.header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(sum.Sum(nil)))
	case approval.Jira:
		l.header.Set("X-Hub-Signature", webhook.Sign([]byte(secret), l.body))
	case "approvals", "executors":
		l.header.Set(chat.HeaderTimestamp, stamp)
		l.header.Set(chat.HeaderSignature, webhook.Sign([]byte(secret), []byte(stamp+"."+string(l.body))))
	}
}

// unsign takes off all by which a callback is known to be genuine.
func (l *letter) unsign() {
	for _, name := range []string{"X-Telegram-Bot-Api-Secret-Token", "X-Slack-Signature", "X-Hub-Signature", chat.HeaderSignature} {
		l.header.Del(name)
	}
	if l.channel() == approval.Mattermost { // which signs nothing: our own tag in the button is the proof
		l.edit(func(o object) { o["context"] = object{} })
	}
}

type object = map[string]any

// edit changes the JSON of a callback.
func (l *letter) edit(do func(object)) {
	l.rewrite(func(text string) string {
		d, o := json.NewDecoder(strings.NewReader(text)), object{}
		d.UseNumber()
		if err := d.Decode(&o); err != nil {
			panic(err)
		}
		do(o)
		out, _ := json.Marshal(o)
		return string(out)
	})
}

// rewrite changes the text of the JSON, which at Slack is a field of a form.
func (l *letter) rewrite(do func(string) string) {
	if form, err := url.ParseQuery(string(l.body)); err == nil && form.Has("payload") {
		form.Set("payload", do(form.Get("payload")))
		l.body = []byte(form.Encode())
		return
	}
	l.body = []byte(do(string(l.body)))
}

// decide does what approval-gate does with a vote: the same step on the same database.
func (f *fixture) decide(gate *store.DB) func(context.Context, ...event.Event) error {
	return func(ctx context.Context, es ...event.Event) error {
		for _, e := range es {
			var v events.ApprovalVoted
			if e.Type() != v.EventType() {
				continue
			}
			if err := e.DataAs(&v); err != nil {
				return err
			}
			_, err := gate.Step(ctx, e, "approval/"+v.RequestID, func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
				t, err := tx.Ticket(ctx, v.RequestID)
				if err != nil {
					return events.Decision{}, err
				}
				in, err := tx.Voted(ctx, t, v)
				if err != nil {
					return events.Decision{}, err
				}
				next, d, err := approval.Decide(t, in, tx.Now())
				if err != nil {
					return events.Decision{}, err
				}
				return events.Decision{Audit: d.Audit}, tx.SaveTicket(ctx, next)
			})
			if err != nil {
				f.Errorf("approval-gate refuses %s: %v", e.Data(), err)
			}
		}
		return nil
	}
}
