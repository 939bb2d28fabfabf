package main

import (
	"bytes"
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
	runID     = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"
	requestID = "a0000000-3b57-4c0e-9d6a-52b0c1f4a9e8"
)

var (
	ref      = events.RunRef{RunID: runID, Project: "demo", Repository: "acme/demo", RepositoryID: 77, Issue: 1}
	telegram = events.ApprovalTarget{Channel: approval.Telegram, Target: "-1001"}
	slack    = events.ApprovalTarget{Channel: approval.Slack, Target: "C1"}

	mattermost  = events.ApprovalTarget{Channel: approval.Mattermost, Target: strings.Repeat("c", 26)}
	jiraIssue   = events.ApprovalTarget{Channel: approval.Jira, Target: "OPS/Task"}
	jiraComment = events.ApprovalTarget{Channel: approval.Jira, Target: "OPS-12"}
)

// A fixture is the fake chats, a request in the database, and the function.
type fixture struct {
	*testing.T
	fake   *fakechat.Server
	db     *store.DB
	sql    *pgtest.DB
	server *serve.Server

	mu    sync.Mutex
	clock time.Time
	sent  []string // type and place
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)}
	var err error
	now := func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.clock }
	if f.fake, err = fakechat.New(fakechat.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.fake.Close() })
	channels, err := chat.Connect(chat.Settings{
		Keys: "a-key-of-our-own", TelegramAPI: f.fake.URL() + "/telegram", TelegramToken: fakechat.Token, SlackAPI: f.fake.URL() + "/slack/api", SlackToken: fakechat.Token,
		MattermostAPI: f.fake.URL() + "/mattermost", MattermostToken: fakechat.Token, JiraAPI: f.fake.URL() + "/jira", JiraEmail: "bot@acme.example", JiraToken: fakechat.Token,
		Approvers: "desk " + f.fake.URL() + "/approver", ApproverNetworks: "127.0.0.0/8", Callback: "https://codexk8s.example.com", Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.New(t)
	if f.db, err = store.Open(t.Context(), function, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.db.SetClock(now)
	f.sql = pgtest.Open(t, url)
	f.sql.Do(`INSERT INTO projects (id, name) VALUES ('demo', 'Demo')`)
	f.sql.Do(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/demo', 1, 'acme/demo')`)
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/demo', 1, 'demo', 'dev', 'dev', 'running', 'codex', 'm', 'zoe', 'i', 'n', now())
	`, runID)
	ticket, err := json.Marshal(approval.Ticket{Request: approval.Request{RunRef: ref, ID: requestID}, State: approval.Open})
	if err != nil {
		t.Fatal(err)
	}
	f.sql.Do(`INSERT INTO approvals (id, run_id, state, asked_at, ticket) VALUES ($1, $2, 'open', now(), $3)`, requestID, runID, ticket)
	h := &handler{db: f.db, channels: channels, send: f.send, homes: map[string][]string{approval.GitHub: {""}}}
	h.home(approval.Telegram, telegram.Target)
	h.home(approval.Slack, slack.Target)
	f.serve(h)
	return f
}

// serve has the handler's events noted: they are sent to a Broker that is a list.
func (f *fixture) serve(h *handler) {
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := serve.ReadEvent(r)
		if err != nil {
			f.Error(err)
		}
		_ = f.send(r.Context(), e)
		w.WriteHeader(http.StatusAccepted)
	}))
	f.Cleanup(sink.Close)
	f.server = serve.New(function, sink.URL)
	h.routes(f.server)
}

func (f *fixture) send(_ context.Context, es ...event.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range es {
		var at struct{ Channel, Target, Reason string }
		_ = json.Unmarshal(e.Data(), &at)
		f.sent = append(f.sent, strings.TrimSpace(strings.Join([]string{strings.TrimPrefix(e.Type(), events.Prefix), at.Channel, at.Target, at.Reason}, " ")))
	}
	return nil
}

func changed(version int64, state approval.State, targets ...events.ApprovalTarget) events.ApprovalChanged {
	c := events.ApprovalChanged{RunRef: ref, Targets: targets, Message: events.ApprovalMessage{
		RequestID: requestID, Digest: "0123456789ab", Version: version, Lang: "en", Kind: events.KindApproval, State: state,
		Action: "tool:secret_sync", Title: "Write the secret db", Arguments: json.RawMessage(`{"name":"db"}`), Context: "acme/demo#1",
	}}
	if state.Final() {
		c.Message.Outcome = "Approved by ann."
	}
	return c
}

// hear delivers an event of the age, once more if id is known, and returns the status.
func (f *fixture) hear(id string, p events.Payload, age time.Duration) int {
	f.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.sql.Log("https://test", id, p.EventType(), data)
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(data))
	for k, v := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "https://test", "Ce-Type": p.EventType(), "Content-Type": "application/json",
		"Ce-Time": f.db.Now().Add(-age).Format(time.RFC3339Nano),
	} {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return w.Code
}

// shown are the messages in the fake chats: channel, edits, whether the outcome stands in it.
func (f *fixture) shown() (all []string) {
	for _, channel := range []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira} {
		for _, p := range f.fake.Posts(channel) {
			all = append(all, fmt.Sprintf("%s %d %t", p.Channel, p.Edits, strings.Contains(p.Text, "Approved by ann.")))
		}
	}
	return all
}

func (f *fixture) want(what string, got []string, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEveryPlaceShowsTheNewestVersionInOneMessage(t *testing.T) {
	f := setup(t)
	all := events.ApprovalTarget{Channel: approval.All}
	for range 2 { // each event comes twice
		if code := f.hear("open", changed(1, approval.Open, all), 0); code != http.StatusAccepted {
			t.Fatalf("answered %d", code)
		}
	}
	f.want("open", f.shown(), "telegram 0 false", "slack 0 false")
	f.hear("decided", changed(3, approval.Approved, all, telegram, slack), 0)
	f.want("decided", f.shown(), "telegram 1 true", "slack 1 true")
	f.hear("late", changed(2, approval.Open, all), 0)
	f.want("what comes late", f.shown(), "telegram 1 true", "slack 1 true")
	notes := f.sql.Lines(`SELECT (convert_from(data, 'UTF8')::jsonb -> 'note' ->> 'version') FROM events WHERE type = $1 ORDER BY 1`, events.GitHubChangeRequested{}.EventType())
	f.want("wanted comments", notes, "1", "2", "3")
	told := f.sql.Lines(`SELECT convert_from(data, 'UTF8')::jsonb -> 'note' -> 'delivered' ->> 'version' FROM events WHERE type = $1 ORDER BY 1`, events.GitHubChangeRequested{}.EventType())
	f.want("to be said of them", told, "1", "2", "3")
	if n := pgtest.One[int](f.sql, `SELECT count(*) FROM events WHERE type = $1`, events.ApprovalDelivered{}.EventType()); n != 4 {
		t.Errorf("%d delivered, want two each time; github-caller says it of the comments", n)
	}
}

// Several instances that have the same event post one message.
func TestInstancesAtOncePostOnce(t *testing.T) {
	f := setup(t)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() { f.hear(fmt.Sprint("event-", i%2), changed(1, approval.Open, telegram, slack), 0) })
	}
	all.Wait()
	f.want("shown", f.shown(), "telegram 0 false", "slack 0 false")
}

// Who posts and dies, or does not hear that it has, leaves a message that nobody has recorded. A channel is asked for
// it. Telegram can't be: there is a second message, which is kept current.
func TestAMessageThatNobodyRecorded(t *testing.T) {
	for _, row := range []struct {
		at          events.ApprovalTarget
		again, ends []string
	}{
		{telegram, []string{"telegram 0 false", "telegram 0 false"}, []string{"telegram 0 false", "telegram 1 true"}},
		{slack, []string{"slack 1 false"}, []string{"slack 2 true"}},
		{mattermost, []string{"mattermost 1 false"}, []string{"mattermost 2 true"}},
		{jiraIssue, []string{"jira 1 false"}, []string{"jira 2 true"}},
		{jiraComment, []string{"jira 1 false"}, []string{"jira 2 true"}},
	} {
		t.Run(row.at.Channel+" "+row.at.Target, func(t *testing.T) {
			f := setup(t)
			c := changed(1, approval.Open, row.at)
			f.fake.Trouble(fakechat.Trouble{Channel: row.at.Channel, Kind: "mute"})
			if code := f.hear("open", c, 0); code/100 != 5 {
				t.Errorf("answered %d when nothing is known of the message", code)
			}
			f.want("posted, and not recorded", f.shown(), row.at.Channel+" 0 false")
			f.hear("open", c, 0)
			f.want("once more", f.shown(), row.again...)
			f.hear("decided", changed(2, approval.Approved, row.at), 0)
			f.want("decided", f.shown(), row.ends...)
		})
	}
}

// An App that may not read its channel's messages posts once more.
func TestSlackWithoutTheRightToRead(t *testing.T) {
	f := setup(t)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Slack, Kind: "mute"})
	f.hear("open", changed(1, approval.Open, slack), 0)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Slack, Kind: "unauthorized", Times: 1})
	if code := f.hear("open", changed(1, approval.Open, slack), 0); code != http.StatusAccepted {
		t.Errorf("answered %d", code)
	}
	f.want("shown", f.shown(), "slack 0 false", "slack 0 false")
}

// A place that is to be left alone for longer than people can wait counts as unreachable at once.
func TestAPlaceThatIsToBeLeftAlone(t *testing.T) {
	f := setup(t)
	for after, want := range map[time.Duration]string{5 * time.Minute: "[]", 20 * time.Minute: "[approval.undeliverable slack C1 unreachable]"} {
		f.sent = nil
		f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Slack, Kind: "limit", After: after, Times: 1})
		if code := f.hear("after "+after.String(), changed(1, approval.Open, slack), 0); code != http.StatusServiceUnavailable {
			t.Errorf("answered %d", code)
		}
		if got := fmt.Sprint(f.sent); got != want {
			t.Errorf("to be left alone for %s: said %s, want %s", after, got, want)
		}
	}
}

// One place that does not work keeps no other from its message, and is tried again until it works.
func TestAPlaceThatIsDownHoldsUpNoOther(t *testing.T) {
	f := setup(t)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Slack, Kind: "down", Times: 2})
	c := changed(1, approval.Open, telegram, slack)
	if code := f.hear("e", c, 0); code/100 != 5 {
		t.Errorf("answered %d while Slack was down", code)
	}
	f.want("told meanwhile", f.sent, "approval.delivered telegram -1001")
	f.hear("e", c, events.Patience+time.Second)
	if !strings.Contains(fmt.Sprint(f.sent), "approval.undeliverable slack C1 unreachable") {
		t.Errorf("after all patience: %v", f.sent)
	}
	f.fake.Calm()
	if code := f.hear("e", c, events.Patience+time.Minute); code != http.StatusAccepted {
		t.Errorf("answered %d", code)
	}
	f.want("in the end", f.shown(), "telegram 0 false", "slack 0 false")
	if !strings.Contains(fmt.Sprint(f.sent), "approval.delivered slack C1") {
		t.Errorf("in the end: %v", f.sent)
	}
}

func TestALimitIsWaitedFor(t *testing.T) {
	f := setup(t)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Telegram, Kind: "limit", Times: 1, After: 7 * time.Second})
	if code := f.hear("e", changed(1, approval.Open, telegram), 0); code != http.StatusServiceUnavailable {
		t.Errorf("answered %d", code)
	}
	if code := f.hear("e", changed(1, approval.Open, telegram), 0); code != http.StatusAccepted {
		t.Errorf("then answered %d", code)
	}
	f.want("shown", f.shown(), "telegram 0 false")
}

// A place that refuses for good is told once, and the event is handled.
func TestAPlaceThatRefusesIsTold(t *testing.T) {
	f := setup(t)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Telegram, Kind: "kicked", Times: 1})
	nowhere := events.ApprovalTarget{Channel: "irc", Target: "#ops"}
	for range 2 {
		if code := f.hear("e", changed(1, approval.Open, telegram, nowhere), 0); code != http.StatusAccepted {
			t.Errorf("answered %d", code)
		}
	}
	got := f.sql.Lines(`SELECT (convert_from(data, 'UTF8')::jsonb ->> 'channel') || ' ' || (convert_from(data, 'UTF8')::jsonb ->> 'reason') FROM events WHERE type = $1 ORDER BY 1`,
		events.ApprovalUndeliverable{}.EventType())
	f.want("undeliverable", got, "irc "+reason.NotConnected, "telegram "+reason.BotKicked)
}

// A group that became a supergroup goes on there.
func TestAChatThatMoved(t *testing.T) {
	f := setup(t)
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Telegram, Kind: "migrated", Times: 1, To: "-100777"})
	f.hear("open", changed(1, approval.Open, telegram), 0)
	f.hear("decided", changed(2, approval.Approved, telegram), 0)
	f.want("shown", f.shown(), "telegram 1 true")
	f.want("where", f.sql.Lines(`SELECT target || ' is ' || (ref ->> 'chat') FROM chat_messages`), "-1001 is -100777")
}

// A reminder goes to those who have the message, once, and never where nobody was asked.
func TestAReminder(t *testing.T) {
	f := setup(t)
	f.hear("open", changed(1, approval.Open, telegram), 0)
	c := changed(2, approval.Open, telegram, slack)
	c.Reminder = &events.ApprovalReminder{Number: 1, Text: "Still waiting"}
	for range 2 {
		f.hear("remind", c, 0)
	}
	var texts []string
	for _, p := range f.fake.Posts(fakechat.Telegram) {
		texts = append(texts, fmt.Sprint(strings.Contains(p.Text, "Still waiting")))
	}
	f.want("telegram", texts, "false", "true")
	if n := len(f.fake.Posts(fakechat.Slack)); n != 1 {
		t.Errorf("%d messages in Slack", n)
	}
	f.hear("decided", changed(3, approval.Approved, telegram, slack), 0)
	f.want("the first is kept current", f.shown(), "telegram 1 true", "telegram 0 false", "slack 1 true") // version 2 says what version 1 said
}

// What was decided before a place could be asked is not told there.
func TestNobodyIsToldTheEndWhoWasNotAsked(t *testing.T) {
	f := setup(t)
	f.hear("decided", changed(2, approval.Approved, telegram), 0)
	f.want("shown", f.shown())
}

// Who voted by a comment is answered by one; elsewhere the click was.
func TestARefusalIsToldOnGitHub(t *testing.T) {
	f := setup(t)
	for channel, want := range map[string]int{approval.Slack: 0, approval.GitHub: 1} {
		f.hear(channel, events.ApprovalRefused{RequestID: requestID, VoteID: "v", By: events.Voter{Channel: channel, Name: "bob"}, Reason: "x", Text: "No."}, 0)
		got := f.sql.Lines(`SELECT convert_from(data, 'UTF8')::jsonb -> 'note' ->> 'text' FROM events WHERE type = $1`, events.GitHubChangeRequested{}.EventType())
		if len(got) != want || want == 1 && got[0] != "@bob: No." {
			t.Errorf("%s: %q", channel, got)
		}
		f.sql.Do(`DELETE FROM events WHERE type = $1`, events.GitHubChangeRequested{}.EventType())
	}
}

// A notice is said once in each chat, whatever comes twice and whatever fails between. Trackers are not told.
func TestANoticeIsSaidOnceInEachChat(t *testing.T) {
	f := setup(t)
	n := events.NoticeRequested{RunRef: ref, Key: "budget day 80", Text: "80 % of the budget of the project's day is used: $4.00 of $5.00.",
		Targets: []events.ApprovalTarget{telegram, slack, mattermost, jiraIssue, {Channel: approval.GitHub}}}
	f.fake.Trouble(fakechat.Trouble{Channel: fakechat.Slack, Kind: "down", Times: 1})
	if code := f.hear("one", n, 0); code < 500 {
		t.Errorf("while Slack fails: answered %d", code)
	}
	for _, id := range []string{"one", "one", "two"} {
		if code := f.hear(id, n, 0); code != http.StatusAccepted {
			t.Errorf("%s: answered %d", id, code)
		}
	}
	var said []string
	for _, channel := range []string{fakechat.Telegram, fakechat.Slack, fakechat.Mattermost, fakechat.Jira} {
		for _, p := range f.fake.Posts(channel) {
			said = append(said, p.Channel+" "+fmt.Sprint(strings.Contains(p.Text, "80 % of the budget of the project")))
		}
	}
	f.want("said", said, "telegram true", "slack true", "mattermost true")
}
