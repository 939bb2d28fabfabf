package chat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
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

const mattermostChannel = "abcdefghijklmnopqrstuvwx12"

func TestMattermostClick(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.Mattermost]
	posted, err := c.Post(ctx(t), mattermostChannel, secretSync())
	if err != nil {
		t.Fatal(err)
	}
	w.words = "Too late: @ann has approved it."
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Mattermost), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last()
	want := events.ApprovalVoted{
		ID: got.cb.Vote.ID, RequestID: requestID, Digest: "3f2a9c0d1e4b", Choice: events.Approve,
		By: events.Voter{Channel: approval.Mattermost, Account: "user0000000000000000000012", Name: "bob", Chat: mattermostChannel}, At: now,
	}
	if diff := cmp.Diff(want, got.cb.Vote); diff != "" || got.cb.Kind != chat.Voted || got.cb.Ref != posted.Ref {
		t.Errorf("%s of %+v (-want +got):\n%s", got.cb.Kind, got.cb.Ref, diff)
	}
	if told := w.fake.Told(fakechat.Mattermost); len(told) != 1 || !strings.HasPrefix(told[0].Text, "Too late") || strings.Contains(told[0].Text, "@ann") {
		t.Errorf("told %+v", told)
	}
	again, err := c.Read(got.request, got.body, now)
	if err != nil || again.Vote.ID != got.cb.Vote.ID || again.Vote.ID == "" {
		t.Errorf("the same click again is vote %q (%v), want %q", again.Vote.ID, err, got.cb.Vote.ID)
	}
	if err := c.Edit(ctx(t), posted.Ref, decided(secretSync())); err != nil {
		t.Fatal(err)
	}
	if p := w.newest(fakechat.Mattermost); p.Edits != 1 || len(p.Buttons) != 0 || !strings.Contains(p.Text, "Denied by bob: use the vault") {
		t.Errorf("after the decision it shows, with %d edits and the buttons %v:\n%s", p.Edits, p.Buttons, p.Text)
	}
	if _, err := c.Remind(ctx(t), posted.Ref, secretSync(), "Still open."); err != nil || w.newest(fakechat.Mattermost).ReplyTo != posted.Message {
		t.Errorf("the reminder answers %q, %v", w.newest(fakechat.Mattermost).ReplyTo, err)
	}
	sorted(t, c.Edit(ctx(t), chat.Ref{Chat: mattermostChannel, Message: "gone"}, secretSync()), &chat.Refused{Channel: "mattermost", Reason: reason.NotFound})
}

// TestMattermostDialog: a dialog's state goes through the client, so it is good for its own person, message and hour
// alone.
func TestMattermostDialog(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Mattermost, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Mattermost), "with a reason", "bob"); err != nil {
		t.Fatal(err)
	}
	click := w.last().cb
	if _, err := w.fake.Fill(ctx(t), fakechat.Mattermost, "use the vault", "bob"); err != nil {
		t.Fatal(err)
	}
	sent := w.last()
	got := sent.cb
	if click.Kind != chat.Asked || got.Kind != chat.Voted || got.Vote.Choice != events.Deny || got.Vote.Text != "use the vault" || got.Vote.RequestID != requestID || got.Ref != click.Ref {
		t.Errorf("the dialog is %s %+v of %+v", got.Kind, got.Vote, got.Ref)
	}
	c := w.channels[approval.Mattermost]
	read := func(body string, at time.Time) (chat.Callback, error) {
		return c.Read(httptest.NewRequest(http.MethodPost, "/mattermost", nil), []byte(body), at)
	}
	for name, body := range map[string]string{
		"another person":  strings.Replace(string(sent.body), "0012", "0013", 1),
		"another channel": strings.Replace(string(sent.body), mattermostChannel, strings.ToUpper(mattermostChannel), 1),
		"a longer time":   strings.Replace(string(sent.body), ".17", ".18", 1),
		"no state":        strings.Replace(string(sent.body), `"state":"`, `"state":"x`, 1),
	} {
		var unfit *chat.Unfit
		if _, err := read(body, now); body == string(sent.body) || !errors.As(err, &unfit) || unfit.Status != http.StatusUnauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
	if late, err := read(string(sent.body), now.Add(2*time.Hour)); err != nil || late.Kind != chat.Nothing || late.Why != reason.Stale {
		t.Errorf("two hours later: %s (%s), %v", late.Kind, late.Why, err)
	}
}

