package main

import (
	"context"
	"encoding/json"
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
	want := slices.Sorted(slices.Values(events.Catalog[function]))
	if diff := cmp.Diff(want, s.Types()); diff != "" {
		t.Errorf("routes against the Catalog (-want +got):\n%s", diff)
	}
}

func TestNamespaceIsTheLaunchers(t *testing.T) {
	one, other := stage.Namespace(events.WorkItem("Acme/Demo", 1)), stage.Namespace(events.WorkItem("acme/demo", 11))
	if one != "codexk8s-run-0dc61a635cfd" || one == other || !strings.HasPrefix(one, agentpod.NamespacePrefix) {
		t.Errorf("namespaces %s and %s", one, other)
	}
}

// fixture is a router over a real Postgres, with a Broker that keeps what it is sent.
type fixture struct {
	*testing.T
	db     *store.DB
	sql    *pgtest.DB
	router *httptest.Server
	mu     sync.Mutex
	sent   map[string]int // "type id" → how often
	broken bool           // the Broker refuses
}

func setup(t *testing.T) *fixture {
	f := &fixture{T: t, sent: map[string]int{}}
	url := pgtest.New(t)
	db, err := store.Open(t.Context(), function, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	f.sql = pgtest.Open(t, url)
	f.sql.Do(`INSERT INTO projects (id, name) VALUES ('demo', 'Demo')`)
	f.sql.Do(`INSERT INTO repositories (full_name, project_id) VALUES ('acme/demo', 'demo')`)
	f.sql.Do(`INSERT INTO members (project_id, login, role) VALUES ('demo', 'alice', 'maintainer')`)
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
	(&handler{db: db}).routes(s)
	f.db, f.router = db, httptest.NewServer(s.Handler())
	t.Cleanup(f.router.Close)
	return f
}

const labeled = `{"action":"labeled","label":{"name":"run:dev"},
	"issue":{"number":1,"title":"A greeting","body":"In French.","html_url":"https://github.example/acme/demo/issues/1",
	"state":"open","labels":[{"name":"run:dev"}],"updated_at":"2026-11-01T12:00:00Z","user":{"login":"alice","type":"User"}},
	"repository":{"full_name":"acme/demo","default_branch":"main","clone_url":"https://github.example/acme/demo.git"},
	"sender":{"login":%q,"type":"User"}}`

// deliver posts a raw GitHub event as the Broker would, and returns the status.
func (f *fixture) deliver(id, name, body string) int {
	f.Helper()
	f.sql.Log("https://github.com/acme/demo", id, events.GitHubType(name), []byte(body))
	return f.post(id, events.GitHubType(name), "https://github.com/acme/demo", body)
}

// post sends an event that may be in the log or not.
func (f *fixture) post(id, eventType, source, body string) int {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.router.URL, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for k, v := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Type": eventType, "Ce-Source": source,
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

func (f *fixture) count(query string) int {
	f.Helper()
	return pgtest.One[int](f.sql, query)
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
	if diff := cmp.Diff([]int{1, 2, 5, 2}, got); diff != "" {
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
	if n := f.count(`SELECT count(*) FROM runs WHERE kind = 'work' AND NOT revise AND granted ->> 'process' = '` + stage.Default().Hash + `'`); n != 1 {
		t.Errorf("%d runs by the process", n)
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

// TestOneDeliveryLeadsFromTheLabelToTheRequestForAnAgent: nobody but the function hears that a run was requested, so
// its admission takes no way over the Broker.
func TestOneDeliveryLeadsFromTheLabelToTheRequestForAnAgent(t *testing.T) {
	f := setup(t)
	f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice"))
	var sent []string
	for key := range f.sent {
		sent = append(sent, strings.Fields(key)[0])
	}
	slices.Sort(sent)
	if diff := cmp.Diff([]string{events.AgentRequested{}.EventType(), events.GitHubChangeRequested{}.EventType()}, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if n := f.count(`SELECT count(*) FROM runs WHERE state = 'starting' AND deadline > now()`); n != 1 {
		t.Error("the run is not starting")
	}
	if n := f.count(`SELECT count(*) FROM pending WHERE due_at > now() + interval '90 seconds'`); n != 3 {
		t.Errorf("%d receipts are owed by timers, want 3: the check by two functions, the deadline by one", n)
	}
}

// A run of a full-env role first has its services looked up, on the base branch, and gets its agent with the answer.
func TestServicesAreLookedUpBeforeTheAgent(t *testing.T) {
	f := setup(t)
	f.sql.Do(`UPDATE projects SET settings = '{"modes": {"dev": "full-env"}, "servicesFile": "deploy/services.yaml"}'`)
	f.deliver("guid-1", "issues", fmt.Sprintf(labeled, "alice"))
	id := events.DeriveID("run", stage.LabelIntent("acme/demo", 1, "run:dev", mustTime(t, "2026-11-01T12:00:00Z"), ""))
	ref := events.RunRef{RunID: id, Project: "demo", Repository: "acme/demo", Issue: 1}
	var asked events.GitHubLookupRequested
	if err := json.Unmarshal([]byte(f.lines(`SELECT convert_from(data, 'UTF8') FROM events WHERE type = 'dev.codexk8s.github.lookup.requested'`)[0]), &asked); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events.GitHubLookupRequested{RunRef: ref, Path: "deploy/services.yaml", Ref: "main"}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	found := events.GitHubLookedUp{
		RunRef: ref, Path: asked.Path, Ref: asked.Ref, Found: true,
		Content: "apiVersion: codexk8s.dev/v1\nservices:\n  - {name: prices, image: ghcr.io/acme/prices:1.4}\n",
	}
	answer, err := events.New(ping(), "test", 1, events.Now(found))
	if err != nil {
		t.Fatal(err)
	}
	f.sql.Log(answer.Source(), answer.ID(), answer.Type(), answer.Data())
	h := &handler{db: f.db}
	var emitted []event.Event
	for range 2 { // the second is a redelivery
		if emitted, err = h.heard(t.Context(), answer); err != nil || len(emitted) != 1 {
			t.Fatalf("the answer emitted %v, %v", emitted, err)
		}
	}
	request, err := events.Decode[events.AgentRequested](emitted[0])
	if err != nil || len(request.Services) != 1 || request.Services[0].Name != "prices" || !request.Deadline.After(time.Now()) {
		t.Errorf("the agent is requested with %+v, %v", request, err)
	}
	if n := f.count(`SELECT count(*) FROM events WHERE type = 'dev.codexk8s.agent.requested'`); n != 1 {
		t.Errorf("the agent was requested %d times", n)
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
		if _, err := f.sql.Exec(t.Context(), q); err == nil {
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

// An agent's pod reaches this function's address, as all of the cluster's Services share that of the ingress. What it
// makes up, or changes, is refused and leaves nothing behind.
func TestAForgedEventIsRefused(t *testing.T) {
	f := setup(t)
	body := fmt.Sprintf(labeled, "alice")
	github := "https://github.com/acme/demo"
	run := `{"runId":"7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8","project":"demo","repository":"acme/demo","issue":1,"outcome":"succeeded"}`
	f.sql.Log(github, "known", events.GitHubType("issues"), []byte(body))
	f.sql.Log(github, "other", events.GitHubType("push"), []byte(body))
	for name, forged := range map[string][4]string{
		"a label that nobody set":     {"new", events.GitHubType("issues"), github, body},
		"a report":                    {"new", events.AgentReported{}.EventType(), events.Source("agent-gateway"), run},
		"a known id with other words": {"known", events.GitHubType("issues"), github, fmt.Sprintf(labeled, "mallory")},
		"a known id of another type":  {"other", events.GitHubType("issues"), github, body},
	} {
		if got := f.post(forged[0], forged[1], forged[2], forged[3]); got != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d, want 422", name, got)
		}
	}
	if n := f.count(`SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM inbox) + (SELECT count(*) FROM audit) + (SELECT count(*) FROM events) - 2`); n != 0 {
		t.Errorf("forged events left %d rows", n)
	}
	if got := f.post("known", events.GitHubType("issues"), github, body); got != http.StatusAccepted {
		t.Errorf("the event in the log: answered %d", got)
	}
}

// A team may feed the Broker by a GitHubSource. The operator says so, and for which owners.
func TestUnloggedSources(t *testing.T) {
	f := setup(t)
	if err := f.db.AllowUnlogged([]string{"https://"}); err == nil {
		t.Error("a prefix that lets everybody in was accepted")
	}
	if err := f.db.AllowUnlogged([]string{"https://github.com/acme/"}); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(labeled, "alice")
	for name, c := range map[string]struct {
		eventType, source, body string
		want                    int
	}{
		"of the owner":   {events.GitHubType("issues"), "https://github.com/acme/demo", body, http.StatusAccepted},
		"of another":     {events.GitHubType("issues"), "https://github.com/acme-2/demo", body, http.StatusUnprocessableEntity},
		"a type of ours": {events.RunFinished{}.EventType(), "https://github.com/acme/demo", "{}", http.StatusUnprocessableEntity},
	} {
		if got := f.post(name, c.eventType, c.source, c.body); got != c.want {
			t.Errorf("%s: answered %d, want %d", name, got, c.want)
		}
	}
	if n := f.count(`SELECT count(*) FROM events WHERE id = 'of the owner'`); n != 1 {
		t.Errorf("%d rows in the log after the receipt", n)
	}
}
