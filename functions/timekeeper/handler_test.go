package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/github"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
)

type fixture struct {
	t    *testing.T
	db   *store.DB
	h    *handler
	s    *serve.Server
	mu   sync.Mutex
	sent []string // types
}

func setup(t *testing.T) *fixture {
	t.Helper()
	url := pgtest.New(t, func(ctx context.Context, url string) error {
		db, err := sql.Open("pgx", url)
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = migrations.Up(ctx, db)
		return err
	})
	f := &fixture{t: t}
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent = append(f.sent, r.Header.Get("Ce-Type"))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	var err error
	f.db, err = store.Open(t.Context(), "timekeeper", url)
	must(t, err)
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	f.s = serve.New("timekeeper", sink.URL)
	f.h = &handler{db: f.db, send: f.s.Send}
	f.h.routes(f.s)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	_, err := f.db.Pool().Exec(f.t.Context(), query, args...)
	must(f.t, err)
}

func (f *fixture) lines(query string) []string {
	f.t.Helper()
	rows, err := f.db.Pool().Query(f.t.Context(), query)
	must(f.t, err)
	defer rows.Close()
	out := []string{}
	for rows.Next() {
		var s string
		must(f.t, rows.Scan(&s))
		out = append(out, s)
	}
	return out
}

func (f *fixture) want(what string, got, want []string) {
	f.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s: %s", what, diff)
	}
}

