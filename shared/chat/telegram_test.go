package chat_test

import (
	"bytes"
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

func TestTelegramClick(t *testing.T) {
	w := newWorld(t)
	posted, err := w.channels[approval.Telegram].Post(ctx(t), "-100200/45", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	if posted.Chat != "-100200/45" {
		t.Errorf("the reference is %+v, and lacks the topic", posted)
	}
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Telegram), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last()
	want := events.ApprovalVoted{
		ID: got.cb.Vote.ID, RequestID: requestID, Digest: "3f2a9c0d1e4b", Choice: events.Approve,
		By: events.Voter{Channel: approval.Telegram, Account: "12", Name: "Bob (@bob)", Chat: "-100200/45"}, At: now,
	}
	if diff := cmp.Diff(want, got.cb.Vote); diff != "" || got.cb.Kind != chat.Voted || got.cb.Ref != posted.Ref {
		t.Errorf("%s of %+v (-want +got):\n%s", got.cb.Kind, got.cb.Ref, diff)
	}
	again, err := w.channels[approval.Telegram].Read(got.request, got.body, now)
	if err != nil || again.Vote.ID != got.cb.Vote.ID || again.Vote.ID == "" {
		t.Errorf("the same update again is vote %q (%v), want %q", again.Vote.ID, err, got.cb.Vote.ID)
	}
}

// TestTelegramTellsWhoClicked: a late click has words that only this person sees.
func TestTelegramTellsWhoClicked(t *testing.T) {
	w := newWorld(t)
	w.words = "Too late: ann has approved it. " + strings.Repeat("é", 300)
	w.shown(approval.Telegram, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Telegram), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	if told := w.fake.Told(fakechat.Telegram); len(told) != 1 || told[0].Person != "bob" || !strings.HasPrefix(told[0].Text, "Too late") {
		t.Errorf("told %+v", told)
	}
}

func TestTelegramReason(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Telegram, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Telegram), "with a reason", "bob"); err != nil {
		t.Fatal(err)
	}
	if kind := w.last().cb.Kind; kind != chat.Asked {
		t.Fatalf("the click is %s, want asked", kind)
	}
	prompt := w.newest(fakechat.Telegram)
	if _, err := w.fake.Reply(ctx(t), fakechat.Telegram, prompt.Chat, prompt.ID, " use the\x00 vault ", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last().cb
	if got.Kind != chat.Voted || got.Vote.Choice != events.Deny || got.Vote.Text != "use the vault" || got.Vote.RequestID != requestID || got.Vote.By.Account != "12" {
		t.Errorf("the reply is %s %+v", got.Kind, got.Vote)
	}
	// A prompt of one chat is of no use in another.
	other, err := w.channels[approval.Telegram].Post(ctx(t), "-100999", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.fake.Reply(ctx(t), fakechat.Telegram, other.Chat, other.Message, prompt.Text, "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Nothing || got.Why != "reply_elsewhere" {
		t.Errorf("a reply to a request, with a copied tag, is %s (%s)", got.Kind, got.Why)
	}
}

func TestTelegramAnswer(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Telegram, question())
	asked := w.newest(fakechat.Telegram)
	if _, err := w.fake.Click(ctx(t), asked, "2. SQLite", "ann"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb.Vote; got.Choice != events.Answer || got.Option != 2 {
		t.Errorf("the second button is %+v", got)
	}
	if _, err := w.fake.Click(ctx(t), asked, "in my words", "ann"); err != nil {
		t.Fatal(err)
	}
	prompt := w.newest(fakechat.Telegram)
	if _, err := w.fake.Reply(ctx(t), fakechat.Telegram, prompt.Chat, prompt.ID, strings.Repeat("я", 2500), "ann"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb.Vote; got.Choice != events.Answer || got.Option != 0 || len([]rune(got.Text)) != 2000 {
		t.Errorf("the answer is %s %d of %d characters", got.Choice, got.Option, len([]rune(got.Text)))
	}
}

func TestTelegramLink(t *testing.T) {
	w := newWorld(t)
	if _, err := w.fake.Link(ctx(t), fakechat.Telegram, "K7PQ-22XY", "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Linked || got.Code != "K7PQ-22XY" || got.By().Account != "13" {
		t.Errorf("the code is %s %q of %+v", got.Kind, got.Code, got.By())
	}
	if _, err := w.fake.Reply(ctx(t), fakechat.Telegram, "-100200", "", "/link K7PQ-22XY", "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Nothing || got.Why != "code_in_public" {
		t.Errorf("a code in a group is %s (%s)", got.Kind, got.Why)
	}
}

// TestTelegramReads is about updates that nobody's fake client sends.
func TestTelegramReads(t *testing.T) {
	w := newWorld(t)
	w.shown(approval.Telegram, secretSync())
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Telegram), "Approve", "bob"); err != nil {
		t.Fatal(err)
	}
	genuine := string(w.last().body)
	stranger := `{"update_id":1,"message":{"message_id":5,"date":%DATE%,"chat":{"id":-1,"type":"group"},"from":{"id":7%BOT%},"text":"%TEXT%"}}`
	say := func(date, bot, text string) string {
		return strings.NewReplacer("%DATE%", date, "%BOT%", bot, "%TEXT%", text).Replace(stranger)
	}
	for _, c := range []struct {
		name, secret, body string
		status             int // of the error; 0 = none
		kind               chat.Kind
		why                string
	}{
		{"the secret before", "the next secret", genuine, 0, chat.Voted, ""},
		{"no secret", "", genuine, 401, "", ""},
		{"another's secret", "fake-secreT", genuine, 401, "", ""},
		{"data made up", "fake-secret", strings.Replace(genuine, `"data":"`, `"data":"YYYY`, 1), 0, chat.Nothing, "unknown_button"},
		{"a bot clicks", "fake-secret", strings.Replace(genuine, `"is_bot":false`, `"is_bot":true`, 1), 0, chat.Nothing, "by_a_program"},
		{"a bot writes", "fake-secret", say("1777897800", `,"is_bot":true`, "/start CODE"), 0, chat.Nothing, "by_a_program"},
		{"people talk", "fake-secret", say("1777897800", "", "approve it"), 0, chat.Nothing, "not_for_us"},
		{"an old message", "fake-secret", say("1777000000", "", "/start CODE"), 0, chat.Nothing, reason.Stale},
		{"an edited message", "fake-secret", strings.Replace(say("1777897800", "", "x"), `"message":`, `"edited_message":`, 1), 0, chat.Nothing, "not_for_us"},
		{"no JSON", "fake-secret", `{"update_id":1`, 400, "", ""},
		{"nested", "fake-secret", strings.Repeat("[", 20000), 400, "", ""},
		{"too long", "fake-secret", `"` + strings.Repeat("x", chat.MaxCallback) + `"`, 413, "", ""},
		{"unknown fields, zero byte, no UTF-8", "fake-secret", strings.Replace(genuine, `"update_id"`, `"new":{"x":"\u0000`+"\xff"+`"},"update_id"`, 1), 0, chat.Voted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/telegram", strings.NewReader(c.body))
			if c.secret != "" {
				r.Header.Set("X-Telegram-Bot-Api-Secret-Token", c.secret)
			}
			cb, err := w.channels[approval.Telegram].Read(r, []byte(c.body), now)
			var unfit *chat.Unfit
			if errors.As(err, &unfit) != (c.status != 0) || unfit != nil && unfit.Status != c.status || cb.Kind != c.kind || cb.Why != c.why {
				t.Errorf("got %s (%s), %v; want %s (%s), %d", cb.Kind, cb.Why, err, c.kind, c.why, c.status)
			}
		})
	}
}

