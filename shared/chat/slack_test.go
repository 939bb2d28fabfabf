package chat_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	fakechat "codexk8s.dev/test/fakes/chat"
)

func TestSlackClick(t *testing.T) {
	w := newWorld(t)
	posted, err := w.channels[approval.Slack].Post(ctx(t), "U12", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "Deny", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last()
	want := events.ApprovalVoted{
		ID: got.cb.Vote.ID, RequestID: requestID, Digest: "3f2a9c0d1e4b", Choice: events.Deny,
		By: events.Voter{Channel: approval.Slack, Account: "U12", Name: "bob", Chat: "D12"}, At: now,
	}
	if diff := cmp.Diff(want, got.cb.Vote); diff != "" || got.cb.Kind != chat.Voted || got.cb.Ref != posted.Ref {
		t.Errorf("%s of %+v (-want +got):\n%s", got.cb.Kind, got.cb.Ref, diff)
	}
	again, err := w.channels[approval.Slack].Read(got.request, got.body, now.Add(4*time.Minute))
	if err != nil || again.Vote.ID != got.cb.Vote.ID || again.Vote.ID == "" {
		t.Errorf("the same click again is vote %q (%v), want %q", again.Vote.ID, err, got.cb.Vote.ID)
	}
}

func TestSlackReason(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Slack, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "with a reason", "bob"); err != nil {
		t.Fatal(err)
	}
	click := w.last().cb
	if click.Kind != chat.Asked {
		t.Fatalf("the click is %s, want asked", click.Kind)
	}
	if f := w.fake.Form(fakechat.Slack, "bob"); f == nil || f.Label != "Reason" {
		t.Fatalf("the form is %+v", f)
	}
	if _, err := w.fake.Fill(ctx(t), fakechat.Slack, "use the vault", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last().cb
	if got.Kind != chat.Voted || got.Vote.Choice != events.Deny || got.Vote.Text != "use the vault" || got.Vote.RequestID != requestID || got.Vote.By != click.Vote.By || got.Ref != click.Ref {
		t.Errorf("the modal is %s %+v of %+v", got.Kind, got.Vote, got.Ref)
	}
	// A trigger opens one modal.
	sorted(t, w.channels[approval.Slack].Ask(ctx(t), click), &chat.Refused{Channel: "slack", Reason: reason.Rejected})
}

// TestSlackTells: a late click is answered by the response_url, a late modal in its own place.
func TestSlackTells(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Slack, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "with a reason", "bob"); err != nil {
		t.Fatal(err)
	}
	w.words = "Too late: <ann> has approved it."
	if _, err := w.fake.Fill(ctx(t), fakechat.Slack, "no", "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "Approve", "eve"); err != nil {
		t.Fatal(err)
	}
	want := []fakechat.Told{
		{Channel: "slack", Person: "bob", Text: "Too late: <ann> has approved it."}, {Channel: "slack", Person: "eve", Text: "Too late: &lt;ann&gt; has approved it."},
	}
	if diff := cmp.Diff(want, w.fake.Told(fakechat.Slack)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestSlackLink(t *testing.T) {
	w := newWorld(t)
	w.words = "Linked."
	if _, err := w.fake.Link(ctx(t), fakechat.Slack, "K7PQ-22XY", "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Linked || got.Code != "K7PQ-22XY" || got.By().Account != "U13" {
		t.Errorf("the code is %s %q of %+v", got.Kind, got.Code, got.By())
	}
	if told := w.fake.Told(fakechat.Slack); len(told) != 1 || told[0].Text != "Linked." {
		t.Errorf("told %+v", told)
	}
}

// signSlack is a callback as Slack signs it.
func signSlack(secret, body string, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/slack", strings.NewReader(body))
	stamp := fmt.Sprint(at.Unix())
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte("v0:" + stamp + ":" + body))
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(sum.Sum(nil)))
	return r
}

