package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/reason"
	"codexk8s.dev/shared/webhook"
	fakechat "codexk8s.dev/test/fakes/chat"
)

func TestApproverDecides(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.HTTP]
	posted, err := c.Post(ctx(t), "security", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	asked := w.newest(approval.HTTP)
	if _, err := w.fake.Click(ctx(t), asked, "Deny with message", "bob"); err != nil {
		t.Fatal(err)
	}
	res, err := w.fake.Fill(ctx(t), fakechat.Approver, "use the vault", "bob")
	if err != nil || res.Status != http.StatusOK {
		t.Fatalf("the callback is answered with %+v, %v", res, err)
	}
	got := w.last().cb
	if got.Kind != chat.Voted || got.Vote.Choice != events.Deny || got.Vote.Text != "use the vault" || got.Vote.RequestID != requestID ||
		got.Vote.By != (events.Voter{Channel: "http", Account: "security", Name: "security", Chat: "security"}) || got.Ref != posted.Ref {
		t.Errorf("the callback is %s %+v of %+v", got.Kind, got.Vote, got.Ref)
	}
	again, err := c.Read(w.last().request, w.last().body, now)
	if err != nil || again.Vote.ID != got.Vote.ID {
		t.Errorf("the same callback again is vote %q (%v), want %q", again.Vote.ID, err, got.Vote.ID)
	}
	if late := again.Answer("It is decided.", false); late.Status != http.StatusNotFound {
		t.Errorf("a finished id is answered with %d, want 404", late.Status)
	}
}

// TestApproverIsAskedAgain: its one callback may be lost, so a reminder asks under another id, and both are good.
func TestApproverIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.HTTP]
	first, err := c.Post(ctx(t), "security", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	old := w.newest(approval.HTTP)
	second, err := c.Remind(ctx(t), first.Ref, secretSync(), "Still open.")
	if err != nil || second.Ref == first.Ref || second.Message == "" {
		t.Fatalf("asked again as %+v, %v", second, err)
	}
	for _, p := range []fakechat.Post{old, w.newest(approval.HTTP)} {
		if _, err := w.fake.Click(ctx(t), p, "Approve", "bob"); err != nil {
			t.Fatal(err)
		}
		if got := w.last().cb; got.Kind != chat.Voted || got.Vote.Choice != events.Approve || got.Ref.Message != p.ID {
			t.Errorf("attempt %s is %s %+v", p.ID, got.Kind, got.Vote)
		}
	}
}

// TestApproverShowsHowItEnded: an approver is told once it is decided, whoever did. One that takes no such call, as
// those that there were before, has no trouble by it; one that is away is told later.
func TestApproverShowsHowItEnded(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.HTTP]
	posted, err := c.Post(ctx(t), "security", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []events.ApprovalMessage{secretSync(), decided(secretSync()), decided(secretSync())} {
		if err := c.Edit(ctx(t), posted.Ref, m); err != nil {
			t.Fatal(err)
		}
		got := w.newest(approval.HTTP)
		if ended := m.State.Final(); ended != (len(got.Buttons) == 0) || ended != (strings.Count(got.Text, decided(secretSync()).Outcome) == 1) {
			t.Errorf("told of %s, it shows %q with %d buttons", m.State, got.Text, len(got.Buttons))
		}
	}
	for kind, want := range map[string]error{"gone": nil, "unauthorized": nil, "moved": nil, "limit": &chat.Later{Channel: "http", After: 9 * time.Second}} {
		w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: kind, After: 9 * time.Second, Times: 1})
		err := c.Edit(ctx(t), posted.Ref, decided(secretSync()))
		if want == nil && err != nil {
			t.Errorf("%s: %v", kind, err)
		} else if want != nil {
			sorted(t, err, want)
		}
	}
	w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: "down", Times: 1})
	if err := c.Edit(ctx(t), posted.Ref, decided(secretSync())); err == nil {
		t.Error("one that is away is not told again")
	}
}

