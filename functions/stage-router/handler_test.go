package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"

	"codexk8s.dev/migrations"
	"codexk8s.dev/shared/agentpod"
	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/stage"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/local/pg/pgtest"
)

func TestRoutesAreTheCatalogs(t *testing.T) {
	s := serve.New(function, "")
	(&handler{}).routes(s)
	got, want := s.Types(), slices.Clone(events.Catalog[function])
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes against the Catalog (-want +got):\n%s", diff)
	}
}

func TestNamespaceIsTheLaunchers(t *testing.T) {
	id := events.DeriveID("run", "any")
	if stage.Namespace(id) != agentpod.Namespace(id) {
		t.Errorf("stage says %s, agentpod %s", stage.Namespace(id), agentpod.Namespace(id))
	}
}

// fixture is a router over a real Postgres, with a Broker that keeps what it is sent.
type fixture struct {
	*testing.T
	db     *store.DB
	router *httptest.Server
	mu     sync.Mutex
	sent   map[string]int // "type id" → how often
	broken bool           // the Broker refuses
}

func setup(t *testing.T) *fixture {
	f := &fixture{T: t, sent: map[string]int{}}
	url := pgtest.New(t, migrate)
	db, err := store.Open(t.Context(), function, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	_, err = db.Pool().Exec(t.Context(), `
		INSERT INTO projects (id, name) VALUES ('demo', 'Demo');
	`)
	if err == nil {
		_, err = db.Pool().Exec(t.Context(), `INSERT INTO repositories (full_name, project_id) VALUES ('acme/demo', 'demo')`)
	}
	if err == nil {
		_, err = db.Pool().Exec(t.Context(), `INSERT INTO members (project_id, login, role) VALUES ('demo', 'alice', 'maintainer')`)
	}
	if err != nil {
		t.Fatal(err)
	}
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.broken {
			http.Error(w, "the broker is down", http.StatusServiceUnavailable)
			return
		}
		f.sent[r.Header.Get("Ce-Type")+" "+r.Header.Get("Ce-Id")]++
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(broker.Close)
	s := serve.New(function, broker.URL)
	(&handler{db: db, process: stage.Default()}).routes(s)
	f.db, f.router = db, httptest.NewServer(s.Handler())
	t.Cleanup(f.router.Close)
	return f
}

func migrate(ctx context.Context, url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = migrations.Up(ctx, db)
	return err
}

const labeled = `{"action":"labeled","label":{"name":"run:dev"},
	"issue":{"number":1,"title":"A greeting","body":"In French.","html_url":"https://github.example/acme/demo/issues/1",
	"state":"open","labels":[{"name":"run:dev"}],"updated_at":"2026-11-01T12:00:00Z","user":{"login":"alice","type":"User"}},
	"repository":{"full_name":"acme/demo","default_branch":"main","clone_url":"https://github.example/acme/demo.git"},
	"sender":{"login":%q,"type":"User"}}`

// deliver posts a raw GitHub event as the Broker would, and returns the status.
func (f *fixture) deliver(id, name, body string) int {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.router.URL, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for k, v := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Type": events.GitHubType(name), "Ce-Source": "https://github.com/acme/demo",
		"Content-Type": "application/json",
	} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func (f *fixture) count(query string) (n int) {
	f.Helper()
	if err := f.db.Pool().QueryRow(f.Context(), query).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

func TestTwentyRedeliveriesAtOnceDecideOnce(t *testing.T) {
	f := setup(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got := f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice")); got != http.StatusAccepted {
				t.Errorf("answered %d", got)
			}
		})
	}
	wg.Wait()
	got := []int{f.count(`SELECT count(*) FROM runs`), f.count(`SELECT count(*) FROM inbox`), f.count(`SELECT count(*) FROM events WHERE function <> ''`), len(f.sent)}
	if diff := cmp.Diff([]int{1, 1, 2, 2}, got); diff != "" {
		t.Errorf("runs, receipts, events stored, events sent (-want +got):\n%s", diff)
	}
}