func TestMattermostLink(t *testing.T) {
	w := newWorld(t)
	if _, err := w.fake.Link(ctx(t), fakechat.Mattermost, "K7PQ-22XY", "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Linked || got.Code != "K7PQ-22XY" || got.By().Channel != approval.Mattermost || got.By().Name != "eve" {
		t.Errorf("the code is %s %q of %+v", got.Kind, got.Code, got.By())
	}
}

func TestMattermostReads(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Mattermost, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Mattermost), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	genuine := string(w.last().body)
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"genuine", genuine, 0},
		{"unknown fields, zero byte, no UTF-8", strings.Replace(genuine, `"user_id"`, `"new":{"x":"\u0000`+"\xff"+`"},"user_id"`, 1), 0},
		{"a context made up", strings.Replace(genuine, `"tag":"`, `"tag":"YYYY`, 1), 401},
		{"no context", `{"user_id":"x","channel_id":"y"}`, 401},
		{"nobody", strings.Replace(genuine, `"user_id":"user`, `"user_id":"","x":"`, 1), 401},
		{"a command without its token", "command=/codexk8s&text=link+CODE&user_id=x", 401},
		{"a command with another token", "command=/codexk8s&text=link+CODE&user_id=x&token=guess", 401},
		{"no JSON", "{", 400},
		{"nested", `{"a":` + strings.Repeat("[", 20000), 400},
		{"too long", `"` + strings.Repeat("x", chat.MaxCallback) + `"`, 413},
	} {
		_, err := w.channels[approval.Mattermost].Read(httptest.NewRequest(http.MethodPost, "/mattermost", nil), []byte(c.body), now)
		var unfit *chat.Unfit
		if errors.As(err, &unfit) != (c.status != 0) || unfit != nil && unfit.Status != c.status {
			t.Errorf("%s: %v, want %d", c.name, err, c.status)
		}
	}
}

func TestMattermostTroubles(t *testing.T) {
	for kind, want := range map[string]error{
		"limit":        &chat.Later{Channel: "mattermost", After: 3 * time.Second},
		"kicked":       &chat.Refused{Channel: "mattermost", Reason: reason.Unauthorized},
		"unauthorized": &chat.Refused{Channel: "mattermost", Reason: reason.Unauthorized},
		"gone":         &chat.Refused{Channel: "mattermost", Reason: reason.NotFound},
		"down":         nil,
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Mattermost, Kind: kind, After: 3 * time.Second})
			_, err := w.channels[approval.Mattermost].Post(ctx(t), mattermostChannel, secretSync())
			sorted(t, err, want)
		})
	}
}

func FuzzMattermostRead(f *testing.F) {
	c := &chat.Mattermost{Keys: keys, Commands: keys}
	f.Add([]byte(`{"user_id":"u","channel_id":"c","post_id":"p","trigger_id":"t","context":{"tag":"x"}}`))
	f.Add([]byte(`{"type":"dialog_submission","state":"a.b.1","user_id":"u","submission":{"words":"w"}}`))
	f.Add([]byte(`command=/codexk8s&text=link+CODE&user_id=U1&token=our+own+key`))
	f.Fuzz(func(t *testing.T, body []byte) {
		cb, err := c.Read(httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)), body, now)
		sound(t, cb, err)
		if json.Valid(body) && cb.Kind == chat.Linked {
			t.Error("a code in JSON")
		}
	})
}
