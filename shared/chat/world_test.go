package chat_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/webhook"
	fakechat "codexk8s.dev/test/fakes/chat"
)

// A channel is what all of them have in common.
type channel interface {
	Post(ctx context.Context, target string, m events.ApprovalMessage) (chat.Posted, error)
	Edit(ctx context.Context, ref chat.Ref, m events.ApprovalMessage) error
	Remind(ctx context.Context, ref chat.Ref, m events.ApprovalMessage, text string) (chat.Posted, error)
	Read(r *http.Request, body []byte, now time.Time) (chat.Callback, error)
	Ask(ctx context.Context, cb chat.Callback) error
	Tell(ctx context.Context, cb chat.Callback, words string) error
}

// world is the channels before the fakes, and a callback edge that does what approval-callback does, without a
// database.
type world struct {
	t        *testing.T
	fake     *fakechat.Server
	channels map[string]channel

	mu    sync.Mutex
	heard []heard
	words string // that clicks are answered with
}

// heard is a callback as it came, and what it was read as.
type heard struct {
	request *http.Request
	body    []byte
	cb      chat.Callback
	err     error
}

var keys = webhook.Secrets{[]byte("our own key"), []byte("the key before")}

// now is the clock of the fakes and of Read.
var now = time.Date(2026, 5, 4, 12, 30, 0, 0, time.UTC)

func newWorld(t *testing.T) *world { t.Helper(); return newWorldOf(t, fakechat.Options{}) }

func newWorldOf(t *testing.T, o fakechat.Options) *world {
	t.Helper()
	o.Now = func() time.Time { return now }
	fake, err := fakechat.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	w := &world{t: t, fake: fake}
	edge := httptest.NewServer(w)
	t.Cleanup(edge.Close)
	fake.CallTo(edge.URL)
	w.channels = channels(fake, edge.URL)
	return w
}

// channels are all of them, connected to the fakes.
func channels(fake *fakechat.Server, edge string) map[string]channel {
	secrets := webhook.Secrets{[]byte("the next secret"), []byte(fake.Secret())}
	client := chat.NewClient()
	return map[string]channel{
		approval.Telegram: &chat.Telegram{API: fake.URL() + "/telegram", Token: fakechat.Token, Secrets: secrets, Keys: keys, Client: client},
		approval.HTTP: &chat.HTTP{
			Approvers: map[string]chat.Approver{"security": {URL: fake.URL() + "/approver"}}, Callback: edge, Keys: keys,
			Client: chat.NewGuardedClient(loopback), Now: func() time.Time { return now },
		},
		approval.Jira: &chat.Jira{API: fake.URL() + "/jira", Email: "bot@acme.example", Token: fakechat.Token, Secrets: secrets, Client: client},
		approval.Mattermost: &chat.Mattermost{
			API: fake.URL() + "/mattermost", Token: fakechat.Token, Callback: edge + "/mattermost", Commands: secrets, Keys: keys, Client: client,
			Now: func() time.Time { return now },
		},
		approval.Slack: &chat.Slack{API: fake.URL() + "/slack/api", Token: fakechat.Token, Secrets: secrets, Keys: keys, Client: client},
	}
}

// targets are chats that the fakes know.
var targets = map[string]string{approval.Telegram: "-100200", approval.Slack: "C0123ABC", approval.HTTP: "security", approval.Mattermost: mattermostChannel, approval.Jira: "OPS/Task"}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// inFake is what the fakes call a channel.
func inFake(name string) string {
	if name == approval.HTTP {
		return fakechat.Approver
	}
	return name
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name := strings.Split(r.URL.Path, "/")[1]
	if name == "approvals" || name == "executors" {
		name = approval.HTTP
	}
	c := w.channels[name]
	cb, err := c.Read(r, body, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, heard{r, body, cb, err})
	if err != nil {
		rw.WriteHeader(err.(*chat.Unfit).Status) //nolint:errorlint,forcetypeassert // Read has no other error
		return
	}
	if cb.Kind == chat.Asked {
		if err := c.Ask(r.Context(), cb); err != nil {
			w.t.Errorf("%s: asking: %v", name, err)
		}
	}
	answer := cb.Answer(w.words, w.words == "")
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(answer.Status)
	_, _ = rw.Write(answer.Body)
	if err := c.Tell(r.Context(), cb, w.words); err != nil {
		w.t.Errorf("%s: telling: %v", name, err)
	}
}

// last is the newest callback.
func (w *world) last() heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heard) == 0 {
		w.t.Fatal("no callback came")
	}
	return w.heard[len(w.heard)-1]
}

// newest is the last post of a channel.
func (w *world) newest(name string) fakechat.Post {
	w.t.Helper()
	posts := w.fake.Posts(inFake(name))
	if len(posts) == 0 {
		w.t.Fatalf("%s shows nothing", name)
	}
	return posts[len(posts)-1]
}

const requestID = "7b1c9a52-6f0e-5c8e-9a55-0d9f3f4c1a2b"

// secretSync asks for a tool.
func secretSync() events.ApprovalMessage {
	return events.ApprovalMessage{
		RequestID: requestID, Digest: "3f2a9c0d1e4b", Version: 1, Lang: "en", Kind: events.KindApproval, State: approval.Open,
		Action: "tool:secret_sync", Title: "Write a secret into the run's namespace",
		Arguments:     json.RawMessage(`{"name":"shop-db","keys":["password"]}`),
		Fields:        []events.ApprovalField{{Name: "keys", Value: `["password"]`}, {Name: "name", Value: "shop-db"}},
		Justification: "The tests need a database password.", Risk: "None: the value is generated and stays in the namespace.",
		Links:   []events.ApprovalLink{{Text: "where it is read", URL: "https://github.com/acme/shop/blob/main/db.go#L12"}},
		Context: "acme/shop#7, stage dev, role dev, started by ann", IssueURL: "https://github.com/acme/shop/issues/7",
		Deadline: time.Date(2026, 5, 5, 9, 0, 0, 0, time.UTC), Quorum: 1,
	}
}

// question asks which of three.
func question() events.ApprovalMessage {
	m := secretSync()
	m.Kind, m.Action, m.Title = events.KindQuestion, "question", "Which database shall the shop use?"
	m.Fields, m.Arguments, m.Links, m.Risk = nil, nil, nil, ""
	m.Options, m.FreeText = []string{"Postgres", "SQLite", "None: keep everything in memory"}, true
	return m
}

// decided is the message when it is over.
func decided(m events.ApprovalMessage) events.ApprovalMessage {
	m.Version, m.State, m.Outcome = m.Version+1, approval.Denied, "Denied by bob: use the vault"
	m.Votes = []events.ApprovalVoteLine{{Who: "bob", Choice: events.Deny, Text: "use the vault", At: now}}
	return m
}

// ctx ends with the test: a machine may be busy.
func ctx(t *testing.T) context.Context {
	t.Helper()
	return t.Context()
}
