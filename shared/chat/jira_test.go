package chat_test

import (
	"bytes"
	"errors"
	"fmt"
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
	"codexk8s.dev/shared/webhook"
	fakechat "codexk8s.dev/test/fakes/chat"
)

func TestJiraIssueIsDecidedByTransition(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.Jira]
	posted, err := c.Post(ctx(t), "OPS/Approval", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.fake.Click(ctx(t), w.newest(fakechat.Jira), "Rejected", "bob"); err != nil {
		t.Fatal(err)
	}
	got := w.last().cb
	want := events.ApprovalVoted{
		ID: got.Vote.ID, Choice: events.Deny, By: events.Voter{Channel: approval.Jira, Account: "account-12", Name: "bob", Chat: posted.Chat}, At: now,
	}
	if diff := cmp.Diff(want, got.Vote); diff != "" || got.Kind != chat.Voted || got.Ref != posted.Ref {
		t.Errorf("%s of %+v (-want +got):\n%s", got.Kind, got.Ref, diff)
	}
	if err := c.Edit(ctx(t), posted.Ref, decided(secretSync())); err != nil {
		t.Fatal(err)
	}
	if p := w.newest(fakechat.Jira); p.Edits != 1 || !strings.Contains(p.Text, "Denied by bob: use the vault") || strings.Contains(p.Text, "/approve") {
		t.Errorf("after the decision it shows:\n%s", p.Text)
	}
}

func TestJiraComments(t *testing.T) {
	w := newWorld(t)
	c := w.channels[approval.Jira]
	posted, err := c.Post(ctx(t), "OPS-12", secretSync())
	if err != nil {
		t.Fatal(err)
	}
	shown := w.newest(fakechat.Jira)
	if posted.Chat != "OPS-12" || posted.Message != shown.ID || !strings.Contains(shown.Text, "/approve 3f2a9c0d1e4b") {
		t.Errorf("it stands at %+v:\n%s", posted, shown.Text)
	}
	for text, want := range map[string]events.ApprovalVoted{
		"/approve":                  {Choice: events.Approve},
		" /approve 3f2a9c0d1e4b ":   {Choice: events.Approve, Digest: "3f2a9c0d1e4b"},
		"/deny use the\nvault":      {Choice: events.Deny, Text: "use the\nvault"},
		"/deny 3f2a9c0d1e4b no":     {Choice: events.Deny, Digest: "3f2a9c0d1e4b", Text: "no"},
		"/answer 2":                 {Choice: events.Answer, Option: 2},
		"/answer 7":                 {Choice: events.Answer, Text: "7"},
		"/answer a file":            {Choice: events.Answer, Text: "a file"},
		"/answer":                   {},
		"I would not /approve this": {},
		"/approved":                 {},
		"Comment: /approve 3f2a9c0d1e4b · /deny": {},
	} {
		if _, err := w.fake.Reply(ctx(t), fakechat.Jira, "OPS-12", "", text, "ann"); err != nil {
			t.Fatal(err)
		}
		got := w.last().cb
		kind := chat.Nothing
		if want.Choice != "" {
			kind = chat.Voted
		}
		if got.Kind != kind || kind == chat.Voted && (got.Vote.Choice != want.Choice || got.Vote.Digest != want.Digest || got.Vote.Text != want.Text || got.Vote.Option != want.Option) {
			t.Errorf("%q is %s %+v", text, got.Kind, got.Vote)
		}
	}
	if _, err := w.fake.Reply(ctx(t), fakechat.Jira, "OPS-12", "", "/link K7PQ-22XY", "eve"); err != nil {
		t.Fatal(err)
	}
	if got := w.last().cb; got.Kind != chat.Linked || got.Code != "K7PQ-22XY" || got.By().Account != "account-13" {
		t.Errorf("the code is %s %q of %+v", got.Kind, got.Code, got.By())
	}
	sorted(t, c.Edit(ctx(t), chat.Ref{Chat: "OPS-12", Message: "1"}, secretSync()), &chat.Refused{Channel: "jira", Reason: reason.NotFound})
}

