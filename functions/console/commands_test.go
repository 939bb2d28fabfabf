package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

// route has commands decided as stage-router does: load, decide, save.
func (f *fixture) route() {
	f.Helper()
	router, err := store.Open(f.Context(), "stage-router", f.url)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = router.Close(context.Background()) })
	f.decide = func(e event.Event) error {
		if e.Type() != (events.CommandRequested{}).EventType() {
			return nil
		}
		about, in, err := stage.Hear(e)
		if err != nil {
			return err
		}
		home, err := router.Home(f.Context(), about)
		if err != nil {
			return err
		}
		_, err = router.Step(f.Context(), e, home.Key(), func(ctx context.Context, tx *store.Tx) (events.Decision, error) {
			item, _, err := tx.Item(ctx, home, in.Needs(home.Repository.Key, home.Issue))
			if err != nil {
				return events.Decision{}, err
			}
			next, d, err := stage.Decide(item, in, tx.Now())
			if err != nil {
				return d, err
			}
			return d, tx.SaveItem(ctx, next, item)
		})
		return err
	}
}

// command posts a command as a program, headers by name and value.
func (p *person) command(path, body string, headers ...string) (status int, is api.Command, problem api.Problem, answer http.Header) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, p.f.server.URL+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	into := any(&is)
	if resp.StatusCode >= 400 {
		into = &problem
	}
	if err := json.Unmarshal(data, into); err != nil {
		p.Fatalf("%s: %d %s: %v", path, resp.StatusCode, data, err)
	}
	return resp.StatusCode, is, problem, resp.Header
}

const key = "Idempotency-Key"

// TestARunIsCancelled: tried first, then done once; the same again has the same answer.
func TestARunIsCancelled(t *testing.T) {
	f := setup(t)
	f.route()
	mary := f.as("mary")
	status, tried, _, _ := mary.command("/v1/runs/"+runB+"/cancel?dry_run=true", "", key, "k")
	want := api.Command{Command: "cancel", State: "foreseen", Repository: "Acme/Shop", Issue: 13, Run: runB, Does: "stops", Etag: tried.Etag}
	if diff := cmp.Diff(want, tried); diff != "" || status != http.StatusOK || tried.Etag == "" {
		t.Fatalf("a dry run: %d (-want +got):\n%s", status, diff)
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events`); n != 0 {
		t.Fatalf("a dry run stored %d events", n)
	}
	for range 3 {
		status, is, problem, _ := mary.command("/v1/runs/"+runB+"/cancel", "", key, "k", "If-Match", `"`+tried.Etag+`"`)
		want := api.Command{Command: "cancel", State: "done", Repository: "Acme/Shop", Issue: 13, Run: runB, Id: is.Id}
		if diff := cmp.Diff(want, is); diff != "" || status != http.StatusOK {
			t.Fatalf("cancelled: %d %v (-want +got):\n%s", status, problem, diff)
		}
	}
	if got := pgtest.One[string](f.sql, `SELECT state || ' ' || reason || ' ' || message FROM runs WHERE id = $1`, runB); got != "cancelled aborted Stopped by @mary." {
		t.Errorf("the run is %s", got)
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events WHERE type = 'dev.codexk8s.command.requested'`); n != 1 {
		t.Errorf("%d commands are stored", n)
	}
	if status, _, p, _ := mary.command("/v1/runs/"+runC+"/cancel", "", key, "k"); status != http.StatusUnprocessableEntity || !strings.HasSuffix(p.Type, "idempotency-mismatch") {
		t.Errorf("the same key for another run: %d %v", status, p)
	}
	if status, _, p, _ := mary.command("/v1/runs/"+runB+"/cancel", "", key, "other"); status != http.StatusUnprocessableEntity || p.Reason != "nothing_to_abort" {
		t.Errorf("a run that is over is cancelled: %d %v", status, p)
	}
	if status, _, p, _ := mary.command("/v1/runs/"+runC+"/cancel", "", key, "stale", "If-Match", tried.Etag); status != http.StatusPreconditionFailed {
		t.Errorf("what is not foreseen: %d %v", status, p)
	}
}