func TestTelegramTroubles(t *testing.T) {
	for _, c := range []struct {
		trouble fakechat.Trouble
		want    error // nil = another try
	}{
		{fakechat.Trouble{Kind: "limit", After: 7 * time.Second}, &chat.Later{Channel: "telegram", After: 7 * time.Second}},
		{fakechat.Trouble{Kind: "blocked"}, &chat.Refused{Channel: "telegram", Reason: reason.BotBlocked}},
		{fakechat.Trouble{Kind: "kicked"}, &chat.Refused{Channel: "telegram", Reason: reason.BotKicked}},
		{fakechat.Trouble{Kind: "gone"}, &chat.Refused{Channel: "telegram", Reason: reason.NotFound}},
		{fakechat.Trouble{Kind: "unauthorized"}, &chat.Refused{Channel: "telegram", Reason: reason.Unauthorized}},
		{fakechat.Trouble{Kind: "migrated", To: "-100300"}, &chat.Refused{Channel: "telegram", Reason: reason.ChatMoved, MovedTo: "-100300"}},
		{fakechat.Trouble{Kind: "down"}, nil},
	} {
		t.Run(c.trouble.Kind, func(t *testing.T) {
			w := newWorld(t)
			c.trouble.Channel = fakechat.Telegram
			w.fake.Trouble(c.trouble)
			_, err := w.channels[approval.Telegram].Post(ctx(t), "-100200", secretSync())
			sorted(t, err, c.want)
		})
	}
}