func TestJiraReads(t *testing.T) {
	c := newWorld(t).channels[approval.Jira]
	body := func(event, comment, kind string, at time.Time) string {
		return fmt.Sprintf(`{"timestamp":%d,"webhookEvent":%q,"issue":{"key":"OPS-1"},"comment":{"id":"5","body":%s,"author":{"accountId":"a","accountType":%q}},"new":"\u0000`+"\xff"+`"}`,
			at.UnixMilli(), event, comment, kind)
	}
	document := `{"type":"doc","version":1,"content":[{"type":"paragraph","content":[{"type":"text","text":"/deny "},{"type":"text","text":"no"}]}]}`
	for _, k := range []struct {
		name, secret, body string
		status             int
		kind               chat.Kind
		why                string
	}{
		{"a text", "fake-secret", body("comment_created", `"/deny no"`, "atlassian", now), 0, chat.Voted, ""},
		{"a document", "the next secret", body("comment_created", document, "atlassian", now), 0, chat.Voted, ""},
		{"an edited comment", "fake-secret", body("comment_updated", `"/deny no"`, "atlassian", now), 0, chat.Nothing, "not_for_us"},
		{"a deleted comment", "fake-secret", body("comment_deleted", `"/deny no"`, "atlassian", now), 0, chat.Nothing, "not_for_us"},
		{"an app", "fake-secret", body("comment_created", `"/deny no"`, "app", now), 0, chat.Nothing, "by_a_program"},
		{"neither text nor document", "fake-secret", body("comment_created", `[1]`, "atlassian", now), 0, chat.Nothing, "not_for_us"},
		{"old", "fake-secret", body("comment_created", `"/deny no"`, "atlassian", now.Add(-25*time.Hour)), 401, "", ""},
		{"another's secret", "guess", body("comment_created", `"/deny no"`, "atlassian", now), 401, "", ""},
		{"unsigned", "", body("comment_created", `"/deny no"`, "atlassian", now), 401, "", ""},
		{"no JSON", "fake-secret", "{", 400, "", ""},
		{"nested", "fake-secret", strings.Repeat("[", 20000), 400, "", ""},
		{"too long", "fake-secret", `"` + strings.Repeat("x", chat.MaxCallback) + `"`, 413, "", ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "/jira", nil)
		if k.secret != "" {
			r.Header.Set("X-Hub-Signature", webhook.Sign([]byte(k.secret), []byte(k.body)))
		}
		cb, err := c.Read(r, []byte(k.body), now)
		var unfit *chat.Unfit
		if errors.As(err, &unfit) != (k.status != 0) || unfit != nil && unfit.Status != k.status || cb.Kind != k.kind || cb.Why != k.why {
			t.Errorf("%s: got %s (%s), %v; want %s (%s), %d", k.name, cb.Kind, cb.Why, err, k.kind, k.why, k.status)
		}
		if cb.Kind == chat.Voted && (cb.Vote.ID != "jira:comment:5" || cb.Vote.Text != "no") {
			t.Errorf("%s: the vote is %+v", k.name, cb.Vote)
		}
	}
}

func TestJiraTroubles(t *testing.T) {
	for kind, want := range map[string]error{
		"limit":        &chat.Later{Channel: "jira", After: 3 * time.Second},
		"gone":         &chat.Refused{Channel: "jira", Reason: reason.NotFound},
		"unauthorized": &chat.Refused{Channel: "jira", Reason: reason.Unauthorized},
		"down":         nil,
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.fake.Trouble(fakechat.Trouble{Channel: fakechat.Jira, Kind: kind, After: 3 * time.Second})
			_, err := w.channels[approval.Jira].Post(ctx(t), "OPS-12", secretSync())
			sorted(t, err, want)
		})
	}
}

func FuzzJiraRead(f *testing.F) {
	c := &chat.Jira{Secrets: keys}
	f.Add([]byte(`{"timestamp":1777897800000,"webhookEvent":"comment_created","issue":{"key":"A-1"},"comment":{"id":"1","body":"/approve","author":{"accountId":"a"}}}`))
	f.Add([]byte(`{"timestamp":1777897800000,"webhookEvent":"comment_created","issue":{"key":"A-1"},"comment":{"id":"1","body":{"type":"doc","content":[{"type":"paragraph"}]},"author":{"accountId":"a"}}}`))
	f.Add([]byte(`{"timestamp":1777897800000,"webhookEvent":"jira:issue_updated","user":{"accountId":"a"},"issue":{"key":"A-1"},"changelog":{"id":"1","items":[{"field":"status","toString":"Approved"}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("X-Hub-Signature", webhook.Sign(keys[0], body))
		cb, err := c.Read(r, body, now)
		sound(t, cb, err)
	})
}