// TestARunIsStarted: by its label, again, and for a revise with words; its requester is who gave the command.
func TestARunIsStarted(t *testing.T) {
	f := setup(t)
	f.route()
	mary := f.as("mary")
	status, is, problem, _ := mary.command("/v1/runs", `{"repository": "acme/shop", "issue": 14, "label": "run:dev"}`, key, "a")
	if status != http.StatusOK || is.State != "done" || is.Issue != 12 {
		t.Fatalf("started by the number of the pull request: %d %+v %v", status, is, problem)
	}
	got := pgtest.One[string](f.sql, `SELECT requested_by || ' ' || stage || ' ' || state || ' ' || (task ->> 'title') FROM runs WHERE id = $1`, is.Run)
	if got != "mary dev requested Add a greeting in French" {
		t.Errorf("the run is %s", got)
	}
	if status, _, p, _ := mary.command("/v1/runs/"+runA+"/rerun", "", key, "b"); status != http.StatusUnprocessableEntity || p.Reason != "run_active" {
		t.Errorf("a second one: %d %v", status, p)
	}
	f.sql.Do(`UPDATE runs SET state = 'succeeded', finished_at = now() WHERE id = $1`, is.Run)
	if status, is, p, _ := mary.command("/v1/runs/"+runA+"/rerun", "", key, "c"); status != http.StatusOK || is.Label != "run:dev" {
		t.Errorf("again: %d %+v %v", status, is, p)
	}
	if status, _, p, _ := mary.command("/v1/runs", `{"repository": "acme/shop", "issue": 99, "label": "run:dev"}`, key, "d"); status != http.StatusUnprocessableEntity || p.Reason != "issue_unknown" {
		t.Errorf("on an issue that nobody has heard of: %d %v", status, p)
	}
	if status, _, p, _ := mary.command("/v1/issues/acme/shop/15/release", "", key, "e"); status != http.StatusUnprocessableEntity || p.Reason != "nothing_held" {
		t.Errorf("what is not held is let go: %d %v", status, p)
	}
}

// TestACommandThatNobodyHasDecidedYet is accepted, and can be asked about by who gave it.
func TestACommandThatNobodyHasDecidedYet(t *testing.T) {
	f := setup(t)
	mary := f.as("mary")
	status, is, _, answer := mary.command("/v1/runs/"+runB+"/cancel", "", key, "k", "Prefer", "wait=0")
	if status != http.StatusAccepted || is.State != "pending" || answer.Get("Location") != "/v1/commands/"+is.Id {
		t.Fatalf("%d %+v at %q", status, is, answer.Get("Location"))
	}
	var later api.Command
	if status := mary.read(answer.Get("Location"), &later); status != http.StatusOK || later.State != "pending" {
		t.Errorf("asked later: %d %+v", status, later)
	}
	for _, login := range []string{"adam", "olga"} {
		if status, _ := f.as(login).get(answer.Get("Location")); status != http.StatusNotFound {
			t.Errorf("%s asks about mary's command: %d", login, status)
		}
	}
	f.route()
	if err := f.decide(f.sent[0]); err != nil {
		t.Fatal(err)
	}
	if mary.read(answer.Get("Location"), &later); later.State != "done" {
		t.Errorf("decided: %+v", later)
	}
}

// TestWhoMayCommand: maintainers do, readers may not, and of another project there is nothing.
func TestWhoMayCommand(t *testing.T) {
	f := setup(t)
	for login, want := range map[string][3]int{
		"olga": {200, 422, 404}, "adam": {200, 404, 404}, "mary": {200, 404, 404}, "rita": {403, 404, 404}, "paul": {404, 422, 404}, "": {401, 401, 401},
	} {
		p := f.visitor()
		if login != "" {
			p = f.as(login)
		}
		for i, c := range []struct{ run, repository string }{{runB, "acme/shop"}, {theirs, "acme/api"}, {missing, "acme/none"}} {
			if status, _, said, _ := p.command("/v1/runs/"+c.run+"/cancel", "", key, "k", "If-Match", "what-is-not"); status != want[i] && !(want[i] == 200 && status == http.StatusPreconditionFailed) && !(want[i] == 422 && status == http.StatusPreconditionFailed) {
				t.Errorf("%q cancels in %s: %d %v, want %d", login, c.repository, status, said, want[i])
			}
			status, _, said, _ := p.command("/v1/runs?dry_run=true", `{"repository": "`+c.repository+`", "issue": 1, "label": "run:dev"}`, key, "k")
			if allowed := want[i] == 200 || want[i] == 422; allowed != (status == http.StatusOK) || !allowed && status != want[i] {
				t.Errorf("%q starts in %s: %d %v, want %d", login, c.repository, status, said, want[i])
			}
		}
	}
	if n := pgtest.One[int](f.sql, `SELECT count(*)::int FROM events`); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}
