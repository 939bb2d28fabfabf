package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"codexk8s.dev/shared/store"
	fakegithub "codexk8s.dev/test/fakes/github"
	"codexk8s.dev/test/local/pg/pgtest"
)

// Runs of the fixture: ours and theirs are of the projects shop and api.
const (
	runA    = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e8" // shop, failed
	runB    = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9e9" // shop, running
	runC    = "7f1c8f5e-3b57-4c0e-9d6a-52b0c1f4a9ea" // shop, waiting
	theirs  = "11111111-3b57-4c0e-9d6a-52b0c1f4a9e8" // api, succeeded
	missing = "22222222-3b57-4c0e-9d6a-52b0c1f4a9e8"
)

// A fixture is the console with a database, the fake GitHub, two projects, and people: olga owns the platform; adam,
// mary and rita are admin, maintainer and reader of shop; paul owns api; eve is nobody.
type fixture struct {
	*testing.T
	db     *store.DB
	sql    *pgtest.DB
	url    string // of the database
	github *fakegithub.Server
	server *httptest.Server
	h      *handler

	mu     sync.Mutex
	sent   []event.Event
	decide func(event.Event) error // what hears commands; nil = nobody
}

var people = []string{"olga", "adam", "mary", "rita", "paul", "eve"}

func setup(t *testing.T) *fixture {
	t.Helper()
	url := pgtest.New(t)
	f := &fixture{T: t, sql: pgtest.Open(t, url), url: url}
	var err error
	if f.db, err = store.Open(t.Context(), function, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close(context.Background()) })
	if f.github, err = fakegithub.New(fakegithub.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.github.Close() })
	for _, login := range people {
		if _, err := f.github.CreateUser(login); err != nil {
			t.Fatal(err)
		}
	}
	f.server = httptest.NewUnstartedServer(nil)
	origin := "http://" + f.server.Listener.Addr().String()
	id, secret := f.github.SignIn(origin + "/login/callback")
	gate, err := newGate(origin, f.github.APIURL(), id, secret)
	if err != nil {
		t.Fatal(err)
	}
	f.h = &handler{db: f.db, gate: gate, send: func(_ context.Context, es ...event.Event) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sent = append(f.sent, es...)
		for _, e := range es {
			if f.decide == nil {
				break
			}
			if err := f.decide(e); err != nil {
				return err
			}
		}
		return nil
	}, later: func(ctx context.Context, do func(context.Context)) { do(ctx) }, hub: newHub(f.db.Listen), stopping: t.Context().Done()}
	f.server.Config.Handler = f.h.routes()
	f.server.Start()
	t.Cleanup(f.server.Close)
	f.fill()
	return f
}

