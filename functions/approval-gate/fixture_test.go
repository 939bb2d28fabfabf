package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/approval"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

const runID = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8"

// A fixture is a project with one run that asks, its people, and the function. alice's run it is, bob may decide, eve
// has no role.
type fixture struct {
	testing.TB
	db     *store.DB
	sql    *pgtest.DB
	server *serve.Server

	mu    sync.Mutex
	clock time.Time
	sent  []event.Event
	n     int
}

func setup(t testing.TB, url string) *fixture {
	t.Helper()
	f := &fixture{TB: t, clock: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC), sql: pgtest.Open(t, url)}
	var err error
	if f.db, err = store.Open(t.Context(), function, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.db.SetClock(f.now)
	f.sql.Do(`INSERT INTO projects (id, name) VALUES ('demo', 'Demo')`)
	f.sql.Do(`INSERT INTO repositories (full_name, project_id, github_id, name) VALUES ('acme/demo', 'demo', 77, 'acme/demo')`)
	f.sql.Do(`INSERT INTO members (project_id, login, role, github_id) VALUES ('demo', 'alice', 'maintainer', 1), ('demo', 'bob', 'maintainer', 2), ('demo', 'rita', 'reader', 3)`)
	f.sql.Do(`INSERT INTO chat_accounts (channel, account, github_id, login, linked_at) VALUES ('telegram', '12', 2, 'bob', now()), ('slack', 'U12', 2, 'bob', now()), ('slack', 'U11', 1, 'alice', now())`)
	f.sql.Do(`INSERT INTO work_items (repository, issue, full_name, pull_request) VALUES ('acme/demo', 1, 'acme/demo', 2)`)
	f.sql.Do(`
		INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/demo', 1, 'demo', 'dev', 'dev', 'running', 'codex', 'm', 'alice', 'i', 'n', $2)
	`, runID, f.clock)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := serve.ReadEvent(r)
		if err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent = append(f.sent, e)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	f.server = serve.New(function, sink.URL)
	(&handler{db: f.db}).routes(f.server)
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.clock
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = f.clock.Add(d)
}

var ref = events.RunRef{RunID: runID, Project: "demo", Repository: "acme/demo", RepositoryID: 77, Issue: 1}

// request is what the run asks, changed by edit, and sealed.
func (f *fixture) request(edit func(*approval.Request)) approval.Request {
	f.Helper()
	r := approval.Request{
		RunRef: ref, Kind: events.KindApproval, Stage: "dev", Role: "dev", Action: "tool:secret_sync", Title: "Write the secret db",
		Arguments: json.RawMessage(`{"name":"db"}`), HeadSHA: "c0ffee", RequestedBy: events.GitHubAccount{Login: "alice", ID: 1}, At: f.now(),
	}
	if edit != nil {
		edit(&r)
	}
	sealed, err := approval.Seal(r)
	if err != nil {
		f.Fatal(err)
	}
	return sealed
}

// hear delivers an event that is in the log, and returns the status.
func (f *fixture) hear(p events.Payload) int {
	f.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	return f.deliver(p.EventType(), data)
}

func (f *fixture) deliver(eventType string, data []byte) int {
	f.Helper()
	f.mu.Lock()
	f.n++
	id := fmt.Sprintf("event-%d", f.n)
	f.mu.Unlock()
	f.sql.Log("https://test", id, eventType, data)
	return f.again(id, eventType, data)
}

func (f *fixture) again(id, eventType string, data []byte) int {
	f.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(data))
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "https://test", "Ce-Type": eventType, "Content-Type": "application/json"} {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	return w.Code
}

// vote is one in a chat of whom the account is.
func vote(r approval.Request, channel, account string, choice events.Choice, id string) events.ApprovalVoted {
	return events.ApprovalVoted{ID: id, RequestID: r.ID, Digest: approval.ShortDigest(r), Choice: choice, By: events.Voter{Channel: channel, Account: account}}
}

// said are the types of what was sent since the last call, without the platform's prefix.
func (f *fixture) said() (types []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.sent {
		types = append(types, e.Type()[len(events.Prefix):])
	}
	f.sent = nil
	return types
}

func (f *fixture) wantState(r approval.Request, want approval.State) {
	f.Helper()
	t, err := f.db.Ticket(f.Context(), r.ID)
	if err != nil || t.State != want {
		f.Errorf("%s is %q, want %q (%v)", r.Title, t.State, want, err)
	}
}
