package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/shared/serve"
	"codexk8s.dev/shared/store"
	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/local/pg/pgtest"
)

// TestMain lets the test binary be the function itself, for tests that kill it.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_RUN_ADAPTER") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A fixture is the function over HTTP, with a database of its own and a Broker that notes what it gets.
type fixture struct {
	t      *testing.T
	url    string
	dbURL  string
	db     *store.DB
	sql    *pgtest.DB
	broker *broker
	commit *committer
	sender *sender
}

type broker struct {
	*httptest.Server
	mu     sync.Mutex
	got    []event.Event
	status int
}

func newBroker(t *testing.T) *broker {
	b := &broker{status: http.StatusAccepted}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := serve.ReadEvent(r)
		b.mu.Lock()
		defer b.mu.Unlock()
		if err != nil {
			t.Errorf("the broker was sent no event: %v", err)
		}
		if b.status/100 == 2 {
			b.got = append(b.got, e)
		}
		w.WriteHeader(b.status)
	}))
	t.Cleanup(b.Close)
	return b
}

const testSources = `
sources:
- name: ci
  source: https://ci.example.com/
  types: [com.example.build.finished, dev.codexk8s.label.observed]
  tokenEnv: TEST_CI_TOKEN
- name: jira
  source: urn:jira
  types: [com.example.ticket.moved]
  secretEnv: TEST_JIRA_SECRET
`

func setup(t *testing.T) *fixture {
	t.Helper()
	t.Setenv("TEST_CI_TOKEN", "ci-token")
	t.Setenv("TEST_JIRA_SECRET", "jira-secret")
	file := t.TempDir() + "/sources.yaml"
	if err := os.WriteFile(file, []byte(testSources), 0o600); err != nil {
		t.Fatal(err)
	}
	sources, err := loadSources(file)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, dbURL: pgtest.New(t), broker: newBroker(t)}
	if f.db, err = store.Open(t.Context(), "webhook-adapter", f.dbURL); err != nil {
		t.Fatal(err)
	}
	f.sql = pgtest.Open(t, f.dbURL)
	s := serve.New("webhook-adapter", f.broker.URL)
	f.sender = newSender(s.Send, 4)
	f.commit = newCommitter(f.db.Receive, f.sender.offer)
	newHandler(webhook.Secrets{[]byte("new"), []byte("old")}, sources, f.commit).routes(s)
	srv := httptest.NewServer(s.Handler())
	f.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		f.stop()
		_ = f.db.Close(context.Background())
	})
	return f
}

// stop ends the background work, so that what the Broker got is complete.
func (f *fixture) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := f.commit.stop(ctx); err != nil {
		f.t.Error(err)
	}
	if err := f.sender.stop(ctx); err != nil {
		f.t.Error(err)
	}
}

type answer struct {
	Code int
	reply
}

func (f *fixture) post(path string, header map[string]string, body []byte) answer {
	f.t.Helper()
	return f.do(path, header, bytes.NewReader(body))
}

func (f *fixture) do(path string, header map[string]string, body io.Reader) answer {
	f.t.Helper()
	req, err := http.NewRequest(http.MethodPost, f.url+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Errorf("POST %s: %v", path, err)
		return answer{}
	}
	defer resp.Body.Close()
	a := answer{Code: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a.reply); err != nil {
		f.t.Errorf("the answer is no JSON: %v", err)
	}
	return a
}

func headers(guid, event, secret string, body []byte) map[string]string {
	return map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": guid,
		"X-GitHub-Hook-ID": "99", "X-Hub-Signature-256": webhook.Sign([]byte(secret), body),
	}
}

// rows reads a query as text, one string per row.
func (f *fixture) rows(query string) []string {
	f.t.Helper()
	rows, err := f.sql.Query(context.Background(), query)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	out := []string{}
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, strings.Trim(fmt.Sprint(values), "[]"))
	}
	if rows.Err() != nil {
		f.t.Fatal(rows.Err())
	}
	return out
}

const labeled = `{"action":"labeled","issue":{"number":12},"label":{"name":"run:dev"},"repository":{"full_name":"Acme/api"},"sender":{"login":"bob"}}`