func TestExecutorAnswers(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		button, words string
		option        int
	}{{"2. SQLite", "", 2}, {"Custom answer", "a file", 0}} {
		w.shown(approval.HTTP, question())
		if _, err := w.fake.Click(ctx(t), w.newest(approval.HTTP), c.button, "ann"); err != nil {
			t.Fatal(err)
		}
		if c.words != "" {
			if _, err := w.fake.Fill(ctx(t), fakechat.Approver, c.words, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.last().cb.Vote; got.Choice != events.Answer || got.Option != c.option || got.Text != c.words {
			t.Errorf("%s is %+v", c.button, got)
		}
	}
	w.shown(approval.HTTP, question())
	if _, err := w.fake.GiveUp(ctx(t), w.newest(approval.HTTP)); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.GaveUp || got.Vote.Text != "execution timeout" || got.Vote.RequestID != requestID {
		t.Errorf("a timeout is %s %+v", got.Kind, got.Vote)
	}
}

func TestApproverTroubles(t *testing.T) {
	for _, c := range []struct {
		kind string
		want error
	}{
		{"limit", &chat.Later{Channel: "http", After: 9 * time.Second}},
		{"gone", &chat.Refused{Channel: "http", Reason: reason.NotFound}},
		{"unauthorized", &chat.Refused{Channel: "http", Reason: reason.Unauthorized}},
		{"moved", &chat.Refused{Channel: "http", Reason: reason.Rejected}},
		{"failed", nil}, // 202 with an error in the body
		{"down", nil},
	} {
		t.Run(c.kind, func(t *testing.T) {
			w := newWorld(t)
			w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: c.kind, After: 9 * time.Second})
			_, err := w.channels[approval.HTTP].Post(ctx(t), "security", secretSync())
			sorted(t, err, c.want)
		})
	}
	w := newWorld(t)
	c := w.channels[approval.HTTP]
	_, err := c.Post(ctx(t), "nobody", secretSync())
	sorted(t, err, &chat.Refused{Channel: "http", Reason: reason.NotFound})
	w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: "at once", Times: 1})
	if posted, err := c.Post(ctx(t), "security", secretSync()); err != nil || posted.Vote == nil || posted.Vote.Choice != events.Approve || posted.Vote.Text != "by policy" {
		t.Errorf("a decision at once is %+v, %v", posted, err)
	}
	w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Approver, Kind: "silent", Times: 1})
	if posted, err := c.Post(ctx(t), "security", secretSync()); err != nil || posted.Vote != nil || posted.Message == "" {
		t.Errorf("an empty 202 is %+v, %v", posted, err)
	}
	none := question()
	none.Options = nil
	_, err = c.Post(ctx(t), "security", none)
	sorted(t, err, &chat.Refused{Channel: "http", Reason: reason.NotShowable})
}