// fill is what has happened so far.
func (f *fixture) fill() {
	f.Helper()
	f.sql.Do(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop'), ('api', 'API')`)
	f.sql.Do(`INSERT INTO repositories (full_name, project_id, name) VALUES ('acme/shop', 'shop', 'Acme/Shop'), ('acme/api', 'api', 'acme/api')`)
	f.sql.Do(`INSERT INTO members (project_id, login, role) VALUES ('*', 'olga', 'owner'), ('shop', 'adam', 'admin'), ('shop', 'mary', 'maintainer'), ('shop', 'rita', 'reader'), ('api', 'paul', 'owner')`)
	f.sql.Do(`
		INSERT INTO work_items (repository, issue, full_name, title, url, base_branch, pull_request, pull_request_url, head_sha)
		VALUES ('acme/shop', 12, 'Acme/Shop', 'Add a greeting in French', 'https://github.com/Acme/Shop/issues/12', 'main', 14, 'https://github.com/Acme/Shop/pull/14', 'c0ffee0123456789'),
		       ('acme/shop', 13, 'Acme/Shop', 'Prices are rounded twice when a voucher of another currency is used', '', 'main', 0, '', ''),
		       ('acme/shop', 15, 'Acme/Shop', 'Move the basket to its own service', '', 'main', 0, '', ''),
		       ('acme/api', 1, 'acme/api', 'Secret plans', '', 'main', 0, '', '')
	`)
	for _, r := range []struct {
		id, repository string
		issue          int
		project, state string
		waits, reason  string
		ago            time.Duration
	}{
		{runA, "acme/shop", 12, "shop", "failed", "", "no_changes", 3 * time.Hour},
		{runB, "acme/shop", 13, "shop", "running", "", "", 6 * time.Minute},
		{runC, "acme/shop", 15, "shop", "waiting", "approval", "", 40 * time.Minute},
		{theirs, "acme/api", 1, "api", "succeeded", "", "", time.Hour},
	} {
		f.sql.Do(`
			INSERT INTO runs (id, repository, issue, project_id, stage, role, state, waiting_for, reason, message, engine, model, reasoning, requested_by, intent, namespace,
			                  created_at, started_at, finished_at, progress, task, prompt)
			VALUES ($1, $2, $3, $4, 'dev', 'dev', $5, $6, $7, CASE WHEN $7 <> '' THEN 'The agent has changed nothing.' ELSE '' END, 'codex', 'gpt-5.4', 'high', 'mary', $1::uuid::text,
			        'codexk8s-run-x', $8, $8::timestamptz + interval '20 seconds', CASE WHEN $5 IN ('failed', 'succeeded') THEN $8::timestamptz + interval '9 minutes' END,
			        'Running the tests', '{"title": "t", "body": "Add greetings/french.txt beside the English one."}', '{"source": "built in", "language": "en"}')
		`, r.id, r.repository, r.issue, r.project, r.state, r.waits, r.reason, f.db.Now().Add(-r.ago))
		for i, act := range []string{"run.requested", "run.starting", "run.started", "run.running"} {
			f.sql.Do(`INSERT INTO audit (at, actor, action, work_item, run_id, detail, function) VALUES ($1, $2, $3, $4, $5, 'dev of the project', 'stage-router')`,
				f.db.Now().Add(-r.ago+time.Duration(i*i)*7*time.Second), []string{"github:mary", "platform"}[min(i, 1)], act, fmt.Sprintf("%s#%d", r.repository, r.issue), r.id)
		}
		f.sql.Do(`INSERT INTO llm_calls (id, run_id, model, endpoint, status, input_tokens, cached_tokens, output_tokens, cost_microusd, started_at, duration_ms)
			VALUES (gen_random_uuid(), $1, 'gpt-5.4', 'responses', 200, 48210, 40100, 912, 81340, now(), 900)`, r.id)
	}
	f.sql.Do(`
		INSERT INTO run_logs (run_id, seq, at, stream, line)
		SELECT $1, n, now(), CASE WHEN n % 9 = 0 THEN 'runner' ELSE 'agent' END,
		       CASE n % 5 WHEN 0 THEN E'\x1b[32mok\x1b[0m  greetings/french.txt has a greeting' WHEN 1 THEN E'\x1b[1m$ sh test.sh\x1b[0m'
		                  WHEN 2 THEN E'\x1b[31merror: expected "Bonjour", got ""\x1b[0m' ELSE 'reading file number ' || n || ' of the repository' END
		FROM generate_series(1, 1200) AS n
	`, runB)
}

// A person is a browser without a screen.
type person struct {
	*testing.T
	f      *fixture
	client *http.Client
	bearer string // a token beside or in place of the session
}

// visitor is a browser in which nobody has signed in.
func (f *fixture) visitor() *person {
	jar, _ := cookiejar.New(nil) // without options there is no error
	return &person{T: f.T, f: f, client: &http.Client{Jar: jar, Timeout: 20 * time.Second}}
}

// as is a browser in which somebody has signed in by GitHub.
func (f *fixture) as(login string) *person {
	f.Helper()
	p := f.visitor()
	if status, _ := p.get(p.signIn(login)); status != http.StatusOK {
		f.Fatalf("%s could not sign in: %d", login, status)
	}
	return p
}

// signIn goes to GitHub and says yes there, and returns the address to which GitHub sends the person back.
func (p *person) signIn(login string) string {
	p.Helper()
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { p.client.CheckRedirect = nil }()
	github := p.location(http.MethodPost, p.f.server.URL+"/login")
	yes, err := url.Parse(github)
	if err != nil || !strings.HasPrefix(github, p.f.github.URL()) {
		p.Fatalf("a sign-in leads to %q", github)
	}
	return p.location(http.MethodGet, p.f.github.URL()+"/login/oauth/authorize/as?"+yes.RawQuery+"&login="+login)
}

func (p *person) location(method, address string) string {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, address, http.NoBody)
	if err != nil {
		p.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("Location")
}

// get fetches an address, or a path of the console, and what a redirect leads to.
func (p *person) get(address string) (status int, body string) {
	p.Helper()
	if strings.HasPrefix(address, "/") {
		address = p.f.server.URL + address
	}
	resp, err := p.client.Get(address)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// read fetches JSON.
func (p *person) read(path string, into any) int {
	p.Helper()
	status, body := p.get(path)
	if err := json.Unmarshal([]byte(body), into); err != nil {
		p.Fatalf("%s: %d %s: %v", path, status, body, err)
	}
	return status
}
