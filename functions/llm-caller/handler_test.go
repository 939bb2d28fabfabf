package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/runtoken"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/test/fakes/model"
	"codexk8s.dev/test/local/pg/pgtest"
)

const (
	runID     = "5f7c1d2e-0000-4000-8000-000000000001"
	namespace = "codexk8s-run-5f7c1d2e0000"
	openAIKey = "sk-platform"
)

var key = []byte("0123456789abcdef0123456789abcdef")

// fixture is llm-caller between a pod and a fake OpenAI, with real Postgres and a broker that takes everything.
type fixture struct {
	t      *testing.T
	db     *store.DB
	h      *handler
	sql    *pgtest.DB
	openai *model.Server
	direct string // URL of the fake OpenAI
	url    string // of llm-caller
	broker *broker
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, openai: model.New(model.Options{Keys: []string{openAIKey}, Now: func() time.Time { return time.Unix(1_795_000_000, 0) }}), broker: &broker{}}
	upstream := httptest.NewServer(f.openai)
	sink := httptest.NewServer(f.broker)
	f.direct = upstream.URL
	var err error
	url := pgtest.New(t)
	f.sql = pgtest.Open(t, url)
	f.db, err = store.Open(context.Background(), "llm-caller", url)
	if err != nil {
		t.Fatal(err)
	}
	if f.h, err = newHandler(env{RunTokenKey: string(key), APIKey: openAIKey, BaseURL: upstream.URL + "/v1/"}, f.db); err != nil {
		t.Fatal(err)
	}
	s := serve.New("llm-caller", sink.URL)
	f.h.routes(s)
	if diff := cmp.Diff(events.Catalog["llm-caller"], s.Types()); diff != "" {
		t.Errorf("routes against the Catalog (-want +got):\n%s", diff)
	}
	server := httptest.NewServer(s.Handler())
	f.url = server.URL
	t.Cleanup(func() {
		server.Close()
		sink.Close()
		upstream.Close()
		f.h.client.CloseIdleConnections()
		_ = f.db.Close(context.Background())
	})
	f.exec(`INSERT INTO projects (id, name) VALUES ('shop', 'Shop')`)
	f.exec(`INSERT INTO work_items (repository, issue, full_name) VALUES ('acme/shop', 12, 'Acme/Shop')`)
	f.exec(`INSERT INTO runs (id, repository, issue, project_id, stage, role, state, engine, model, requested_by, intent, namespace, created_at)
		VALUES ($1, 'acme/shop', 12, 'shop', 'dev', 'dev', 'running', 'codex', 'gpt-5.4', 'olga', 'i1', $2, now())`, runID, namespace)
	return f
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	f.sql.Do(query, args...)
}