func TestSlackReads(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Slack, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	genuine := string(w.last().body)
	payload := func(text string) string { return url.Values{"payload": {text}}.Encode() }
	form, err := url.ParseQuery(genuine)
	if err != nil {
		t.Fatal(err)
	}
	click := form.Get("payload")
	for _, c := range []struct {
		name, secret, body string
		age                time.Duration
		status             int
		kind               chat.Kind
		why                string
	}{
		{"the next secret", "the next secret", genuine, 0, 0, chat.Voted, ""},
		{"a clock ahead", "fake-secret", genuine, -4 * time.Minute, 0, chat.Voted, ""},
		{"a replay", "fake-secret", genuine, 6 * time.Minute, 401, "", ""},
		{"from the future", "fake-secret", genuine, -6 * time.Minute, 401, "", ""},
		{"another's secret", "fake-secreT", genuine, 0, 401, "", ""},
		{"a value made up", "fake-secret", payload(strings.Replace(click, `"value":"`, `"value":"YYYY`, 1)), 0, 0, chat.Nothing, "unknown_button"},
		{"another interaction", "fake-secret", payload(strings.Replace(click, "block_actions", "message_action", 1)), 0, 0, chat.Nothing, "not_for_us"},
		{"a check of TLS", "fake-secret", "ssl_check=1", 0, 0, chat.Nothing, "not_for_us"},
		{"an unknown command", "fake-secret", "command=/codexk8s&text=approve+everything&user_id=U1", 0, 0, chat.Nothing, "unknown_command"},
		{"another's modal", "fake-secret", payload(`{"type":"view_submission","user":{"id":"U1"},"view":{"private_metadata":"x"}}`), 0, 0, chat.Nothing, "not_for_us"},
		{"a modal made up", "fake-secret", payload(`{"type":"view_submission","user":{"id":"U1"},"view":{"private_metadata":"{\"tag\":\"x\"}"}}`), 0, 0, chat.Nothing, "unknown_button"},
		{"no form", "fake-secret", "payload=%zz", 0, 400, "", ""},
		{"no JSON", "fake-secret", payload("{"), 0, 400, "", ""},
		{"nested", "fake-secret", payload(strings.Repeat("[", 20000)), 0, 400, "", ""},
		{"too long", "fake-secret", payload(strings.Repeat("x", chat.MaxCallback)), 0, 413, "", ""},
		{"unknown fields, zero byte, no UTF-8", "fake-secret", payload(strings.Replace(click, `"type"`, `"new":{"x":"\u0000`+"\xff"+`"},"type"`, 1)), 0, 0, chat.Voted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cb, err := w.channels[approval.Slack].Read(signSlack(c.secret, c.body, now.Add(-c.age)), []byte(c.body), now)
			var unfit *chat.Unfit
			if errors.As(err, &unfit) != (c.status != 0) || unfit != nil && unfit.Status != c.status || cb.Kind != c.kind || cb.Why != c.why {
				t.Errorf("got %s (%s), %v; want %s (%s), %d", cb.Kind, cb.Why, err, c.kind, c.why, c.status)
			}
		})
	}
	r := signSlack("fake-secret", genuine, now)
	r.Header.Del("X-Slack-Signature")
	if _, err := w.channels[approval.Slack].Read(r, []byte(genuine), now); err == nil {
		t.Error("a callback without a signature is read")
	}
}

func TestSlackTroubles(t *testing.T) {
	for _, c := range []struct {
		trouble fakechat.Trouble
		want    error
	}{
		{fakechat.Trouble{Kind: "limit", After: 30 * time.Second}, &chat.Later{Channel: "slack", After: 30 * time.Second}},
		{fakechat.Trouble{Kind: "blocked"}, &chat.Refused{Channel: "slack", Reason: reason.BotBlocked}},
		{fakechat.Trouble{Kind: "kicked"}, &chat.Refused{Channel: "slack", Reason: reason.BotKicked}},
		{fakechat.Trouble{Kind: "gone"}, &chat.Refused{Channel: "slack", Reason: reason.NotFound}},
		{fakechat.Trouble{Kind: "unauthorized"}, &chat.Refused{Channel: "slack", Reason: reason.Unauthorized}},
		{fakechat.Trouble{Kind: "down"}, nil},
	} {
		t.Run(c.trouble.Kind, func(t *testing.T) {
			w := newWorld(t)
			c.trouble.Channel = fakechat.Slack
			w.fake.Trouble(c.trouble)
			_, err := w.channels[approval.Slack].Post(ctx(t), "C0123ABC", secretSync())
			sorted(t, err, c.want)
		})
	}
}

func TestSlackEdits(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.Slack]
	posted, err := c.Post(ctx(t), "C0123ABC", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Edit(ctx(t), posted.Ref, decided(secretSync())); err != nil {
		t.Fatal(err)
	}
	if p := w.newest(fakechat.Slack); p.Edits != 1 || len(p.Buttons) != 0 || !strings.Contains(p.Text, "Denied by bob: use the vault") {
		t.Errorf("after the decision it shows, with %d edits and the buttons %v:\n%s", p.Edits, p.Buttons, p.Text)
	}
	if _, err := c.Remind(ctx(t), posted.Ref, secretSync(), "Still open."); err != nil {
		t.Fatal(err)
	}
	if p := w.newest(fakechat.Slack); p.ReplyTo != posted.Message {
		t.Errorf("the reminder answers %q", p.ReplyTo)
	}
	sorted(t, c.Edit(ctx(t), chat.Ref{Chat: "C0123ABC", Message: "1.1"}, secretSync()), &chat.Refused{Channel: "slack", Reason: reason.NotFound})
}

// TestSlackAnswersNobodyElse: the response_url of a payload goes to Slack or nowhere.
func TestSlackAnswersNobodyElse(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Slack, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Slack), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(string(w.last().body))
	if err != nil {
		t.Fatal(err)
	}
	body := url.Values{"payload": {strings.Replace(form.Get("payload"), w.fake.URL(), "http://169.254.169.254", 1)}}.Encode()
	c := w.channels[approval.Slack]
	cb, err := c.Read(signSlack("fake-secret", body, now), []byte(body), now)
	if err != nil {
		t.Fatal(err)
	}
	sorted(t, c.Tell(ctx(t), cb, "words"), &chat.Refused{Channel: "slack", Reason: reason.NotAllowed})
}

func FuzzSlackRead(f *testing.F) {
	c := &chat.Slack{Secrets: keys, Keys: keys}
	f.Add([]byte(`payload={"type":"block_actions","user":{"id":"U1"},"actions":[{"value":"x"}]}`))
	f.Add([]byte(`payload={"type":"view_submission","user":{"id":"U1"},"view":{"private_metadata":"{}"}}`))
	f.Add([]byte(`command=/codexk8s&text=link+CODE&user_id=U1`))
	f.Fuzz(func(t *testing.T, body []byte) {
		cb, err := c.Read(signSlack(string(keys[0]), string(body), now), body, now)
		sound(t, cb, err)
		if bytes.Contains(body, []byte("payload")) && cb.Kind == chat.Linked {
			t.Error("a code without a command")
		}
	})
}
