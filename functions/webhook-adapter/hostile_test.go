package main

import (
	"net/http"
	"strconv"
	"testing"

	"codexk8s.dev/shared/webhook"
	"codexk8s.dev/test/hostile"
)

// TestHostileDeliveries: whatever GitHub signs is taken or refused, and what is taken reaches the Broker.
func TestHostileDeliveries(t *testing.T) {
	f := setup(t)
	n := 0
	hostile.Try(t, `{"action":"labeled","number":1,"issue":{"number":12,"title":"t","labels":[{"name":"run:dev"}]},"pull_request":{"number":3},"label":{"name":"run:dev"},
		"installation":{"id":5},"repository":{"id":7,"full_name":"Acme/api"},"sender":{"login":"bob","id":2}}`, func(c hostile.Case) (int, string) {
		n++
		a := f.post("/github", headers("g-"+strconv.Itoa(n), "issues", "new", c.Data), c.Data)
		return a.Code, a.Error
	})
	f.stop()
	f.arrived(t)
}

// TestHostileEvents: whatever a registered system sends in structured mode.
func TestHostileEvents(t *testing.T) {
	f := setup(t)
	header := map[string]string{"Authorization": "Bearer ci-token", "Content-Type": "application/cloudevents+json"}
	hostile.Try(t, `{"specversion":"1.0","id":"1","source":"https://ci.example.com/job/1","type":"dev.codexk8s.label.observed","subject":"s","time":"2026-11-01T12:00:00Z",
		"dataschema":"https://ci.example.com/s","datacontenttype":"application/json","partitionkey":"p","number":5,"traceparent":"00-1-1-00","data":{"repository":"acme/api","issue":1}}`,
		func(c hostile.Case) (int, string) {
			a := f.post("/events", header, c.Data)
			return a.Code, a.Error
		}, http.StatusForbidden)
	f.stop()
	f.arrived(t)
}

// arrived holds what the Broker got against what was taken for somebody.
func (f *fixture) arrived(t *testing.T) {
	t.Helper()
	taken := f.rows(`SELECT DISTINCT id FROM pending ORDER BY id`)
	got := map[string]bool{}
	for _, e := range f.broker.got {
		got[e.ID()] = true
	}
	for _, id := range taken {
		if !got[id] {
			t.Errorf("event %.100q was taken and did not reach the Broker", id)
		}
	}
}

func with(header map[string]string, name, value string) map[string]string {
	header[name] = value
	return header
}

// Who holds a body that GitHub once signed can send it under another id, as the signature covers the body alone. It is
// taken, since GitHub itself tells of one event in several ways; what it means is for stage-router to say, by the
// moment it tells of.
func TestASignatureCoversTheBodyAlone(t *testing.T) {
	f := setup(t)
	body := []byte(labeled)
	for i, header := range []map[string]string{
		headers("first", "issues", "new", body),
		headers("first", "issues", "new", body),
		headers("second", "issues", "new", body),
		with(headers("first", "issues", "new", body), "X-GitHub-Event", "pull_request"),
		with(headers("third", "issues", "new", body), webhook.HeaderSignature, webhook.Sign([]byte("new"), append(body, ' '))),
		with(headers("third", "issues", "new", body), webhook.HeaderSignature, ""),
		with(with(headers("third", "issues", "new", body), webhook.HeaderSignature, ""), "X-Hub-Signature", "sha1=0123456789012345678901234567890123456789"),
	} {
		want := []int{202, 200, 202, 200, 401, 401, 401}[i]
		if got := f.post("/github", header, body); got.Code != want {
			t.Errorf("attempt %d: %+v, want %d", i, got, want)
		}
	}
}