// token mints a run token, changed.
func token(t *testing.T, change func(*runtoken.Claims)) string {
	t.Helper()
	c := runtoken.Claims{RunID: runID, Namespace: namespace, ServiceAccount: "agent", Expires: time.Now().Add(time.Hour)}
	if change != nil {
		change(&c)
	}
	s, err := runtoken.Mint(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request as a pod does.
func (f *fixture) ask(url, bearer string, body io.Reader, headers ...string) *http.Response {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { res.Body.Close() })
	return res
}

func (f *fixture) pod(path, body string) *http.Response {
	f.t.Helper()
	return f.ask(f.url+path, token(f.t, nil), strings.NewReader(body), "Content-Type", "application/json", "X-Codex-Window-Id", "w1", "Cookie", "a=b", "Openai-Organization", "org-mine")
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// row is what llm_calls says of a call.
type row struct {
	Run, Model, Endpoint             string
	Status                           int
	Input, Cached, Output, Reasoning int64
	Cost                             int64 // -1 = not known
	Response                         string
}

// rows waits until no call is under way and returns all of them.
func (f *fixture) rows() []row {
	f.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := pgtest.Rows[row](f.sql, `
			SELECT coalesce(run_id::text, ''), model, endpoint, status, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
			       coalesce(cost_microusd, -1), left(response_id, 5)
			FROM llm_calls
			ORDER BY started_at
		`)
		if !slices.ContainsFunc(got, func(r row) bool { return r.Status == 0 }) || time.Now().After(deadline) {
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestWhoMayAsk(t *testing.T) {
	f := setup(t)
	const body = `{"model":"gpt-5.4","input":"hi"}`
	for name, c := range map[string]struct {
		bearer string
		code   string
		status int
	}{
		"no token":          {"", "invalid_api_key", 401},
		"no run token":      {openAIKey, "invalid_api_key", 401},
		"expired":           {token(t, func(c *runtoken.Claims) { c.Expires = time.Now().Add(-time.Second) }), "invalid_api_key", 401},
		"another namespace": {token(t, func(c *runtoken.Claims) { c.Namespace = "default" }), "invalid_api_key", 401},
		"no such run":       {token(t, func(c *runtoken.Claims) { c.RunID = "5f7c1d2e-0000-4000-8000-00000000000f" }), "run_not_found", 503},
	} {
		for _, path := range []string{"/v1/responses", "/v1/chat/completions"} {
			res := f.ask(f.url+path, c.bearer, strings.NewReader(body))
			expectRefusal(t, name+" "+path, res, c.status, c.code)
		}
	}
	for state, want := range map[string]struct {
		code   string
		status int
	}{
		"requested": {"run_not_begun", 503}, "queued": {"run_not_begun", 503},
		"waiting": {"run_not_active", 403}, "cancelled": {"run_not_active", 403}, "succeeded": {"run_not_active", 403},
	} {
		f.exec(`UPDATE runs SET state = $1, waiting_for = 'approval', finished_at = CASE WHEN $1 IN ('cancelled', 'succeeded') THEN now() END`, state)
		expectRefusal(t, state, f.pod("/v1/responses", body), want.status, want.code, state)
	}
	if got := f.openai.Requests(); len(got) != 0 {
		t.Errorf("OpenAI was asked %d times", len(got))
	}
	if got := f.rows(); len(got) != 0 {
		t.Errorf("calls were recorded: %+v", got)
	}
}

func expectRefusal(t *testing.T, name string, res *http.Response, status int, code string, holds ...string) {
	t.Helper()
	var e struct {
		Error struct{ Message, Type, Code string }
	}
	body := text(t, res)
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Errorf("%s: %d %s: %v", name, res.StatusCode, body, err)
		return
	}
	if res.StatusCode != status || e.Error.Code != code || e.Error.Type == "" || e.Error.Message == "" {
		t.Errorf("%s: got %d %s, want %d with code %s", name, res.StatusCode, body, status, code)
	}
	for _, part := range holds {
		if !strings.Contains(e.Error.Message, part) {
			t.Errorf("%s: message %q does not name %s", name, e.Error.Message, part)
		}
	}
}

func TestWhatMayNotBeAsked(t *testing.T) {
	f := setup(t)
	ours := token(t, nil)
	for name, c := range map[string]struct {
		body    io.Reader
		headers []string
		status  int
		code    string
		holds   string
	}{
		"another model":   {strings.NewReader(`{"model":"gpt-5.5","input":"hi"}`), nil, 403, "model_not_allowed", `"gpt-5.5"; allowed: gpt-5.4`},
		"broken JSON":     {strings.NewReader(`{"model":"gpt-5.4",]`), nil, 400, "invalid_request", "at byte 20"},
		"two models":      {strings.NewReader(`{"model":"gpt-5.4","model":"gpt-5.5"}`), nil, 400, "invalid_request", `"model" is given twice`},
		"in background":   {strings.NewReader(`{"model":"gpt-5.4","background":true}`), nil, 400, "invalid_request", "background"},
		"two spellings":   {strings.NewReader(`{"model":"gpt-5.4","MODEL":"gpt-5.5-pro","input":"x"}`), nil, 400, "invalid_request", `"MODEL"`},
		"an unknown tier": {strings.NewReader(`{"model":"gpt-5.4","service_tier":"scale","input":"x"}`), nil, 403, "tier_not_allowed", `"scale"`},
		"a web search":    {strings.NewReader(`{"model":"gpt-5.4","tools":[{"type":"web_search"}]}`), nil, 403, "tool_not_allowed", "hostedTools: [web_search]"},
		"compressed":      {strings.NewReader(`…`), []string{"Content-Encoding", "zstd"}, 415, "unsupported_content_encoding", "zstd"},
		"too large":       {strings.NewReader(strings.Repeat(" ", maxBody+1)), nil, 413, "request_too_large", "32 MiB"},
		"too large piece": {io.MultiReader(strings.NewReader(strings.Repeat(" ", maxBody+1))), nil, 413, "request_too_large", "32 MiB"},
	} {
		expectRefusal(t, name, f.ask(f.url+"/v1/responses", ours, c.body, c.headers...), c.status, c.code, c.holds)
	}
	expectRefusal(t, "another path", f.ask(f.url+"/v1/files", ours, nil), 404, "unknown_url", "POST /v1/responses")
	f.h.apiKey = ""
	expectRefusal(t, "no key", f.pod("/v1/responses", `{"model":"gpt-5.4","input":"hi"}`), 503, "no_upstream_key", "OPENAI_API_KEY")
	if got := f.openai.Requests(); len(got) != 0 {
		t.Errorf("OpenAI was asked %d times", len(got))
	}
	if f.h.room.free != maxBodies || len(f.h.room.held)+len(f.h.room.calls) != 0 {
		t.Errorf("memory was not given back: %+v", f.h.room)
	}
}

func TestModels(t *testing.T) {
	f := setup(t)
	r, _ := http.NewRequest(http.MethodGet, f.url+"/v1/models", nil)
	r.Header.Set("Authorization", "Bearer "+token(t, nil))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, want := text(t, res), `{"data":[{"id":"gpt-5.4","object":"model","owned_by":"openai"}],"object":"list"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSettings(t *testing.T) {
	good := env{RunTokenKey: string(key), APIKey: "k", BaseURL: "http://x/v1"}
	if _, err := newHandler(good, nil); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*env){
		"RUN_TOKEN_KEY":   func(e *env) { e.RunTokenKey = "short" },
		"OPENAI_BASE_URL": func(e *env) { e.BaseURL = "api.openai.com" },
		"PRICES_FILE":     func(e *env) { e.PricesFile = "/does/not/exist" },
	} {
		e := good
		change(&e)
		if _, err := newHandler(e, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