func TestTwoHooksAtOnceAreOneIntent(t *testing.T) {
	f := setup(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if got := f.deliver(fmt.Sprintf("guid-%d", i), "issues", fmt.Sprintf(labeled, "alice")); got != http.StatusAccepted {
				t.Errorf("answered %d", got)
			}
		})
	}
	wg.Wait()
	if n := f.count(`SELECT count(*) FROM runs`); n != 1 {
		t.Errorf("%d runs", n)
	}
	if n := f.count(`SELECT count(*) FROM audit WHERE action = 'label.ignored' AND reason = 'intent_known'`); n != 7 {
		t.Errorf("%d ignored deliveries are audited, want 7", n)
	}
}

func TestABrokerThatIsDownIsToldAgain(t *testing.T) {
	f := setup(t)
	f.broken = true
	if got := f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice")); got != http.StatusInternalServerError {
		t.Errorf("answered %d while the broker was down", got)
	}
	f.mu.Lock()
	f.broken = false
	f.mu.Unlock()
	if got := f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice")); got != http.StatusAccepted {
		t.Errorf("answered %d", got)
	}
	if len(f.sent) != 2 || f.count(`SELECT count(*) FROM runs`) != 1 {
		t.Errorf("sent %v", f.sent)
	}
}

func TestAdmission(t *testing.T) {
	f := setup(t)
	f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice"))
	id := events.DeriveID("run", stage.LabelIntent("acme/demo", 1, "run:dev", mustTime(t, "2026-11-01T12:00:00Z"), ""))
	h := &handler{db: f.db, process: stage.Default()}
	cause, err := events.New(ping(), "test", 0, events.Now(events.RunRequested{RunRef: events.RunRef{RunID: id, Project: "demo", Repository: "acme/demo", Issue: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	emitted, err := h.admit(t.Context(), cause, "demo")
	if err != nil {
		t.Fatal(err)
	}
	if len(emitted) != 1 || emitted[0].Type() != (events.AgentRequested{}).EventType() {
		t.Errorf("admission emitted %v", emitted)
	}
	if n := f.count(`SELECT count(*) FROM runs WHERE state = 'starting' AND deadline > now()`); n != 1 {
		t.Error("the run is not starting")
	}
	if n := f.count(`SELECT count(*) FROM pending WHERE due_at > now() + interval '90 seconds'`); n != 3 {
		t.Errorf("%d receipts are owed by timers, want 3: the check by two functions, the deadline by one", n)
	}
}

func TestAStrangerGetsAReasonAndNoRun(t *testing.T) {
	f := setup(t)
	f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "mallory"))
	if n := f.count(`SELECT count(*) FROM runs`); n != 0 {
		t.Errorf("%d runs", n)
	}
	if n := f.count(`SELECT count(*) FROM audit WHERE action = 'label.ignored' AND reason = 'sender_not_permitted'`); n != 1 {
		t.Error("no audit row says why")
	}
}

func TestAnEventThatMeansNothingIsRecorded(t *testing.T) {
	f := setup(t)
	opened := `{"action":"opened","number":7,"pull_request":{"number":7,"state":"open","head":{"ref":"codexk8s/issue-1","sha":"c0ffee",
		"repo":{"full_name":"acme/demo"}},"base":{"ref":"main"}},"repository":{"full_name":"acme/demo"},"sender":{"login":"alice","type":"User"}}`
	if got := f.deliver("guid-1", "pull_request", opened); got != http.StatusAccepted {
		t.Errorf("answered %d", got)
	}
	if n := f.count(`SELECT count(*) FROM inbox WHERE id = 'guid-1'`); n != 1 {
		t.Errorf("%d receipts: the event would be sent again for ever", n)
	}
}

func TestMalformedPayloadIsRefused(t *testing.T) {
	f := setup(t)
	if got := f.deliver("guid-1", "issues", `{"action":`); got != http.StatusBadRequest {
		t.Errorf("answered %d", got)
	}
}

func TestAuditIsAppendOnly(t *testing.T) {
	f := setup(t)
	f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice"))
	for _, q := range []string{`UPDATE audit SET actor = 'nobody'`, `DELETE FROM audit`, `TRUNCATE audit CASCADE`} {
		if _, err := f.db.Pool().Exec(t.Context(), q); err == nil {
			t.Errorf("%s succeeded", q)
		}
	}
}

func ping() event.Event {
	e := event.New()
	e.SetID("cause")
	e.SetSource("test")
	e.SetType(events.TypePing)
	return e
}

func mustTime(t *testing.T, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
