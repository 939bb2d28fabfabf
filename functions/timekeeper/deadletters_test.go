package main

import (
	"context"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/store"
)

// refuse reports a delivery that the Broker has given up.
func (f *fixture) refuse(id, source, eventType, function, code, data string) {
	f.t.Helper()
	status, said := f.call("POST", "/dead-letters", map[string]string{
		"ce-specversion": "1.0", "ce-id": id, "ce-source": source, "ce-type": eventType, "Content-Type": "application/json",
		"ce-knativeerrordest": "http://" + function + ".codexk8s.svc.cluster.local/", "ce-knativeerrorcode": code,
	}, data)
	if status != 202 || said != "" {
		f.t.Errorf("the dead letter was answered %d %s", status, said)
	}
}

// listed is what a person is shown: the functions.
func (f *fixture) listed() []string {
	f.t.Helper()
	letters, err := f.db.DeadLetters(f.t.Context(), 100)
	must(f.t, err)
	functions := []string{}
	for _, l := range letters {
		functions = append(functions, l.Function)
	}
	return functions
}

// as is another function's access to the same database.
func (f *fixture) as(function string) *store.DB {
	f.t.Helper()
	db, err := store.Open(f.t.Context(), function, f.sql.Config().ConnString())
	must(f.t, err)
	f.t.Cleanup(func() { _ = db.Close(context.Background()) })
	return db
}

// A rate limit outlasts the Broker's retries by far. The function that met it has said until when, and so nothing is
// sent in vain, nothing is given up, and no person is called.
func TestARateLimitIsNoDeadLetter(t *testing.T) {
	f := setup(t)
	e := f.emit()
	f.exec(`DELETE FROM pending WHERE function = 'stage-router'`)
	observer := f.as("run-observer")
	until := time.Now().Add(40 * time.Minute)
	must(t, observer.Postpone(t.Context(), e, until))
	must(t, observer.Postpone(t.Context(), e, until.Add(-time.Hour))) // never sooner
	f.refuse(e.ID(), e.Source(), e.Type(), "run-observer", "503", string(e.Data()))
	f.exec(`UPDATE pending SET attempts = 13`)
	f.tick()
	f.want("sent", f.sent, nil)
	f.want("listed", f.listed(), []string{})
	f.want("pending", f.lines(`SELECT function || ' ' || (due_at > now() + interval '39 minutes') FROM pending`), []string{"run-observer true"})
}

func TestADeadLetterIsClosedByTheReceipt(t *testing.T) {
	f := setup(t)
	e := f.emit()
	for _, function := range []string{"run-observer", "stage-router"} {
		f.refuse(e.ID(), e.Source(), e.Type(), function, "422", string(e.Data()))
	}
	f.want("listed, the newest first", f.listed(), []string{"stage-router", "run-observer"})
	receive := func(function string) {
		_, err := f.as(function).Step(t.Context(), e, "acme/api#1", func(context.Context, *store.Tx) (events.Decision, error) { return events.Decision{}, nil })
		must(t, err)
	}
	receive("run-observer") // the Broker has tried once more by itself
	f.want("listed after a receipt", f.listed(), []string{"stage-router"})
	_, err := f.db.Replay(t.Context(), "stage-router", e.Source(), e.ID())
	must(t, err)
	f.want("listed while the replay is under way", f.listed(), []string{"stage-router"})
	f.tick()
	closed := func() []string {
		return f.lines(`SELECT function || ' ' || (handled_at IS NOT NULL) FROM dead_letters ORDER BY function`)
	}
	f.want("closed", closed(), []string{"run-observer true", "stage-router false"})
	f.refuse(e.ID(), e.Source(), e.Type(), "stage-router", "422", string(e.Data()))
	f.want("listed after another refusal", f.listed(), []string{"stage-router"})
	receive("stage-router")
	f.tick()
	f.want("closed", closed(), []string{"run-observer true", "stage-router true"})
	f.want("listed", f.listed(), []string{})
}

// A function of another release, say, refuses to be woken: it owed nothing, so nothing is lost.
func TestARefusedWakeUpIsNoDeadLetter(t *testing.T) {
	f := setup(t)
	must(t, f.db.AllowUnlogged([]string{"https://github.com/acme/"}))
	issues := events.GitHubType("issues")
	f.refuse("1", "https://github.com/acme/api", issues, "agent-launcher", "422", `{"action":"labeled"}`)
	f.want("listed", f.listed(), []string{})
	f.refuse("1", "https://github.com/acme/api", issues, "stage-router", "422", `{"action":"labeled"}`)
	f.want("listed", f.listed(), []string{"stage-router"})
}

// What a GitHubSource sends is in nobody's log before its consumer has it.
func TestAnEventOfGitHubSourceOutlivesAnOutage(t *testing.T) {
	f := setup(t)
	must(t, f.db.AllowUnlogged([]string{"https://github.com/acme/"}))
	issues := events.GitHubType("issues")
	for range 2 {
		f.refuse("1", "https://github.com/acme/api", issues, "stage-router", "503", `{"action":"labeled"}`)
	}
	f.refuse("2", "https://github.com/evil/api", issues, "stage-router", "503", `{}`)
	f.want("pending", f.lines(`SELECT function || ' ' || source || ' ' || id FROM pending`), []string{"stage-router https://github.com/acme/api 1"})
	f.exec(`UPDATE pending SET due_at = now()`)
	f.tick()
	f.want("sent", f.sent, []string{issues})
}