// sorted compares an error with what it should be sorted as, but for the channel's words.
func sorted(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	var refused *chat.Refused
	var later *chat.Later
	var got error
	switch {
	case errors.As(err, &refused):
		got = &chat.Refused{Channel: refused.Channel, Reason: refused.Reason, MovedTo: refused.MovedTo}
	case errors.As(err, &later):
		got = &chat.Later{Channel: later.Channel, After: later.After}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if strings.Contains(err.Error(), fakechat.Token) || strings.Contains(err.Error(), "http://") {
		t.Errorf("the error holds the token or the address: %v", err)
	}
}

func TestTelegramEdits(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.Telegram]
	posted, err := c.Post(ctx(t), "-100200", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second changes nothing, which Telegram calls an error
		if err := c.Edit(ctx(t), posted.Ref, decided(secretSync())); err != nil {
			t.Fatal(err)
		}
	}
	if p := w.newest(fakechat.Telegram); p.Edits != 1 || len(p.Buttons) != 0 || !strings.Contains(p.Text, "Denied by bob: use the vault") {
		t.Errorf("after the decision it shows, with %d edits and the buttons %v:\n%s", p.Edits, p.Buttons, p.Text)
	}
	if _, err := c.Remind(ctx(t), posted.Ref, secretSync(), "Still open, @all: see https://evil.example"); err != nil {
		t.Fatal(err)
	}
	if p := w.newest(fakechat.Telegram); p.ReplyTo != posted.Message || strings.Contains(p.Text, "@all") {
		t.Errorf("the reminder answers %q: %q", p.ReplyTo, p.Text)
	}
	sorted(t, c.Edit(ctx(t), chat.Ref{Chat: "-100200", Message: "1"}, secretSync()), &chat.Refused{Channel: "telegram", Reason: reason.NotFound})
}

// TestNoTokenInErrors: net/http's errors have the address in them, and Telegram's has the token.
func TestNoTokenInErrors(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	c := &chat.Telegram{API: closed.URL, Token: fakechat.Token, Keys: keys, Client: chat.NewClient()}
	_, err := c.Post(ctx(t), "1", secretSync())
	sorted(t, err, nil)
	c.API = "http://bad host"
	_, err = c.Post(ctx(t), "1", secretSync())
	sorted(t, err, nil)
}

func FuzzTelegramRead(f *testing.F) {
	c := &chat.Telegram{Token: fakechat.Token, Secrets: keys, Keys: keys}
	f.Add([]byte(`{"update_id":1,"callback_query":{"id":"q","from":{"id":1},"message":{"message_id":2,"chat":{"id":3}},"data":"x"}}`))
	f.Add([]byte(`{"update_id":1,"message":{"message_id":5,"date":1,"chat":{"id":-1},"from":{"id":7},"text":"/start CODE","reply_to_message":{"from":{"id":4242,"is_bot":true}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/telegram", bytes.NewReader(body))
		r.Header.Set("X-Telegram-Bot-Api-Secret-Token", string(keys[0]))
		cb, err := c.Read(r, body, now)
		sound(t, cb, err)
	})
}

// sound holds whatever Read returns to its promises.
func sound(t *testing.T, cb chat.Callback, err error) {
	t.Helper()
	var unfit *chat.Unfit
	switch {
	case err != nil && !errors.As(err, &unfit):
		t.Errorf("an error that is no Unfit: %v", err)
	case err == nil && cb.Kind == "":
		t.Error("neither a meaning nor an error")
	case cb.Kind == chat.Voted && cb.Vote.RequestID != requestID && cb.Vote.By.Channel != approval.Jira:
		t.Errorf("a vote out of nothing: %+v", cb.Vote)
	}
	if got := cb.Answer("words", false); err == nil && (got.Status < 200 || got.Status > 499) {
		t.Errorf("the answer is %d", got.Status)
	}
}
