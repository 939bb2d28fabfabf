package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	fakechat "codexk8s.dev/test/fakes/chat"
)

func FuzzTelegram(f *testing.F)   { fuzz(f, approval.Telegram) }
func FuzzSlack(f *testing.F)      { fuzz(f, approval.Slack) }
func FuzzMattermost(f *testing.F) { fuzz(f, approval.Mattermost) }
func FuzzJira(f *testing.F)       { fuzz(f, approval.Jira) }
func FuzzApprover(f *testing.F)   { fuzz(f, approval.HTTP) }

// fuzz sends bodies twice. Signed by the channel nothing of them makes the function fail, and a vote is about what was
// asked. Signed by somebody else they are refused, and are no vote. The seeds are all that people can do in a channel.
func fuzz(f *testing.F, channel string) {
	fx := setup(f)
	stranger := fx.stranger()
	letters := fx.letters(channel)
	for i, l := range letters {
		l.rewrite(func(text string) string { f.Add(i, text); return text })
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		l := letters[uint(i)%uint(len(letters))]
		l.header = l.header.Clone()
		l.rewrite(func(string) string { return body })
		l.sign("fake-secret", time.Now())
		if status := post(t, fx.server, l); status >= http.StatusInternalServerError {
			t.Errorf("answered %d", status)
		}
		votes, others := fx.counts(t)
		if others > 0 {
			t.Errorf("%d votes about what nobody asked", others)
		}
		l.sign("another secret", time.Now())
		if status := post(t, stranger, l); status/100 != 4 {
			t.Errorf("a stranger is answered %d", status)
		}
		if now, _ := fx.counts(t); now != votes {
			t.Error("a stranger has voted")
		}
	})
}

func post(t *testing.T, server *serve.Server, l letter) int {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, l.url, strings.NewReader(string(l.body)))
	r.Header = l.header
	server.Handler().ServeHTTP(w, r)
	return w.Code
}

// stranger is the function where it has other keys and secrets, so that all that is genuine here is forged there.
func (f *fixture) stranger() *serve.Server {
	channels, err := chat.Connect(chat.Settings{
		Keys: "other keys", TelegramToken: "1:x", TelegramSecrets: "others", SlackToken: "x", SlackSecrets: "others", MattermostToken: "x", MattermostCommands: "others",
		JiraToken: "x", JiraSecrets: "others", Approvers: "desk http://desk others, signed http://signed others", Callback: "http://localhost",
	})
	if err != nil {
		f.Fatal(err)
	}
	s := serve.New(function, "")
	(&handler{db: f.db, bodies: serve.NewBodies(largeBodies), send: f.send, later: f.handler.later, within: time.Minute}).routes(s, channels)
	return s
}

// counts are the votes that were stored, and those of them that are about no request of ours.
func (f *fixture) counts(t *testing.T) (all, others int) {
	err := f.sql.QueryRow(t.Context(), `
		SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM approvals WHERE id::text = e.subject))
		FROM events AS e
		WHERE type = $1
	`, events.ApprovalVoted{}.EventType()).Scan(&all, &others)
	if err != nil {
		t.Fatal(err)
	}
	return all, others
}

// letters are the callbacks of all that people can do in a channel: click, write a reason, comment, link an account.
func (f *fixture) letters(channel string) (all []letter) {
	keep := func(_ fakechat.Result, err error) {
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, f.wire.last)
	}
	if channel == approval.HTTP {
		for _, c := range columns[5:] {
			a := f.attempt(c, c.name, nil)
			a.vote("ann")
			all = append(all, f.wire.last)
		}
		return all
	}
	f.attempt(column{name: channel, channel: channel, target: places[channel]}, channel, nil)
	posts := f.fake.Posts(channel)
	last := posts[len(posts)-1]
	switch channel {
	case approval.Jira:
		keep(f.fake.Click(f.Context(), last, "Approved", "ann"))
		keep(f.fake.Reply(f.Context(), channel, last.Chat, "", "/deny too risky", "eve"))
		return all
	case approval.Telegram:
		keep(f.fake.Click(f.Context(), last, "reason", "ann"))
		posts = f.fake.Posts(channel)
		keep(f.fake.Reply(f.Context(), channel, last.Chat, posts[len(posts)-1].ID, "too risky", "ann"))
	default:
		keep(f.fake.Click(f.Context(), last, "reason", "ann"))
		keep(f.fake.Fill(f.Context(), channel, "too risky", "ann"))
	}
	keep(f.fake.Click(f.Context(), last, "Approve", "eve"))
	keep(f.fake.Link(f.Context(), channel, "AAAABBBBCCCC", "eve"))
	return all
}
