package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/chat"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakechat "codexk8s.dev/test/fakes/chat"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	runID = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"
	key   = "a-key-of-our-own"
)

var ref = events.RunRef{RunID: runID, Project: "demo", Repository: "acme/demo", RepositoryID: 77, Issue: 1}

// A fixture is a request that is shown in the fake chats, and the function that they call. ann is linked and may
// decide, bob is linked and may not, eve is linked to nobody.
type fixture struct {
	*testing.T
	fake     *fakechat.Server
	channels map[string]chat.Channel
	db       *store.DB
	sql      *pgtest.DB
	server   *serve.Server
	ticket   approval.Ticket

	mu   sync.Mutex
	sent []event.Event
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t}
	var err error
	if f.fake, err = fakechat.New(fakechat.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.fake.Close() })
	f.channels, err = chat.Connect(chat.Settings{
		Keys: key, TelegramAPI: f.fake.URL() + "/telegram", TelegramToken: fakechat.Token, TelegramSecrets: f.fake.Secret(),
		SlackAPI: f.fake.URL() + "/slack/api", SlackToken: fakechat.Token, SlackSecrets: f.fake.Secret(),
	})
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.New(t)
	if f.db, err = store.Open(t.Context(), function, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.sql = pgtest.Open(t, url)
	f.ask()
	f.server = serve.New(function, "")
	h := &handler{db: f.db, bodies: serve.NewBodies(largeBodies), send: f.send, later: func(ctx context.Context, do func(context.Context)) { do(context.WithoutCancel(ctx)) }}
	h.routes(f.server, f.channels)
	web := httptest.NewServer(f.server.Handler())
	t.Cleanup(web.Close)
	f.fake.CallTo(web.URL)
	return f
}

func (f *fixture) send(_ context.Context, es ...event.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, es...)
	return nil
}

// ask puts a request into the database and into the chats.
func (f *fixture) ask() {
	f.Helper()
	f.sql.Do(`INSERT INTO projects (id, name) VALUES ('demo', 'Demo')`)
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'ann', 'maintainer', 11), ('demo', 'bob', 'reader', 12)`)
	f.sql.Do(`INSERT INTO chat_accounts (channel, account, github_id, login, linked_at)
		VALUES ('telegram', '11', 11, 'ann', now()), ('telegram', '12', 12, 'bob', now()), ('slack', 'U11', 11, 'ann', now()), ('slack', 'U12', 12, 'bob', now())`)
	f.sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/demo', 1, 'acme/demo')`)
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/demo', 1, 'demo', 'dev', 'dev', 'running', 'codex', 'm', 'zoe', 'i', 'n', now())
	`, runID)
	r, err := approval.Seal(approval.Request{
		RunRef: ref, Kind: events.KindApproval, Stage: "dev", Role: "dev", Action: "tool:secret_sync", Title: "Write the secret db",
		Arguments: json.RawMessage(`{"name":"db"}`), RequestedBy: events.GitHubAccount{Login: "zoe", ID: 9}, At: f.db.Now(),
	})
	if err != nil {
		f.Fatal(err)
	}
	terms := approval.Terms{Lang: "en", Who: approval.Who{Roles: []string{"maintainer"}}, Quorum: 1, Veto: true, Deadline: time.Hour, Targets: []approval.Target{{Channel: approval.All}}}
	if f.ticket, _, err = approval.Decide(approval.Ticket{}, approval.Opened{Request: r, Terms: &terms}, f.db.Now()); err != nil {
		f.Fatal(err)
	}
	f.save()
	for channel, target := range map[string]string{approval.Telegram: "-1001", approval.Slack: "C1"} {
		posted, err := f.channels[channel].Post(f.Context(), target, f.ticket.Message())
		if err != nil {
			f.Fatal(err)
		}
		at, err := json.Marshal(posted.Ref)
		if err != nil {
			f.Fatal(err)
		}
		f.sql.Do(`INSERT INTO chat_messages (request, channel, target, version, ref, changed_at) VALUES ($1, $2, $3, 1, $4, now())`, r.ID, channel, target, at)
	}
}

func (f *fixture) save() {
	f.Helper()
	_, err := f.db.Emit(f.Context(), store.Cause{Source: "test", ID: "save"}, "", func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
		return events.Decision{}, tx.SaveTicket(ctx, f.ticket)
	})
	if err != nil {
		f.Fatal(err)
	}
}

// click presses a button of the request in a chat, and returns what the person is told.
func (f *fixture) click(channel, words, person string) string {
	f.Helper()
	before := len(f.fake.Told(channel))
	for _, p := range f.fake.Posts(channel) {
		if len(p.Buttons) > 0 {
			if _, err := f.fake.Click(f.Context(), p, words, person); err != nil {
				f.Fatal(err)
			}
			break
		}
	}
	var told []string
	for _, t := range f.fake.Told(channel)[before:] {
		told = append(told, t.Text)
	}
	return strings.Join(told, "\n")
}

// votes are those that were stored, as "channel account choice text".
func (f *fixture) votes() []string {
	return f.sql.Lines(`
		SELECT concat_ws(' ', d ->> 'channel', d ->> 'account', d ->> 'choice', d ->> 'text')
		FROM (SELECT seq, convert_from(data, 'UTF8')::jsonb AS e FROM events WHERE type = $1) AS v, LATERAL (SELECT e || (e -> 'by') AS d) AS x
		ORDER BY seq`, events.ApprovalVoted{}.EventType())
}

func TestAClickBecomesAVote(t *testing.T) {
	for _, channel := range []string{approval.Telegram, approval.Slack} {
		t.Run(channel, func(t *testing.T) {
			f := setup(t)
			if told := f.click(channel, "Approve", "ann"); told != "" {
				t.Errorf("ann is told %q", told)
			}
			account := map[string]string{approval.Telegram: "11", approval.Slack: "U11"}[channel]
			if diff := cmp.Diff([]string{channel + " " + account + " approve"}, f.votes()); diff != "" {
				t.Errorf("votes (-want +got):\n%s", diff)
			}
			if len(f.sent) != 1 || events.Extension(f.sent[0], events.ExtCorrelation) != "acme/demo#1" {
				t.Errorf("sent %v", f.sent)
			}
		})
	}
}

// A vote that will not count is stored all the same, for the audit, and the person who cast it is told why.
func TestWhoseVoteDoesNotCountIsTold(t *testing.T) {
	f := setup(t)
	for _, channel := range []string{approval.Telegram, approval.Slack} {
		for person, reason := range map[string]string{"bob": approval.NotPermitted, "eve": approval.NotLinked} {
			if told, want := f.click(channel, "Approve", person), f.ticket.Refusal(reason); !strings.Contains(told, want) || want == "" {
				t.Errorf("%s in %s is told %q, want %q", person, channel, told, want)
			}
		}
	}
	if n := len(f.votes()); n != 4 {
		t.Errorf("%d votes are stored", n)
	}
	f.ticket.State, f.ticket.Outcome = approval.Denied, &approval.Outcome{By: []string{"zed"}, At: f.db.Now()}
	f.save()
	if told := f.click(approval.Telegram, "Approve", "ann"); !strings.Contains(told, "zed") {
		t.Errorf("too late, ann is told %q", told)
	}
}

// A reason is asked for only of a person whose denial would count.
func TestADenialWithAReason(t *testing.T) {
	f := setup(t)
	if told := f.click(approval.Slack, "reason", "eve"); told == "" || f.fake.Form(fakechat.Slack, "eve") != nil {
		t.Errorf("eve is asked for a reason, told %q", told)
	}
	f.click(approval.Slack, "reason", "ann")
	if _, err := f.fake.Fill(t.Context(), fakechat.Slack, "too risky", "ann"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"slack U11 deny too risky"}, f.votes()); diff != "" {
		t.Errorf("votes (-want +got):\n%s", diff)
	}
}

func TestACodeLinksTheAccountThatSendsIt(t *testing.T) {
	f := setup(t)
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'eva', 'maintainer', 13)`)
	code, err := f.db.LinkCode(t.Context(), "eva")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := f.fake.Link(t.Context(), fakechat.Telegram, code, "eve"); err != nil {
			t.Fatal(err)
		}
	}
	if told := f.click(approval.Telegram, "Approve", "eve"); told != "" {
		t.Errorf("once linked, eve is told %q", told)
	}
	if diff := cmp.Diff([]string{"telegram 13 eva"}, f.sql.Lines(`SELECT channel || ' ' || account || ' ' || login FROM chat_accounts WHERE account LIKE '%13'`)); diff != "" {
		t.Error(diff)
	}
}

