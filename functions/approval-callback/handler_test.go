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
	"codexk8s.dev/shared/reason"
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
	testing.TB
	fake     *fakechat.Server
	wire     wire // between the chats and the function
	channels map[string]chat.Channel
	url      string // of the database
	db       *store.DB
	sql      *pgtest.DB
	server   *serve.Server
	handler  *handler
	ticket   approval.Ticket

	mu   sync.Mutex
	sent []event.Event
}

func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.server.Handler().ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	var err error
	people := []fakechat.Person{{Name: "ann", ID: 11}, {Name: "bob", ID: 12}, {Name: "eve", ID: 13}, {Name: "cat", ID: 14}}
	if f.fake, err = fakechat.New(fakechat.Options{People: people, Client: &http.Client{Transport: &f.wire}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.fake.Close() })
	f.channels, err = chat.Connect(chat.Settings{
		Keys: key, TelegramAPI: f.fake.URL() + "/telegram", TelegramToken: fakechat.Token, TelegramSecrets: f.fake.Secret(),
		SlackAPI: f.fake.URL() + "/slack/api", SlackToken: fakechat.Token, SlackSecrets: f.fake.Secret(),
		MattermostAPI: f.fake.URL() + "/mattermost", MattermostToken: fakechat.Token, MattermostCommands: f.fake.Secret(),
		JiraAPI: f.fake.URL() + "/jira", JiraEmail: "bot@acme.example", JiraToken: fakechat.Token, JiraSecrets: f.fake.Secret(),
		Approvers:        strings.NewReplacer("AT", f.fake.URL()+"/approver", "SECRET", f.fake.Secret()).Replace("desk AT, signed AT SECRET, mail AT SECRET"),
		ApproverNetworks: "127.0.0.0/8", Callback: web.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.url = pgtest.New(t)
	if f.db, err = store.Open(t.Context(), function, f.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.sql = pgtest.Open(t, f.url)
	f.ask()
	f.server = serve.New(function, "")
	f.handler = &handler{
		db: f.db, bodies: serve.NewBodies(largeBodies), send: f.send, within: time.Minute,
		later: func(ctx context.Context, do func(context.Context)) { do(context.WithoutCancel(ctx)) },
	}
	f.handler.routes(f.server, f.channels)
	f.fake.CallTo(web.URL)
	return f
}

var places = map[string]string{
	approval.Telegram: "-1001", approval.Slack: "C1", approval.Mattermost: "abcdefghijklmnopqrstuvwx12", approval.Jira: "OPS/Task", approval.HTTP: "desk",
}

// inFake is what the fakes call a channel.
func inFake(channel string) string {
	if channel == approval.HTTP {
		return fakechat.Approver
	}
	return channel
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
		SELECT channel, form || id, id, login, now()
		FROM (VALUES ('telegram', ''), ('slack', 'U'), ('mattermost', 'user00000000000000000000'), ('jira', 'account-')) AS c (channel, form),
			(VALUES (11, 'ann'), (12, 'bob')) AS p (id, login)`)
	f.sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/demo', 1, 'acme/demo')`)
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/demo', 1, 'demo', 'dev', 'dev', 'running', 'codex', 'm', 'zoe', 'i', 'n', now())
	`, runID)
	terms := approval.Terms{Lang: "en", Who: approval.Who{Roles: []string{"maintainer"}, Approvers: []string{"desk"}}, Quorum: 1, Veto: true, Deadline: time.Hour}
	f.show(approval.Request{
		RunRef: ref, Kind: events.KindApproval, Stage: "dev", Role: "dev", Action: "tool:secret_sync", Title: "Write the secret db",
		Arguments: json.RawMessage(`{"name":"db"}`), RequestedBy: events.GitHubAccount{Login: "zoe", ID: 9}, At: f.db.Now(),
	}, terms, places)
}

// show opens a request and posts it, to one chat of each channel.
func (f *fixture) show(r approval.Request, terms approval.Terms, places map[string]string) {
	f.Helper()
	r, err := approval.Seal(r)
	if err != nil {
		f.Fatal(err)
	}
	terms.Targets = []approval.Target{{Channel: approval.All}}
	if f.ticket, _, err = approval.Decide(approval.Ticket{}, approval.Opened{Request: r, Terms: &terms}, f.db.Now()); err != nil {
		f.Fatal(err)
	}
	f.save()
	for channel, target := range places {
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
	for _, p := range f.fake.Posts(inFake(channel)) {
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
	for channel, account := range map[string]string{
		approval.Telegram: "11", approval.Slack: "U11", approval.Mattermost: "user0000000000000000000011", approval.Jira: "account-11", approval.HTTP: "desk",
	} {
		t.Run(channel, func(t *testing.T) {
			f := setup(t)
			if told := f.click(channel, "Approve", "ann"); told != "" {
				t.Errorf("ann is told %q", told)
			}
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
// A message whose poster died before it could record it is known by the first click on it, and so shows the outcome.
func TestAClickTellsWhereAMessageIs(t *testing.T) {
	for _, channel := range []string{approval.Telegram, approval.Slack} {
		t.Run(channel, func(t *testing.T) {
			f := setup(t)
			posted := f.sql.Lines(`SELECT ref::text FROM chat_messages WHERE channel = $1`, channel)
			f.sql.Do(`UPDATE chat_messages SET ref = NULL, version = 0 WHERE channel = $1`, channel)
			f.click(channel, "Approve", "ann")
			if diff := cmp.Diff(posted, f.sql.Lines(`SELECT ref::text FROM chat_messages WHERE channel = $1 AND version = 0`, channel)); diff != "" {
				t.Errorf("what is known of the message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhoseVoteDoesNotCountIsTold(t *testing.T) {
	f := setup(t)
	for _, channel := range []string{approval.Telegram, approval.Slack} {
		for person, reason := range map[string]string{"bob": reason.NotPermitted, "eve": reason.NotLinked} {
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

// A comment in a tracker carries no button. It is about the request that is shown there; of two it has to say which.
func TestACommentIsAboutWhatIsShownThere(t *testing.T) {
	f := setup(t)
	issue := f.fake.Posts(approval.Jira)[0].Chat
	say := func(text string) {
		t.Helper()
		if _, err := f.fake.Reply(t.Context(), approval.Jira, issue, "", text, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	say("/deny ffffffffffff no")
	say("what is this about?")
	if got := f.votes(); len(got) != 0 {
		t.Errorf("votes %q", got)
	}
	other := f.ticket
	r := other.Request
	r.Arguments = json.RawMessage(`{"name":"other"}`)
	var err error
	if other.Request, err = approval.Seal(r); err != nil {
		t.Fatal(err)
	}
	mine := f.ticket
	f.ticket = other
	f.save()
	f.sql.Do(`INSERT INTO chat_messages (request, channel, target, version, ref, changed_at) VALUES ($1, 'jira', $2, 1, jsonb_build_object('chat', $2::text, 'message', '7'), now())`, other.Request.ID, issue)
	say("/deny no")
	if got := f.votes(); len(got) != 0 {
		t.Errorf("of two: votes %q", got)
	}
	if all := f.fake.Posts(approval.Jira); !strings.Contains(all[len(all)-1].Text, "Several requests") {
		t.Errorf("ann is told %q", all[len(all)-1].Text)
	}
	say("/deny " + mine.Request.Digest[:12] + " use the vault")
	if diff := cmp.Diff([]string{"jira account-11 deny use the vault"}, f.votes()); diff != "" {
		t.Errorf("votes (-want +got):\n%s", diff)
	}
}

// An approver that gives up is asked again, a little later and once; later and later, should it do so each time.
func TestAnApproverThatGivesUpIsAskedAgain(t *testing.T) {
	f := setup(t)
	for n, told := range []time.Duration{0, 3 * time.Minute, time.Hour} {
		f.ticket.Told = f.db.Now().Add(-told)
		f.save()
		if _, err := f.channels[approval.HTTP].Post(t.Context(), "desk", f.ticket.Message()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.fake.GiveUp(t.Context(), f.fake.Posts(fakechat.Approver)[n+1]); err != nil {
			t.Fatal(err)
		}
	}
	due := f.sql.Lines(`
		SELECT concat_ws(' ', convert_from(data, 'UTF8')::jsonb ->> 'target', floor(extract(epoch FROM not_before - stored_at) / 60))
		FROM events WHERE type = $1 ORDER BY seq`, events.ApprovalUnanswered{}.EventType())
	if diff := cmp.Diff([]string{"desk 1", "desk 3", "desk 10"}, due); diff != "" || len(f.sent) != 0 {
		t.Errorf("sent %v, in minutes (-want +got):\n%s", f.sent, diff)
	}
	if got := f.votes(); len(got) != 0 {
		t.Errorf("votes %q", got)
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
		"no secret":                {"/telegram", `{}`, nil, 401},
		"another secret":           {"/telegram", `{}`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {"guessed"}}, 401},
		"no signature":             {"/slack", `payload={}`, nil, 401},
		"a stale signature":        {"/slack", `payload={}`, http.Header{"X-Slack-Request-Timestamp": {"1"}, "X-Slack-Signature": {"v0=00"}}, 401},
		"no JSON":                  {"/telegram", `{`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 400},
		"too long":                 {"/telegram", strings.Repeat(" ", chat.MaxCallback+1), http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 413},
		"nothing for us":           {"/telegram", `{}`, http.Header{"X-Telegram-Bot-Api-Secret-Token": {f.fake.Secret()}}, 200},
		"a channel that is not":    {"/fax", `{}`, nil, 404},
		"Jira without a signature": {"/jira", `{}`, nil, 401},
		"Mattermost without a tag": {"/mattermost", `{}`, nil, 401},
		"no attempt of ours":       {"/approvals/webhook/desk/guessed", `{"correlation_id":"x","decision":"approve"}`, nil, 404},
		"no approver":              {"/executors/webhook/cab/guessed", `{"correlation_id":"x","status":"success"}`, nil, 404},
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
