package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

type fixture struct {
	t    *testing.T
	db   *store.DB
	sql  *pgtest.DB
	h    *handler
	s    *serve.Server
	mu   sync.Mutex
	sent []string // types
}

func setup(t *testing.T) *fixture {
	t.Helper()
	url := pgtest.New(t)
	f := &fixture{t: t, sql: pgtest.Open(t, url)}
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
	f.sql.Do(query, args...)
}

func (f *fixture) lines(query string) []string {
	f.t.Helper()
	return f.sql.Lines(query)
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
	es, err := f.db.Emit(f.t.Context(), store.Cause{Source: "test", ID: "cause"}, "acme/api#1", func(context.Context, *store.Tx) (events.Decision, error) {
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
	f.want("Knative's extensions", f.lines(`SELECT id FROM dead_letters WHERE envelope::text LIKE '%knativeerror%'`), []string{})
	if _, err := f.db.Replay(t.Context(), "stage-router", e.Source(), e.ID()); err != nil {
		t.Errorf("replay: %v", err)
	}
	f.want("pending", f.lines(pendingRows), []string{"run-observer 0", "stage-router 0"})
	f.want("replayed", letters(), []string{"stage-router 422 no such run true"})
	if _, err := f.db.Replay(t.Context(), "stage-router", e.Source(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("replay of nothing: %v", err)
	}
	f.exec(`INSERT INTO inbox (function, source, id) VALUES ('run-observer', $1, $2)`, e.Source(), e.ID())
	dead("http://127.0.0.1:8080/", "400") // it refused again; run-observer has a receipt
	f.want("without a name", letters(), []string{"stage-router 400 no such run false"})
}

// Agents' pods reach this function's address too: a dead letter is no way to make an event undelivered, or to get one
// into the log.
func TestStrangers(t *testing.T) {
	f := setup(t)
	e := f.emit()
	for _, code := range []string{"422", "503"} {
		for id, data := range map[string]string{e.ID(): "{}", "new": string(e.Data())} {
			f.call("POST", "/dead-letters", map[string]string{
				"ce-specversion": "1.0", "ce-id": id, "ce-source": e.Source(), "ce-type": e.Type(), "Content-Type": "application/json",
				"ce-knativeerrordest": "http://stage-router.codexk8s.svc.cluster.local/", "ce-knativeerrorcode": code,
			}, data)
			f.call("POST", "/dead-letters", map[string]string{
				"ce-specversion": "1.0", "ce-id": id, "ce-source": "https://github.com/acme/demo", "ce-type": events.GitHubType("issues"),
				"Content-Type": "application/json", "ce-knativeerrorcode": code,
			}, data)
		}
	}
	f.want("pending", f.lines(pendingRows), []string{"run-observer 0", "stage-router 0"})
	f.want("log", f.lines(`SELECT id FROM events`), []string{e.ID()})
	f.want("dead letters", f.lines(`SELECT id FROM dead_letters`), []string{})
}

func TestAuditIsSealed(t *testing.T) {
	f := setup(t)
	f.emit()
	f.tick()
	f.exec(`INSERT INTO audit (actor, action, function) SELECT 'a', 'n' || n, 'f' FROM generate_series(1, 1500) AS n`)
	f.tick()
	f.want("seals", f.lines(`SELECT rows::text FROM audit_seals ORDER BY batch`), []string{"1", "1000", "500"})
	whole, err := f.db.VerifyAudit(t.Context())
	if whole.Rows != 1501 || whole.Batch != 3 || err != nil {
		t.Errorf("verified %+v, %v", whole, err)
	}
	f.exec(`ALTER TABLE audit DISABLE TRIGGER audit_append_only`)
	f.exec(`UPDATE audit SET actor = 'x' WHERE action = 'n1200'`)
	if seal, err := f.db.VerifyAudit(t.Context()); seal.Rows != 1001 || err == nil || !strings.Contains(err.Error(), "batch 3") {
		t.Errorf("after a change: %+v, %v", seal, err)
	}
	// Without its end the chain is whole, and its last seal another one than was told.
	f.exec(`DELETE FROM audit WHERE seq IN (SELECT seq FROM audit_sealed WHERE batch = 3)`)
	f.exec(`DELETE FROM audit_sealed WHERE batch = 3`)
	f.exec(`DELETE FROM audit_seals WHERE batch = 3`)
	if cut, err := f.db.VerifyAudit(t.Context()); err != nil || cut.Batch != 2 || bytes.Equal(cut.Hash, whole.Hash) {
		t.Errorf("with its end cut off: %+v, %v", cut, err)
	}
}