// TestApproverInside: no address that a user configures leads into our networks, by number, by name or by redirect,
// unless allowed.
func TestApproverInside(t *testing.T) {
	hit := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
	t.Cleanup(inside.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "10.0.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "100.64.0.1", "168.63.129.16",
		"[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::a00:1]", "[64:ff9b::100.100.100.200]", "[64:ff9b:1::808:808]", "[::127.0.0.1]", "[::ffff:0:7f00:1]",
		"[2002:7f00:1::]"} {
		c := &chat.HTTP{
			Approvers: map[string]chat.Approver{"x": {URL: "http://" + host + ":" + port}}, Callback: "https://us.example", Keys: keys,
			Client: chat.NewGuardedClient(nil), Now: func() time.Time { return now },
		}
		_, err := c.Post(ctx(t), "x", secretSync())
		var refused *chat.Refused
		if !errors.As(err, &refused) || refused.Reason != reason.NotAllowed {
			if host != "127.1" || err == nil { // which not every resolver takes for an address
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if hit {
		t.Error("the server inside was reached")
	}
	c := &chat.HTTP{
		Approvers: map[string]chat.Approver{"x": {URL: inside.URL}}, Keys: keys, Client: chat.NewGuardedClient([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}),
		Now: func() time.Time { return now },
	}
	if _, err := c.Post(ctx(t), "x", secretSync()); err != nil || !hit {
		t.Errorf("what is allowed was not reached: %v", err)
	}
}

// approverServer is an approver that signs, whose callbacks a test makes up.
func approverServer(t *testing.T, secret string) (c *chat.HTTP, asked func() (request *http.Request, body map[string]any)) {
	t.Helper()
	var r *http.Request
	var raw []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
		raw, _ = io.ReadAll(got.Body)
		r = got
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	a := chat.Approver{URL: server.URL}
	if secret != "" {
		a.Secrets = webhook.Secrets{[]byte(secret), []byte("the secret before")}
	}
	c = &chat.HTTP{
		Approvers: map[string]chat.Approver{"vault": a, "other": a}, Callback: "https://us.example/callbacks", Keys: keys, Client: chat.NewGuardedClient(loopback),
		Now: func() time.Time { return now },
	}
	if _, err := c.Post(t.Context(), "vault", secretSync()); err != nil {
		t.Fatal(err)
	}
	return c, func() (*http.Request, map[string]any) {
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Fatal(err)
		}
		again := r.Clone(context.Background()) // the server still has r
		again.Body = io.NopCloser(bytes.NewReader(raw))
		return again, body
	}
}

func TestHTTPReads(t *testing.T) {
	plain, asked := approverServer(t, "")
	r, body := asked()
	if r.Header.Get(chat.HeaderSignature) != "" || r.Header.Get("Idempotency-Key") != body["correlation_id"] {
		t.Errorf("sent with the headers %v", r.Header)
	}
	address := body["callback"].(map[string]any)["url"].(string) //nolint:forcetypeassert // else the test fails
	id := body["correlation_id"].(string)                        //nolint:forcetypeassert // else the test fails
	decided := `{"correlation_id":"` + id + `","decision":"approve","reason":"","tool":"x","metadata":{"new":1}}`
	for _, c := range []struct {
		name, address, body string
		status              int
		kind                chat.Kind
	}{
		{"genuine", address, decided, 0, chat.Voted},
		{"unknown fields, zero byte, no UTF-8", address, strings.Replace(decided, `"tool":"x"`, `"tool":"\u0000`+"\xff"+`"`, 1), 0, chat.Voted},
		{"given up", address, strings.Replace(decided, "approve", "error", 1), 0, chat.GaveUp},
		{"another's attempt", address, strings.Replace(decided, id, requestID, 1), 404, ""},
		{"another approver", strings.Replace(address, "/vault/", "/other/", 1), decided, 404, ""},
		{"no approver", strings.Replace(address, "/vault/", "/nobody/", 1), decided, 404, ""},
		{"an address made up", address[:len(address)-2] + "xx", decided, 404, ""},
		{"no address", "https://us.example/", decided, 404, ""},
		{"pending", address, strings.Replace(decided, "approve", "pending", 1), 400, ""},
		{"another word", address, strings.Replace(decided, "approve", "approved", 1), 400, ""},
		{"no JSON", address, "{", 400, ""},
		{"nested", address, strings.Repeat("[", 20000), 400, ""},
		{"no answer", address, `{"correlation_id":"` + id + `","status":"success","result":{"selected_index":7,"custom":false}}`, 400, ""},
		{"too long", address, `"` + strings.Repeat("x", chat.MaxCallback) + `"`, 413, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cb, err := plain.Read(httptest.NewRequest(http.MethodPost, c.address, strings.NewReader(c.body)), []byte(c.body), now)
			var unfit *chat.Unfit
			if errors.As(err, &unfit) != (c.status != 0) || unfit != nil && unfit.Status != c.status || cb.Kind != c.kind {
				t.Errorf("got %s, %v; want %s, %d", cb.Kind, err, c.kind, c.status)
			}
		})
	}
}

func TestHTTPSignature(t *testing.T) {
	c, asked := approverServer(t, "a shared secret")
	r, body := asked()
	raw, _ := io.ReadAll(r.Body)
	stamp := r.Header.Get(chat.HeaderTimestamp)
	// The formula as the contract has it: webhook.Sign makes "sha256=" and the HMAC in hexadecimal digits.
	if want := webhook.Sign([]byte("a shared secret"), []byte(stamp+"."+string(raw))); r.Header.Get(chat.HeaderSignature) != want {
		t.Errorf("signed as %q, want %q", r.Header.Get(chat.HeaderSignature), want)
	}
	address := body["callback"].(map[string]any)["url"].(string) //nolint:forcetypeassert // else the test fails
	text := `{"correlation_id":"` + body["correlation_id"].(string) + `","decision":"deny"}`
	for _, k := range []struct {
		name, secret string
		age          time.Duration
		reason       string
	}{
		{"genuine", "a shared secret", time.Minute, ""},
		{"the secret before", "the secret before", 0, ""},
		{"another's", "another", 0, reason.WrongSignature},
		{"old", "a shared secret", 6 * time.Minute, reason.Stale},
		{"from the future", "a shared secret", -6 * time.Minute, reason.Stale},
		{"none", "", 0, reason.NoSignature},
	} {
		r := httptest.NewRequest(http.MethodPost, address, strings.NewReader(text))
		if k.secret != "" {
			at := strconv.FormatInt(now.Add(-k.age).Unix(), 10)
			r.Header.Set(chat.HeaderTimestamp, at)
			r.Header.Set(chat.HeaderSignature, webhook.Sign([]byte(k.secret), []byte(at+"."+text)))
		}
		_, err := c.Read(r, []byte(text), now)
		var unfit *chat.Unfit
		if errors.As(err, &unfit) != (k.reason != "") || unfit != nil && unfit.Reason != k.reason {
			t.Errorf("%s: %v, want %q", k.name, err, k.reason)
		}
	}
}

func FuzzHTTPRead(f *testing.F) {
	c := &chat.HTTP{Approvers: map[string]chat.Approver{"x": {}}, Keys: keys}
	f.Add("/http/x/y", []byte(`{"correlation_id":"y","decision":"approve"}`))
	f.Add("/http/x/y", []byte(`{"correlation_id":"y","status":"success","result":{"selected_index":0}}`))
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL.Path = path
		cb, err := c.Read(r, body, now)
		sound(t, cb, err)
	})
}