func TestADeliveryIsStoredThenSent(t *testing.T) {
	f := setup(t)
	guid := uuid.NewString()
	// The payload must come through byte for byte, odd spacing included.
	body := []byte(" \n" + labeled + "\n")
	got := f.post("/github", headers(guid, "issues", "new", body), body)
	if diff := cmp.Diff(answer{202, reply{Status: "accepted", Delivery: guid}}, got, cmp.AllowUnexported(answer{})); diff != "" {
		t.Error(diff)
	}
	f.stop()
	if diff := cmp.Diff([]string{guid + " issues labeled Acme/api 99 accepted"},
		f.rows(`SELECT guid, event, action, repository, hook_id, status FROM deliveries`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"stage-router " + guid + " true"},
		f.rows(`SELECT function, id, due_at > now() + interval '50 seconds' FROM pending`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"https://github.com/Acme/api acme/api#12 true"},
		f.rows(`SELECT source, correlation, data = convert_to(E' \n`+labeled+`\n', 'UTF8') FROM events`)); diff != "" {
		t.Error(diff)
	}
	want := event.New()
	want.SetID(guid)
	want.SetType("dev.knative.source.github.issues")
	want.SetSource("https://github.com/Acme/api")
	want.SetSubject("12")
	for k, v := range map[string]string{
		"action": "labeled", "label": "run:dev", "owner": "Acme", "repository": "Acme/api", "sender": "bob",
		"correlationid": "acme/api#12", "partitionkey": "acme/api#12",
	} {
		want.SetExtension(k, v)
	}
	want.SetTime(f.broker.got[0].Time())
	want.SetDataContentType("application/json")
	want.DataEncoded = body
	if diff := cmp.Diff(want.String(), f.broker.got[0].String()); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersOnGitHub(t *testing.T) {
	f := setup(t)
	guid := uuid.NewString()
	form := []byte(url.Values{"payload": {labeled}, "other": {"x"}}.Encode())
	ping := []byte(`{"zen":"Keep it logically awesome.","hook_id":99}`)
	change := func(h map[string]string, k, v string) map[string]string {
		if h[k] = v; v == "" {
			delete(h, k)
		}
		return h
	}
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   []byte
		want   answer
	}{
		{"first", headers(guid, "issues", "new", []byte(labeled)), []byte(labeled), answer{202, reply{Status: "accepted", Delivery: guid}}},
		{"again", headers(guid, "issues", "new", []byte(labeled)), []byte(labeled), answer{200, reply{Status: "duplicate", Delivery: guid}}},
		{"again as a form", change(headers(guid, "issues", "new", form), "Content-Type", "application/x-www-form-urlencoded"), form, answer{200, reply{Status: "duplicate", Delivery: guid}}},
		{"same id, other payload", headers(guid, "issues", "new", []byte(`{}`)), []byte(`{}`), answer{422, reply{Status: "refused", Delivery: guid, Error: "delivery id reused with another payload"}}},
		{"the old secret while rotating", headers("g-2", "issues", "old", []byte(labeled)), []byte(labeled), answer{202, reply{Status: "accepted", Delivery: "g-2"}}},
		{"as a form", change(headers("g-3", "issues", "new", form), "Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), form, answer{202, reply{Status: "accepted", Delivery: "g-3"}}},
		{"ping", headers("g-4", "ping", "new", ping), ping, answer{200, reply{Status: "ignored", Delivery: "g-4"}}},
		{"ping again", headers("g-4", "ping", "new", ping), ping, answer{200, reply{Status: "duplicate", Delivery: "g-4"}}},
		{"unknown event", headers("g-5", "from_the_future", "new", []byte(`{}`)), []byte(`{}`), answer{200, reply{Status: "ignored", Delivery: "g-5"}}},
		{"wrong secret", headers("g-6", "issues", "nope", []byte(labeled)), []byte(labeled), answer{401, reply{Status: "refused", Delivery: "g-6", Error: webhook.ErrWrongSignature.Error()}}},
		{"no signature", change(headers("g-6", "issues", "new", []byte(labeled)), "X-Hub-Signature-256", ""), []byte(labeled), answer{401, reply{Status: "refused", Delivery: "g-6", Error: webhook.ErrNoSignature.Error()}}},
		{"signature of a form is over the raw form", change(headers("g-6", "issues", "new", []byte(labeled)), "Content-Type", "application/x-www-form-urlencoded"), form, answer{401, reply{Status: "refused", Delivery: "g-6", Error: webhook.ErrWrongSignature.Error()}}},
		{"a stranger learns nothing of the media type", change(headers("g-6", "issues", "nope", []byte(labeled)), "Content-Type", "text/plain"), []byte(labeled), answer{401, reply{Status: "refused", Delivery: "g-6", Error: webhook.ErrWrongSignature.Error()}}},
		{"media type", change(headers("g-6", "issues", "new", []byte(labeled)), "Content-Type", "text/plain"), []byte(labeled), answer{415, reply{Status: "refused", Delivery: "g-6", Error: `content type "text/plain", want application/json or application/x-www-form-urlencoded`}}},
		{"no media type", change(headers("g-6", "issues", "new", []byte(labeled)), "Content-Type", ""), []byte(labeled), answer{415, reply{Status: "refused", Delivery: "g-6", Error: `content type "", want application/json or application/x-www-form-urlencoded`}}},
		{"form without payload", change(headers("g-6", "issues", "new", []byte("a=b")), "Content-Type", "application/x-www-form-urlencoded"), []byte("a=b"), answer{400, reply{Status: "refused", Delivery: "g-6", Error: "the form has no field payload"}}},
		{"malformed", headers("g-6", "issues", "new", []byte("{\n \"action\": x}")), []byte("{\n \"action\": x}"), answer{400, reply{Status: "refused", Delivery: "g-6", Error: "malformed JSON at 2:12: unexpected 'x', want a value"}}},
		{"no event name", change(headers("g-6", "issues", "new", []byte(labeled)), "X-GitHub-Event", ""), []byte(labeled), answer{400, reply{Status: "refused", Delivery: "g-6", Error: `header X-GitHub-Event is missing or no event name: ""`}}},
		{"no delivery id", change(headers("g-6", "issues", "new", []byte(labeled)), "X-GitHub-Delivery", ""), []byte(labeled), answer{400, reply{Status: "refused", Error: `header X-GitHub-Delivery is missing or no delivery id: ""`}}},
		{"zero byte in a text", headers("g-7", "issues", "new", []byte(`{"action":"\u0000"}`)), []byte(`{"action":"\u0000"}`), answer{202, reply{Status: "accepted", Delivery: "g-7"}}},
	} {
		got := f.post("/github", tt.header, tt.body)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if diff := cmp.Diff([]string{guid + " accepted", "g-2 accepted", "g-3 accepted", "g-4 ignored", "g-5 ignored", "g-7 accepted"},
		f.rows(`SELECT guid, status FROM deliveries ORDER BY received_at`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"github: delivery.refused id_reused " + guid}, f.rows(`SELECT actor, action, reason, event_id FROM audit`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"4"}, f.rows(`SELECT count(*) FROM pending`)); diff != "" {
		t.Error(diff)
	}
}

func TestOversize(t *testing.T) {
	f := setup(t)
	// Valid and signed, but a byte too long: so only its length can be the reason.
	big := bytes.Repeat([]byte(" "), webhook.MaxPayload+1)
	copy(big, labeled)
	want := answer{413, reply{Status: "refused", Delivery: "g-1", Error: "more than 26214400 bytes"}}
	if diff := cmp.Diff(want, f.post("/github", headers("g-1", "issues", "new", big), big), cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("with content-length: %s", diff)
	}
	chunked := f.do("/github", headers("g-1", "issues", "new", big), io.MultiReader(bytes.NewReader(big)))
	if diff := cmp.Diff(want, chunked, cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("chunked, without content-length: %s", diff)
	}
	fits := big[:webhook.MaxPayload]
	if got := f.do("/github", headers("g-1", "issues", "new", fits), io.MultiReader(bytes.NewReader(fits))); got.Code != 202 {
		t.Errorf("the largest payload that GitHub sends, chunked: %+v", got)
	}
}

func TestTwentyRedeliveriesAtOnceAreOne(t *testing.T) {
	f := setup(t)
	f.atOnce(labeled)
	if diff := cmp.Diff([]string{"1 1 1"}, f.rows(`SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM events), (SELECT count(*) FROM pending)`)); diff != "" {
		t.Error(diff)
	}
}

// atOnce delivers one event twenty times at once, with these payloads in turn. It is stored and sent once.
func (f *fixture) atOnce(payloads ...string) {
	f.t.Helper()
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for i := range 20 {
		body := []byte(payloads[i%len(payloads)])
		wg.Go(func() {
			a := f.post("/github", headers("g-1", "issues", "new", body), body)
			mu.Lock()
			defer mu.Unlock()
			count[fmt.Sprint(a.Code, " ", a.Status)]++
		})
	}
	wg.Wait()
	f.stop()
	if diff := cmp.Diff(map[string]int{"202 accepted": 1, "200 duplicate": 19}, count); diff != "" {
		f.t.Error(diff)
	}
	if len(f.broker.got) != 1 {
		f.t.Errorf("the broker got %d events, want 1", len(f.broker.got))
	}
}

func TestOneBadDeliveryDoesNotSpoilItsBatch(t *testing.T) {
	f := setup(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if i%5 > 0 {
				if got := f.post("/github", headers(fmt.Sprint("g-", i), "issues", "new", []byte(labeled)), []byte(labeled)); got.Code != 202 {
					t.Errorf("%d: %+v, want 202", i, got)
				}
				return
			}
			bad := map[string]string{"Authorization": "Bearer ci-token", "Content-Type": "application/cloudevents+json"}
			// Too long for an index, and nothing that could be pressed into one.
			id := fmt.Sprint(i)
			for n := range 600 {
				id += strconv.Itoa(n * n * 7919 % 99991)
			}
			body := structured(id, "https://ci.example.com/job/1", "com.example.build.finished")
			want := answer{422, reply{Status: "refused", Error: "the event holds what can't be stored, such as a zero byte in a text"}}
			if diff := cmp.Diff(want, f.post("/events", bad, []byte(body)), cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("%d: %s", i, diff)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{"24"}, f.rows(`SELECT count(*) FROM events`)); diff != "" {
		t.Error(diff)
	}
}

func TestABrokerThatIsDownCostsNothingButTime(t *testing.T) {
	f := setup(t)
	f.broker.status = http.StatusServiceUnavailable
	body := []byte(labeled)
	if got := f.post("/github", headers("g-1", "issues", "new", body), body); got.Code != 202 {
		t.Fatalf("%+v", got)
	}
	f.stop()
	f.rows(`UPDATE pending SET due_at = now()`)
	due, err := f.db.Due(t.Context(), 10)
	if err != nil || len(due) != 1 || due[0].ID() != "g-1" || events.Extension(due[0], "action") != "labeled" || !bytes.Equal(due[0].Data(), body) {
		t.Errorf("due: %v, %v", due, err)
	}
}
