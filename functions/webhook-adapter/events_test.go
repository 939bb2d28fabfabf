package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexk8s.dev/shared/webhook"
)

func structured(id, source, typ string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":%q,"datacontenttype":"application/json","data":{"n":1}}`, id, source, typ)
}

func binary(id string, more ...string) map[string]string {
	h := map[string]string{
		"Authorization": "Bearer ci-token", "Content-Type": "application/json",
		"ce-specversion": "1.0", "ce-id": id, "ce-source": "https://ci.example.com/job/1", "ce-type": "com.example.build.finished",
	}
	for i := 0; i < len(more); i += 2 {
		if h[more[i]] = more[i+1]; more[i+1] == "" {
			delete(h, more[i])
		}
	}
	return h
}

func TestAnswersOnEvents(t *testing.T) {
	f := setup(t)
	const ciSource, ciType = "https://ci.example.com/job/1", "com.example.build.finished"
	bearer := func(contentType string) map[string]string {
		return map[string]string{"Authorization": "Bearer ci-token", "Content-Type": contentType}
	}
	signed := func(contentType, body string) map[string]string {
		return map[string]string{"X-Hub-Signature-256": webhook.Sign([]byte("jira-secret"), []byte(body)), "Content-Type": contentType}
	}
	const one, many = "application/cloudevents+json", "application/cloudevents-batch+json"
	ticket := structured("j-1", "urn:jira:board", "com.example.ticket.moved")
	batch := "[" + structured("b-1", ciSource, "dev.codexk8s.label.observed") + "," + structured("b-2", ciSource, ciType) + "," + structured("c-1", ciSource, ciType) + "]"
	refused := func(code int, text string) answer { return answer{code, reply{Status: "refused", Error: text}} }
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   string
		want   answer
	}{
		{"structured, nobody consumes it", bearer(one), structured("c-1", ciSource, ciType), answer{200, reply{Status: "ignored", Delivery: "c-1"}}},
		{"again", bearer(one), structured("c-1", ciSource, ciType), answer{200, reply{Status: "duplicate", Delivery: "c-1"}}},
		{"again in binary mode", binary("c-1"), `{"n":1}`, answer{200, reply{Status: "duplicate", Delivery: "c-1"}}},
		{"same id, other data", binary("c-1"), `{"n":2}`, answer{422, reply{Status: "refused", Delivery: "c-1", Error: "event id c-1 reused with other data"}}},
		{"same id of another source", binary("c-1", "ce-source", "https://ci.example.com/job/2"), `{"n":2}`, answer{200, reply{Status: "ignored", Delivery: "c-1"}}},
		{"binary, consumed", binary("c-2", "ce-type", "dev.codexk8s.label.observed"), `{"n":1}`, answer{202, reply{Status: "accepted", Delivery: "c-2"}}},
		{"batch", bearer(many), batch, answer{202, reply{Status: "accepted", Events: []reply{
			{Status: "accepted", Delivery: "b-1"}, {Status: "ignored", Delivery: "b-2"}, {Status: "duplicate", Delivery: "c-1"}}}}},
		{"signed", signed(one, ticket), ticket, answer{200, reply{Status: "ignored", Delivery: "j-1"}}},
		{"signed batch", signed(many, "["+ticket+"]"), "[" + ticket + "]", answer{200, reply{Status: "duplicate", Delivery: "j-1"}}},
		{"without data", binary("c-3", "Content-Type", ""), ``, answer{200, reply{Status: "ignored", Delivery: "c-3"}}},

		{"no credential", binary("x", "Authorization", ""), `{}`, refused(401, "give a bearer token, or a signature in X-Hub-Signature-256")},
		{"wrong token", binary("x", "Authorization", "Bearer nope"), `{}`, refused(401, "the token belongs to no registered source")},
		{"empty token", binary("x", "Authorization", "Bearer "), `{}`, refused(401, "give a bearer token, or a signature in X-Hub-Signature-256")},
		{"a secret is no token", binary("x", "Authorization", "Bearer jira-secret"), `{}`, refused(401, "the token belongs to no registered source")},
		{"wrong signature", signed(one, "other"), ticket, refused(401, "the signature fits no registered source")},
		{"a token is no secret", map[string]string{"X-Hub-Signature-256": webhook.Sign([]byte("ci-token"), []byte(ticket)), "Content-Type": one}, ticket, refused(401, "the signature fits no registered source")},
		{"a signature does not cover binary mode", binary("x", "Authorization", "", "X-Hub-Signature-256", webhook.Sign([]byte("jira-secret"), []byte(`{}`)),
			"ce-source", "urn:jira", "ce-type", "com.example.ticket.moved"), `{}`,
			refused(400, "in binary mode the signature would not cover the attributes: send structured or batched mode, or use a bearer token")},
		{"type of another", binary("x", "ce-type", "com.example.ticket.moved"), `{}`,
			refused(403, `event 1 of 1: source ci may not send events of type "com.example.ticket.moved", only com.example.build.finished, dev.codexk8s.label.observed`)},
		{"source of another", binary("x", "ce-source", "urn:jira"), `{}`,
			refused(403, `event 1 of 1: source ci may not send events of source "urn:jira", only of https://ci.example.com/`)},
		{"source of another with the same beginning", signed(one, structured("x", "urn:jiraffe", "com.example.ticket.moved")), structured("x", "urn:jiraffe", "com.example.ticket.moved"),
			refused(403, `event 1 of 1: source jira may not send events of source "urn:jiraffe", only of urn:jira`)},
		{"one bad in a batch refuses all", bearer(many), "[" + structured("n-1", ciSource, ciType) + "," + structured("n-2", ciSource, "x") + "]",
			refused(403, `event 2 of 2: source ci may not send events of type "x", only com.example.build.finished, dev.codexk8s.label.observed`)},
		{"no event", bearer("application/json"), `{}`, refused(415, "no CloudEvent: neither ce-* headers nor content type application/cloudevents+json")},
		{"malformed", bearer(one), "{\"specversion\":\n  oops}", refused(400, "malformed JSON at 2:3: invalid character 'o' looking for beginning of value")},
		{"malformed data", binary("x"), `{"n":1`, refused(400, "event 1 of 1: data: malformed JSON at 1:6: unexpected end of JSON input")},
		{"no id", binary("x", "ce-id", ""), `{}`, refused(400, "event 1 of 1: invalid CloudEvent: id: MUST be a non-empty string\n")},
		{"empty batch", bearer(many), `[]`, refused(400, "0 events in the batch, want 1 to 500")},
		{"batch too long", bearer(many), "[" + strings.Repeat(structured("n", ciSource, ciType)+",", 500) + structured("n", ciSource, ciType) + "]",
			refused(400, "501 events in the batch, want 1 to 500")},
		{"too large", binary("x"), strings.Repeat(" ", webhook.MaxPayload+1), refused(413, "more than 26214400 bytes")},
	} {
		got := f.post("/events", tt.header, []byte(tt.body))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	f.stop()
	var sent []string
	for _, e := range f.broker.got {
		sent = append(sent, e.ID())
	}
	if diff := cmp.Diff([]string{"c-2", "b-1"}, sent); diff != "" {
		t.Errorf("sent: %s", diff)
	}
	if diff := cmp.Diff([]string{"b-1 stage-router", "c-2 stage-router"}, f.rows(`SELECT id, function FROM pending ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"source:ci delivery.refused id_reused c-1"}, f.rows(`SELECT actor, action, reason, event_id FROM audit`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"0"}, f.rows(`SELECT count(*) FROM events WHERE id LIKE 'n-%' OR id = 'x'`)); diff != "" {
		t.Errorf("refused events were stored: %s", diff)
	}
}

func TestLoadSourcesRefuses(t *testing.T) {
	t.Setenv("TEST_TOKEN", "t")
	t.Setenv("TEST_EMPTY", " ")
	good := "sources:\n- {name: ci, source: 'https://ci.example.com/', types: [a.b], tokenEnv: TEST_TOKEN}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"good":              {good, ""},
		"nothing":           {"", ""},
		"unknown field":     {good + "  token: secret\n", "yaml"},
		"misspelt field":    {"sources:\n- {name: ci, source: x, type: [a.b], tokenEnv: TEST_TOKEN}\n", `unknown field "type"`},
		"no name":           {"sources:\n- {source: x, types: [a.b], tokenEnv: TEST_TOKEN}\n", "its name"},
		"name twice":        {good + good[len("sources:\n"):], "is missing or taken"},
		"no types":          {"sources:\n- {name: ci, source: x, tokenEnv: TEST_TOKEN}\n", "the types it may send"},
		"no source":         {"sources:\n- {name: ci, types: [a.b], tokenEnv: TEST_TOKEN}\n", "the types it may send"},
		"no credential":     {"sources:\n- {name: ci, source: x, types: [a.b]}\n", "give a token"},
		"empty credential":  {"sources:\n- {name: ci, source: x, types: [a.b], tokenEnv: TEST_EMPTY}\n", "TEST_EMPTY is empty"},
		"unset credential":  {"sources:\n- {name: ci, source: x, types: [a.b], secretEnv: TEST_UNSET}\n", "TEST_UNSET is empty"},
		"no such file":      {"sources:\n- {name: ci, source: x, types: [a.b], tokenFile: /nonexistent}\n", "reading a credential"},
		"credential twice":  {"sources:\n- {name: ci, source: x, types: [a.b], tokenFile: /x, tokenEnv: TEST_TOKEN}\n", "both the file"},
		"our own source":    {"sources:\n- {name: ci, source: 'https://codexk8s.dev/stage-router', types: [a.b], tokenEnv: TEST_TOKEN}\n", "platform's own"},
		"prefix of our own": {"sources:\n- {name: ci, source: 'https:', types: [a.b], tokenEnv: TEST_TOKEN}\n", "platform's own"},
		"no YAML":           {"sources: [", "reading the event sources"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sources.yaml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadSources(file)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := loadSources(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing file was accepted")
	}
}

// No request makes the decoder panic, and what it accepts is a valid event with readable data.
func FuzzDecode(f *testing.F) {
	f.Add("application/cloudevents+json", "", "", []byte(structured("1", "urn:x", "a.b")))
	f.Add("application/cloudevents-batch+json", "", "", []byte("["+structured("1", "urn:x", "a.b")+"]"))
	f.Add("application/json", "1", "a.b", []byte(`{"n":1}`))
	f.Add("application/cloudevents+json; charset=utf-8", "", "", []byte(`{"specversion":"1.0","data_base64":"!"}`))
	f.Add("application/cloudevents+json", "", "", []byte(`{"specversion":"1.0","id":1}`))
	f.Fuzz(func(t *testing.T, contentType, id, typ string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/events", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		if id != "" {
			r.Header.Set("ce-specversion", "1.0")
			r.Header.Set("ce-id", id)
			r.Header.Set("ce-source", "urn:x")
			r.Header.Set("ce-type", typ)
		}
		es, err := decode(r, body, false)
		if err != nil {
			return
		}
		for _, e := range es {
			if err := e.Validate(); err != nil {
				t.Errorf("accepted an invalid event: %v", err)
			}
			if e.ID() == "" || e.Type() == "" || e.Source() == "" {
				t.Errorf("accepted %s", e)
			}
		}
	})
}