func (f *fixture) call(method, path string, headers map[string]string, body string) (int, string) {
	f.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	f.s.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func (f *fixture) tick() {
	f.t.Helper()
	code, said := f.call("POST", "/", map[string]string{"ce-specversion": "1.0", "ce-id": "t", "ce-source": "/ping", "ce-type": events.TypePing}, "")
	if code != 202 || said != "" {
		f.t.Errorf("the tick was answered %d %s", code, said)
	}
}

// emit stores an event that two functions have to handle, and is overdue.
func (f *fixture) emit() event.Event {
	f.t.Helper()
	cause := event.New()
	cause.SetSource("test")
	cause.SetID("cause")
	es, err := f.db.Emit(f.t.Context(), cause, "acme/api#1", func(context.Context, *store.Tx) (events.Decision, error) {
		p := events.RunCheck{RunRef: events.RunRef{RunID: "r", Repository: "acme/api", Issue: 1}}
		return events.Decision{Emit: []events.Draft{events.Now(p)}, Audit: []events.Record{{Actor: "a", Action: "b"}}}, nil
	})
	must(f.t, err)
	f.exec(`UPDATE pending SET due_at = now()`)
	return es[0]
}

const pendingRows = `SELECT function || ' ' || attempts FROM pending ORDER BY function`

func TestRoutesAreTheCatalogs(t *testing.T) {
	f := setup(t)
	f.want("types", f.s.Types(), events.Catalog["timekeeper"])
}

func TestDueIsSentUntilItIsADeadLetter(t *testing.T) {
	f := setup(t)
	e := f.emit()
	f.tick()
	f.tick() // nothing more is due
	f.want("sent", f.sent, []string{e.Type()})
	f.want("pending", f.lines(pendingRows), []string{"run-observer 1", "stage-router 1"})
	f.exec(`UPDATE pending SET due_at = now(), attempts = 13 WHERE function = 'run-observer'`)
	f.exec(`UPDATE pending SET due_at = now(), attempts = 12 WHERE function = 'stage-router'`)
	f.tick()
	f.want("pending", f.lines(pendingRows), []string{"stage-router 13"})
	f.want("dead", f.lines(`SELECT function || ' ' || code || ' ' || error FROM dead_letters`), []string{"run-observer 0 no receipt after 13 deliveries"})
}

func TestDeadLetterSinkAndReplay(t *testing.T) {
	f := setup(t)
	e := f.emit()
	dead := func(dest, code string) {
		t.Helper()
		status, said := f.call("POST", "/dead-letters", map[string]string{
			"ce-specversion": "1.0", "ce-id": e.ID(), "ce-source": e.Source(), "ce-type": e.Type(), "Content-Type": "application/json",
			"ce-knativeerrordest": dest, "ce-knativeerrorcode": code, "ce-knativeerrordata": base64.StdEncoding.EncodeToString([]byte("no such run\n")),
		}, string(e.Data()))
		if status != 202 || said != "" {
			t.Errorf("answered %d %s", status, said)
		}
	}
	letters := func() []string {
		return f.lines(`SELECT function || ' ' || code || ' ' || error || ' ' || (replayed_at IS NOT NULL) FROM dead_letters ORDER BY function`)
	}
	dead("http://stage-router.codexk8s.svc.cluster.local/", "503")
	f.want("after an outage", letters(), []string{})
	f.want("pending", f.lines(pendingRows), []string{"run-observer 0", "stage-router 0"})
	dead("http://stage-router.codexk8s.svc.cluster.local/", "422")
	f.want("after a refusal", letters(), []string{"stage-router 422 no such run false"})
	f.want("pending", f.lines(pendingRows), []string{"run-observer 0"})
	if code, said := f.call("GET", "/dead-letters", nil, ""); code != 200 || !strings.Contains(said, `"error":"no such run"`) || strings.Contains(said, "knativeerror") {
		t.Errorf("the list is %d %s", code, said)
	}
	q := url.Values{"function": {"stage-router"}, "source": {e.Source()}, "id": {e.ID()}}
	if code, said := f.call("POST", "/dead-letters/replay?"+q.Encode(), nil, ""); code != 202 {
		t.Errorf("replay: %d %s", code, said)
	}
	f.want("sent", f.sent, []string{e.Type()})
	f.want("pending", f.lines(pendingRows), []string{"run-observer 0", "stage-router 0"})
	f.want("replayed", letters(), []string{"stage-router 422 no such run true"})
	q.Set("id", "none")
	if code, _ := f.call("POST", "/dead-letters/replay?"+q.Encode(), nil, ""); code != 404 {
		t.Errorf("replay of nothing: %d", code)
	}
	f.exec(`INSERT INTO inbox (function, source, id) VALUES ('run-observer', $1, $2)`, e.Source(), e.ID())
	dead("http://127.0.0.1:8080/", "400") // it refused again; run-observer has a receipt
	f.want("without a name", letters(), []string{"stage-router 400 no such run false"})
}

func TestAuditIsSealed(t *testing.T) {
	f := setup(t)
	f.emit()
	f.tick()
	f.exec(`INSERT INTO audit (actor, action, function) SELECT 'a', 'n' || n, 'f' FROM generate_series(1, 1500) AS n`)
	f.tick()
	f.want("seals", f.lines(`SELECT rows::text FROM audit_seals ORDER BY batch`), []string{"1", "1000", "500"})
	if n, err := f.db.VerifyAudit(t.Context()); n != 1501 || err != nil {
		t.Errorf("verified %d, %v", n, err)
	}
	f.exec(`ALTER TABLE audit DISABLE TRIGGER audit_append_only`)
	f.exec(`UPDATE audit SET actor = 'x' WHERE action = 'n1200'`)
	if n, err := f.db.VerifyAudit(t.Context()); n != 1001 || err == nil || !strings.Contains(err.Error(), "batch 3") {
		t.Errorf("after a change: %d, %v", n, err)
	}
}

func TestWhatGitHubSentAndWeNeverGot(t *testing.T) {
	f := setup(t)
	hub, err := fakegithub.New(fakegithub.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { _ = hub.Close() })
	must(t, hub.CreateOrganization("acme"))
	token, err := hub.CreateUser("ann")
	must(t, err)
	must(t, hub.CreateRepository("acme/api", map[string]string{"README.md": "api"}))
	must(t, hub.AddCollaborator("acme/api", "ann", "admin"))
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	t.Cleanup(down.Close)
	hook, err := hub.AddHook("acme/api", fakegithub.HookOptions{URL: down.URL + "/github", Secret: "x"})
	must(t, err)
	n, err := hub.CreateIssue("acme/api", "Add search", "", "ann")
	must(t, err)
	must(t, hub.AddLabel("acme/api", n, "run:dev", "ann"))
	must(t, hub.Flush(t.Context()))
	f.h.clients, err = github.Open(github.Config{URL: hub.APIURL(), Token: token})
	must(t, err)
	f.exec(`INSERT INTO projects (id, name) VALUES ('p', 'P')`)
	f.exec(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/api', 'p')`)

	now := time.Now()
	must(t, f.h.compare(t.Context(), now)) // all too fresh
	f.want("fresh", f.lines(`SELECT type FROM events`), []string{})
	now = now.Add(2 * compareEvery)
	must(t, f.h.compare(t.Context(), now))
	want := []string{events.LabelObserved{}.EventType(), events.GitHubType("issues"), events.GitHubType("issues")}
	f.want("stored", f.lines(`SELECT type FROM events ORDER BY type COLLATE "C"`), want)
	slices.Sort(f.sent)
	f.want("sent", f.sent, want)
	f.want("observed", f.lines(`SELECT (convert_from(data, 'UTF8')::jsonb - 'url' - 'labeledAt')::text FROM events WHERE type LIKE 'dev.codexk8s.%'`), []string{
		fmt.Sprintf(`{"issue": %d, "label": "run:dev", "title": "Add search", "labels": ["run:dev"], "sender": "ann", "repository": "acme/api", "senderType": "User", "defaultBase": "main"}`, n),
	})
	f.want("hook", f.lines(`SELECT hook_id || ' ' || full_name FROM repositories WHERE reconciled_at IS NOT NULL`), []string{fmt.Sprint(hook, " acme/api")})
	must(t, f.h.compare(t.Context(), now.Add(2*compareEvery)))
	f.want("once more", f.lines(`SELECT type FROM events ORDER BY type COLLATE "C"`), want)
	if len(f.sent) != 3 {
		t.Errorf("sent %q", f.sent)
	}
	must(t, hub.FailNext(fakegithub.Fault{Kind: "primary"}))
	must(t, f.h.compare(t.Context(), now.Add(5*compareEvery)))
	f.want("pauses", f.lines(`SELECT left(credential, 6) FROM github_pauses`), []string{"token:"})
}