// What is not to be believed is refused before it is read, and leaves nothing.
func TestWhatIsNotGenuine(t *testing.T) {
	f := setup(t)
	for name, c := range map[string]struct {
		path, body string
		header     http.Header
		want       int
	}{
		"no secret":             {"/telegram", `{}`, nil, 401},
		"another secret":        {"/telegram", `{}`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {"guessed"}}, 401},
		"no signature":          {"/slack", `payload={}`, nil, 401},
		"a stale signature":     {"/slack", `payload={}`, http.Header{"X-Slack-Request-Timestamp": {"1"}, "X-Slack-Signature": {"v0=00"}}, 401},
		"no JSON":               {"/telegram", `{`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 400},
		"too long":              {"/telegram", strings.Repeat(" ", chat.MaxCallback+1), http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 413},
		"nothing for us":        {"/telegram", `{}`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 200},
		"a channel that is not": {"/jira", `{}`, nil, 404},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		for k, v := range c.header {
			r.Header[k] = v
		}
		w := httptest.NewRecorder()
		f.server.Handler().ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: answered %d, want %d", name, w.Code, c.want)
		}
	}
	if n := len(f.votes()); n != 0 {
		t.Errorf("%d votes", n)
	}
}

// While Postgres is away Slack is answered in time and its person told; Telegram is asked to send again.
func TestADatabaseThatIsAway(t *testing.T) {
	f := setup(t)
	_ = f.db.Close(t.Context())
	if told := f.click(approval.Slack, "Approve", "ann"); told != strings.Join(strings.Fields(notStored), " ") {
		t.Errorf("told %q", told)
	}
	for _, p := range f.fake.Posts(approval.Telegram) {
		if res, err := f.fake.Click(t.Context(), p, "Approve", "ann"); err == nil && res.Status/100 == 2 {
			t.Errorf("telegram is answered %s", fmt.Sprint(res.Status))
		}
	}
}
