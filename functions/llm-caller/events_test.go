package main

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/events"
	"codexk8s.dev/test/fakes/model"
)

// broker takes every event.
type broker struct {
	mu  sync.Mutex
	got []event.Event
}

func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, *e)
	w.WriteHeader(http.StatusAccepted)
}

// types are what was sent, as type and data.
func (b *broker) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, e := range b.got {
		got = append(got, strings.TrimPrefix(e.Type(), events.Prefix)+" "+string(e.Data()))
	}
	return got
}

// deliver sends an event as the Broker does, and checks that a success has no body.
func (f *fixture) deliver(id, data string) *http.Response {
	f.t.Helper()
	f.sql.Log(events.Source("stage-router"), id, events.LLMRequested{}.EventType(), []byte(data))
	res := f.ask(f.url+"/", "", strings.NewReader(data), "Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", id,
		"Ce-Type", events.LLMRequested{}.EventType(), "Ce-Source", events.Source("stage-router"), "Ce-Correlationid", "acme/shop#12")
	if body := text(f.t, res); res.StatusCode/100 == 2 && body != "" {
		f.t.Errorf("the answer to the Broker has a body: %s", body)
	}
	return res
}

const question = `{"requestId":"q1","model":"gpt-5.4","maxTokens":500,"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Say hello"}]}`

func TestAQuestionIsAnsweredOnce(t *testing.T) {
	f := setup(t)
	for range 2 {
		if res := f.deliver("e1", question); res.StatusCode != http.StatusAccepted {
			t.Fatalf("got %d", res.StatusCode)
		}
	}
	if n := len(f.openai.Requests()); n != 1 {
		t.Errorf("the model was asked %d times", n)
	}
	asked := f.openai.Requests()[0]
	if want := `"max_completion_tokens":500`; asked.Key != openAIKey || !strings.Contains(string(asked.Body), want) {
		t.Errorf("key %q, body %s, want %s", asked.Key, asked.Body, want)
	}
	in, out := strconv.FormatInt(asked.Input, 10), strconv.FormatInt(asked.Output, 10)
	sent := f.broker.sent()
	if len(sent) != 1 || !strings.HasPrefix(sent[0], `llm.answered {"requestId":"q1","model":"gpt-5.4","content":"Say hello\n`) ||
		!strings.HasSuffix(sent[0], `"inputTokens":`+in+`,"outputTokens":`+out+`}`) {
		t.Errorf("sent %q", sent)
	}
	want := []row{{"", "gpt-5.4", "chat/completions", 200, asked.Input, 0, asked.Output, 64, (asked.Input*2500 + asked.Output*15000 + 500) / 1000, "chatc"}}
	if diff := cmp.Diff(want, f.rows()); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

// Anybody who reaches this function's address could make the platform pay.
func TestAForgedQuestionIsNotAsked(t *testing.T) {
	f := setup(t)
	res := f.ask(f.url+"/", "", strings.NewReader(question), "Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Id", "e1",
		"Ce-Type", events.LLMRequested{}.EventType(), "Ce-Source", events.Source("stage-router"))
	if res.StatusCode != http.StatusUnprocessableEntity || len(f.openai.Requests()) != 0 || len(f.rows()) != 0 {
		t.Errorf("got %d, the model was asked %d times", res.StatusCode, len(f.openai.Requests()))
	}
}

func TestManyDeliveriesAtOnceAskOnce(t *testing.T) {
	f := setup(t)
	f.openai.Behave(model.Behaviour{Mode: model.Slow, Delay: 200 * time.Millisecond})
	statuses := make([]int, 12)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = f.deliver("e1", question).StatusCode })
	}
	wg.Wait()
	accepted := 0
	for _, s := range statuses {
		if s == http.StatusAccepted {
			accepted++
		} else if s != http.StatusServiceUnavailable {
			t.Errorf("got %d", s)
		}
	}
	if accepted == 0 || len(f.openai.Requests()) != 1 || len(f.rows()) != 1 {
		t.Errorf("%d accepted, the model was asked %d times, %d calls recorded", accepted, len(f.openai.Requests()), len(f.rows()))
	}
}

func TestAClaimOfADeadProcessLapses(t *testing.T) {
	f := setup(t)
	claim := "llm.requested " + events.Source("stage-router") + " e1"
	f.exec(`INSERT INTO actions (key, function, state, planned_at) VALUES ($1, 'llm-caller', 'planned', $2)`, claim, f.db.Now())
	if res := f.deliver("e1", question); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("while another may be asking: got %d", res.StatusCode)
	}
	f.exec(`UPDATE actions SET planned_at = planned_at - interval '6 minutes'`)
	if res := f.deliver("e1", question); res.StatusCode != http.StatusAccepted {
		t.Errorf("after it must be dead: got %d", res.StatusCode)
	}
	if n := len(f.openai.Requests()); n != 1 {
		t.Errorf("the model was asked %d times", n)
	}
}

func TestFailuresOfAQuestion(t *testing.T) {
	f := setup(t)
	for _, c := range []struct {
		name   string
		behave model.Behaviour
		data   string
		status int
		retry  string
		sent   string // the beginning of the one event
	}{
		{"rate limit", model.Behaviour{Mode: model.RateLimited, RetryAfter: 90 * time.Second}, question, 503, "90", ""},
		{"overloaded", model.Behaviour{Mode: model.Overloaded, RetryAfter: 7 * time.Second}, question, 503, "7", ""},
		{"server error", model.Behaviour{Mode: model.ServerError}, question, 500, "", ""},
		{"quota", model.Behaviour{Mode: model.QuotaExhausted}, question, 202, "", `llm.failed {"requestId":"q1","reason":"quota_exhausted"`},
		{"unknown model", model.Behaviour{}, `{"requestId":"q2","model":"gpt-2","messages":[{"role":"user","content":"x"}]}`, 202, "", `llm.failed {"requestId":"q2","reason":"refused"`},
		{"no messages", model.Behaviour{}, `{"requestId":"q3","model":"gpt-5.4"}`, 400, "", ""},
		{"no data", model.Behaviour{}, `[]`, 400, "", ""},
	} {
		f.openai.Behave(c.behave)
		f.broker.got = nil
		res := f.deliver(c.name, c.data)
		if got := res.Header.Get("Retry-After"); res.StatusCode != c.status || got != c.retry {
			t.Errorf("%s: got %d with Retry-After %q, want %d with %q", c.name, res.StatusCode, got, c.status, c.retry)
		}
		sent := f.broker.sent()
		if (c.sent == "") != (len(sent) == 0) || (len(sent) > 0 && !strings.HasPrefix(sent[0], c.sent)) {
			t.Errorf("%s: sent %q, want %q", c.name, sent, c.sent)
		}
	}
	// What may be repeated is asked again at once, and then answered.
	f.openai.Behave(model.Behaviour{})
	for _, name := range []string{"rate limit", "overloaded", "server error"} {
		if res := f.deliver(name, question); res.StatusCode != http.StatusAccepted {
			t.Errorf("%s, repeated: got %d", name, res.StatusCode)
		}
	}
}

// TestWithoutAKeyAQuestionWaits holds that events outlast the time before the platform has a key.
func TestWithoutAKeyAQuestionWaits(t *testing.T) {
	f := setup(t)
	f.h.apiKey = ""
	if res := f.deliver("e1", question); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d", res.StatusCode)
	}
	f.h.apiKey = openAIKey
	if res := f.deliver("e1", question); res.StatusCode != http.StatusAccepted {
		t.Errorf("with a key: got %d", res.StatusCode)
	}
}
